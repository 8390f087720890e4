import { canonicalize } from '../core/canonical.ts'
import { ConvokeError, toErrorData } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json } from '../core/json.ts'
import { emptyHead, faultOf, type Head, type LedgerRecord } from '../core/record.ts'
import { placeOf, type Finding } from './audit.ts'
import { isSigned, keyIdOf, parseCheckpoint, type Checkpoint } from './checkpoint.ts'
import { readRun } from './records.ts'
import { reportOf } from './report.ts'
import {
  bytesOf,
  fileLedger,
  headsOf,
  isSealed,
  leftOf,
  parseRunExport,
  referred,
  type RunExport,
} from './run-export.ts'

// Proves an exported run from nothing but the file. Everything in it is either signed content, a record in its chain, or
// made again from the records and compared; whatever is none of these is a finding.

export interface RunVerification {
  readonly tenant: string
  readonly run: string
  /** When it was signed, in milliseconds by the signer's clock. */
  readonly at: number
  readonly keyId: string
  /** Whether the key was given by whoever asks; else the file vouches for itself. */
  readonly trusted: boolean
  readonly records: number
  readonly blobs: number
  readonly erased: number
  readonly findings: readonly Finding[]
}

export interface RunVerifyOptions {
  /** Public key it must be signed with; PEM, or base64 of its DER. */
  readonly publicKey?: string
  /** An earlier checkpoint of the store, kept elsewhere: the file must hold what it vouches for. */
  readonly against?: Checkpoint
}

const maxFindings = 100

/** @throws INPUT_INVALID for something that is no export of a run, or a key that is none. Never for what it finds. */
export async function verifyRunExport(value: Json, options: RunVerifyOptions = {}): Promise<RunVerification> {
  const file = parseRunExport(value)
  const findings: Finding[] = []
  const add = (kind: Finding['kind'], message: string, stream = '', seq = 0): void => {
    if (findings.length < maxFindings) findings.push({ stream, seq, kind, message })
  }
  const facts = { tenant: '', run: '', at: 0, keyId: '', records: 0, blobs: 0, erased: 0 }
  try {
    parseCheckpoint(file.checkpoint as unknown as Json)
    Object.assign(facts, { tenant: file.checkpoint.tenant, at: file.checkpoint.at, keyId: file.checkpoint.keyId })
    facts.run = file.report.run
    checkSignatures(file, options, add)
    checkShape(file, add)
    facts.blobs = checkBlobs(file, add)
    Object.assign(facts, checkChains(file, add))
    checkAgainst(file, options, add)
    await checkReport(file, add)
  } catch (error) {
    if (error instanceof ConvokeError && error.code === 'INPUT_INVALID' && isAboutKey(error)) throw error
    // What is not even shaped like an export cannot be proved; where it breaks off says enough.
    add('broken', `the file cannot be read to its end: ${toErrorData(error).message}`)
  }
  return { ...facts, trusted: options.publicKey !== undefined, findings }
}

function isAboutKey(error: ConvokeError): boolean {
  return error.message.startsWith('the public key')
}

type Add = (kind: Finding['kind'], message: string, stream?: string, seq?: number) => void

function checkSignatures(file: RunExport, { publicKey }: RunVerifyOptions, add: Add): void {
  const { checkpoint } = file
  const by = publicKey === undefined ? 'under its own key' : 'with the given key'
  if (!isSigned(checkpoint, publicKey)) add('checkpoint', `its checkpoint was not signed ${by}, or was changed since`)
  if (!isSealed(file, publicKey)) add('checkpoint', `the file as a whole was not signed ${by}, or was changed since`)
  if (checkpoint.keyId !== keyIdOf(checkpoint.publicKey)) add('checkpoint', 'the id of its key is of another key')
  const { heads, streams, records } = checkpoint
  if (canonicalize(headsOf(file.streams)) !== canonicalize(heads))
    add('rewritten', 'its streams end elsewhere than was signed')
  if (streams !== heads.length || records !== heads.reduce((sum, head) => sum + head.seq, 0))
    add('checkpoint', 'its checkpoint counts otherwise than it lists')
}

const fileKeys = ['blobs', 'checkpoint', 'kind', 'left', 'report', 'signature', 'streams', 'v']

/** What stands beside the members that are proved is proved by nothing. */
function checkShape(file: RunExport, add: Add): void {
  const stray = Object.keys(file).find((key) => !fileKeys.includes(key))
  if (stray !== undefined) add('broken', `${JSON.stringify(stray)} is no part of an export`)
  const names = file.streams.map((s) => s.stream)
  if (new Set(names).size !== names.length) add('broken', 'a stream stands in it twice')
  for (const one of file.streams) {
    if (Object.keys(one).sort().join() !== 'records,stream')
      add('broken', 'a stream has a name and records, and nothing else', one.stream)
    for (const record of one.records) {
      const wrong = oddIn(record)
      if (wrong !== undefined) add('broken', wrong, one.stream, Number(record.seq))
    }
  }
}

const hash = /^[0-9a-f]{64}$/
const whole = (value: unknown): boolean => Number.isSafeInteger(value)
const isText = (value: unknown): boolean => typeof value === 'string'
const isHash = (value: unknown): boolean => typeof value === 'string' && hash.test(value)
const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)

/** Of each member whether it is of the kind that is hashed: `1` and `"1"` stand in a header as the same text. */
const members: Readonly<Record<keyof LedgerRecord, (value: unknown) => boolean>> = {
  v: (value) => value === 1,
  tenant: isText,
  stream: isText,
  seq: whole,
  epoch: whole,
  at: whole,
  type: isText,
  critical: (value) => typeof value === 'boolean',
  path: isText,
  fold: isText,
  causes: (value) =>
    Array.isArray(value) &&
    value.every((cause: object) => isObject(cause) && Object.keys(cause).sort().join() === 'kind,ref'),
  actor: isObject,
  labels: isObject,
  blobs: (value) => Array.isArray(value) && value.every(isHash),
  spill: isHash,
  payload: () => true,
  salt: (value) => typeof value === 'string' && /^([0-9a-f]{32})?$/.test(value),
  commitment: isHash,
  prevHash: isHash,
  hash: isHash,
}
const optional = new Set(['path', 'fold', 'blobs', 'spill'])

function oddIn(record: LedgerRecord): string | undefined {
  const there = record as unknown as Readonly<Record<string, unknown>>
  for (const key of Object.keys(there))
    if (!Object.hasOwn(members, key)) return `${JSON.stringify(key)} is no part of a record`
  for (const [key, isRight] of Object.entries(members))
    if (Object.hasOwn(there, key) ? !isRight(there[key]) : !optional.has(key)) return `its ${key} is none`
  if (record.salt === '' && record.payload !== null) return 'a payload without its salt is proved by nothing'
  if (record.spill !== undefined && (record.payload !== null || record.blobs?.includes(record.spill) !== true))
    return 'its payload stands in a blob that it does not name, or here as well'
  return undefined
}

function checkBlobs(file: RunExport, add: Add): number {
  const wanted = referred(file.streams)
  const there = new Set<string>()
  for (const blob of file.blobs) {
    const { hash, encoding, ...rest } = blob
    if (there.has(hash)) add('content', `the content ${hash} stands in it twice`)
    there.add(hash)
    if (!['utf8', 'base64'].includes(encoding) || Object.keys(rest).join() !== 'content')
      add('content', `the content ${hash} is written in no way that is known`)
    else if (sha256(bytesOf(blob)) !== hash) add('content', `the content ${hash} was changed`)
    if (!wanted.has(hash)) add('content', `no record refers to the content ${hash}`)
  }
  const said = new Set(file.left.blobs.map((blob) => blob.hash))
  if (said.size !== file.left.blobs.length) add('content', 'what was left out is listed twice')
  for (const [hash] of wanted)
    if (there.has(hash) === said.has(hash))
      add('content', said.has(hash) ? `${hash} is said to be left out and is there` : `the content ${hash} is missing`)
  for (const hash of said) if (!wanted.has(hash)) add('content', `no record refers to ${hash}, which was left out`)
  return there.size
}

function checkChains(file: RunExport, add: Add): { readonly records: number; readonly erased: number } {
  const content = new Map(file.blobs.map((blob) => [blob.hash, blob]))
  let records = 0
  let erased = 0
  for (const { stream, records: chain } of file.streams) {
    let head: Head = emptyHead
    for (const record of chain) {
      records++
      if (record.salt === '') erased++
      if (record.stream !== stream || record.tenant !== file.checkpoint.tenant)
        add('broken', `the record says it is of ${record.tenant}, ${record.stream}`, stream, record.seq)
      const wrong = faultOf(record, head, spilled(record, content))
      if (wrong !== undefined) add(record.seq > head.seq + 1 ? 'missing' : 'broken', wrong, stream, record.seq)
      head = { seq: record.seq, hash: record.hash }
    }
  }
  return { records, erased }
}

function spilled(record: LedgerRecord, content: ReadonlyMap<string, RunExport['blobs'][number]>): string | undefined {
  const blob = record.spill === undefined ? undefined : content.get(record.spill)
  return blob === undefined ? undefined : bytesOf(blob).toString('utf8')
}

function checkAgainst(file: RunExport, { against, publicKey }: RunVerifyOptions, add: Add): void {
  if (against === undefined) return
  if (!isSigned(against, publicKey))
    add('checkpoint', 'the earlier checkpoint was not signed with the key, or was changed')
  if (against.tenant !== file.checkpoint.tenant)
    add('checkpoint', `the earlier checkpoint is of tenant ${against.tenant}, not of ${file.checkpoint.tenant}`)
  const earlier = new Map(against.heads.map((head) => [head.stream, head]))
  for (const { stream, records } of file.streams) {
    const signed = earlier.get(stream)
    if (signed === undefined) continue
    const record = records[signed.seq - 1]
    if (record === undefined) {
      // Of an ancestor only what the fork shares is here.
      if (stream === `run/${file.report.run}` || stream === `inbox/${file.report.run}`)
        add('missing', `the stream ends at ${records.length}; it had ${signed.seq} records`, stream, signed.seq)
    } else if (record.hash !== signed.hash)
      add('rewritten', 'another record stands here than the one that was signed', stream, signed.seq)
  }
}

/** The readable part is worth what the records are worth: it is made again from them. */
async function checkReport(file: RunExport, add: Add): Promise<void> {
  const { tenant } = file.checkpoint
  const again = reportOf(await readRun(fileLedger(tenant, file.streams, file.blobs), tenant, file.report.run))
  if (file.report.v !== again.v) {
    add('report', `the report is of version ${String(file.report.v)}, and this version makes ${again.v}`)
    return
  }
  const at = firstDifference(again as unknown as Json, file.report as unknown as Json)
  if (at !== undefined) add('report', `the report says something else at ${at || 'its root'} than the records do`)
  const { blobs: _, ...left } = file.left
  const other = firstDifference(leftOf(file.streams) as unknown as Json, left as unknown as Json)
  if (other !== undefined)
    add('report', `what was left out is said otherwise at ${other || 'its root'} than the records say`)
}

/** JSON Pointer (RFC 6901) of the first place where two values differ. */
function firstDifference(a: Json | undefined, b: Json | undefined, at = ''): string | undefined {
  if (a === b) return undefined
  if (
    typeof a !== 'object' ||
    typeof b !== 'object' ||
    a === null ||
    b === null ||
    Array.isArray(a) !== Array.isArray(b)
  )
    return at
  const one = a as Readonly<Record<string, Json>>
  const two = b as Readonly<Record<string, Json>>
  for (const key of new Set([...Object.keys(one), ...Object.keys(two)])) {
    const pointer = `${at}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
    if (Object.hasOwn(one, key) !== Object.hasOwn(two, key)) return pointer
    const found = firstDifference(one[key], two[key], pointer)
    if (found !== undefined) return found
  }
  return undefined
}

/** The error that a verification with findings is. */
export function runExportError(report: RunVerification): ConvokeError | undefined {
  const [first] = report.findings
  if (first === undefined) return undefined
  const n = report.findings.length
  const place = first.stream === '' ? 'the file' : placeOf(first)
  return new ConvokeError(
    'AUDIT_FAILED',
    `${n} ${n === 1 ? 'finding' : 'findings'} in the export of run ${report.run}; the first: ${place}: ${first.message}`,
    {
      details: { findings: n, stream: first.stream, seq: first.seq, kind: first.kind },
      next: 'ask whoever made the file for it again, and compare it with a checkpoint that was kept elsewhere',
    },
  )
}
