import { ConvokeError, isConvokeError, toErrorData } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import { emptyHead, faultOf, type Head, type LedgerRecord } from '../core/record.ts'
import { allHeads, isSigned, signHeads, type Checkpoint } from './checkpoint.ts'
import type { Readable } from './records.ts'

// Reads every record of a tenant again and proves it by itself, whatever the ledger's own reading has proved; a stream
// that cannot be read is a finding, and the others are still read.

export type FindingKind =
  /** A record does not match its hash, or does not follow the one before. */
  | 'broken'
  /** A record is gone from the middle or the end of its chain. */
  | 'missing'
  /** The chain is sound in itself, but it is not the one that was signed. */
  | 'rewritten'
  /** A payload's or file's content is gone or changed. */
  | 'content'
  /** The checkpoint itself is not to be trusted. */
  | 'checkpoint'
  /** What is said about the records is not what they say. */
  | 'report'

export interface Finding {
  readonly stream: string
  /** 0 when it concerns no one record. */
  readonly seq: number
  readonly kind: FindingKind
  readonly message: string
}

export interface AuditReport {
  readonly tenant: string
  readonly streams: number
  readonly records: number
  readonly blobs: number
  readonly erased: number
  /** Streams whose records were archived: only where they ended is known here. The archive's file proves itself. */
  readonly archived: number
  readonly findings: readonly Finding[]
  /** Findings beyond those listed. */
  readonly more: number
  readonly against?: { readonly keyId: string; readonly at: number; readonly heads: number; readonly trusted: boolean }
}

export interface AuditOptions {
  readonly against?: Checkpoint
  /** Public key that the checkpoint must be signed with; PEM, or base64 of its DER. Without it the file's own is used. */
  readonly publicKey?: string
  readonly onStream?: (stream: string, n: number, of: number) => void
}

const page = 1000
const maxPerStream = 20
const maxFindings = 1000

/** Verifies every stream of a tenant, and holds it against a checkpoint when one is given. Never throws for what it finds. */
export async function verifyLedger(ledger: Readable, tenant: string, options: AuditOptions = {}): Promise<AuditReport> {
  const { against } = options
  const findings: Finding[] = []
  let more = 0
  const seen = { records: 0, erased: 0, archived: 0, blobs: new Map<string, string | undefined>() }
  const add = (finding: Finding): void => {
    if (findings.length < maxFindings) findings.push(finding)
    else more++
  }
  const signed = new Map<string, Head>()
  if (against !== undefined) {
    for (const message of distrust(against, tenant, options.publicKey))
      add({ stream: '', seq: 0, kind: 'checkpoint', message })
    for (const { stream, seq, hash } of against.heads) signed.set(stream, { seq, hash })
  }
  let heads: readonly (Head & { readonly stream: string })[] = []
  try {
    heads = await allHeads(ledger, tenant)
  } catch (error) {
    add({ stream: '', seq: 0, kind: 'broken', message: toErrorData(error).message })
  }
  const streams = [...new Set([...heads.map((h) => h.stream), ...signed.keys()])].sort()
  for (const [i, stream] of streams.entries()) {
    options.onStream?.(stream, i + 1, streams.length)
    let n = 0
    await verifyStream(ledger, { tenant, stream }, signed.get(stream), seen, (finding) => {
      if (++n <= maxPerStream) add({ stream, ...finding })
      else more++
    })
  }
  return {
    tenant,
    streams: streams.length,
    records: seen.records,
    blobs: seen.blobs.size,
    erased: seen.erased,
    archived: seen.archived,
    findings,
    more,
    ...(against === undefined
      ? {}
      : {
          against: {
            keyId: against.keyId,
            at: against.at,
            heads: against.heads.length,
            trusted: options.publicKey !== undefined,
          },
        }),
  }
}

/**
 * Signs where all streams of a tenant stand, once every record up to there is proved: a signature under records that are
 * not sound would vouch for them. `at` in milliseconds.
 * @throws AUDIT_FAILED with the first finding, INPUT_INVALID for a key that is none
 */
export async function exportCheckpoint(
  ledger: Readable,
  tenant: string,
  signingKey: string,
  at: number,
): Promise<Checkpoint> {
  const checkpoint = await signHeads(ledger, tenant, signingKey, at)
  const error = auditError(await verifyLedger(ledger, tenant, { against: checkpoint }))
  if (error !== undefined) throw error
  return checkpoint
}

function distrust(checkpoint: Checkpoint, tenant: string, publicKey: string | undefined): string[] {
  const found: string[] = []
  if (!isSigned(checkpoint, publicKey))
    found.push(
      publicKey === undefined ? 'its signature is wrong' : 'it was not signed with the given key, or was changed since',
    )
  if (checkpoint.tenant !== tenant) found.push(`it is of tenant ${checkpoint.tenant}, not of ${tenant}`)
  return found
}

type Report = (finding: Omit<Finding, 'stream'>) => void

interface Seen {
  records: number
  erased: number
  archived: number
  readonly blobs: Map<string, string | undefined>
}

async function verifyStream(
  ledger: Readable,
  ref: { readonly tenant: string; readonly stream: string },
  signed: Head | undefined,
  seen: Seen,
  report: Report,
): Promise<void> {
  let head: Head = emptyHead
  let broken = 0
  let gap = 0
  let atSigned: string | undefined
  for (;;) {
    const read = await readFrom(ledger, ref, head.seq + 1)
    if (read.archived === true) {
      seen.archived++
      head = await ledger.head(ref)
      // Where it ended is all there is; a signature in the middle of it is proved by the archive's file.
      if (head.seq === signed?.seq) atSigned = head.hash
      break
    }
    if (read.fault !== undefined) {
      // The chain cannot be followed over this place; what stands after it is read on from there.
      const at = Math.max(read.fault.seq, head.seq + 1)
      // The record after a missing one cannot be proved either; one finding says enough.
      if (!(gap === at - 1 && read.fault.kind === 'broken'))
        report({ seq: at, kind: read.fault.kind, message: read.fault.message })
      if (read.fault.kind === 'missing') gap = at
      if (++broken >= maxPerStream) {
        report({ seq: at, kind: 'broken', message: 'too much is broken to read on' })
        return
      }
      head = { seq: at, hash: '' }
      continue
    }
    for (const record of read.records) {
      seen.records++
      if (record.seq === signed?.seq) atSigned = record.hash
      if (record.salt === '') seen.erased++
      const jumped = head.hash === ''
      const previous: Head = jumped ? { seq: record.seq - 1, hash: record.prevHash } : head
      if (record.tenant !== ref.tenant || record.stream !== ref.stream)
        report({ seq: record.seq, kind: 'broken', message: `the record says it is of ${record.stream}` })
      const { body, fault } = await content(ledger, record, seen)
      if (fault !== undefined) report({ seq: record.seq, kind: 'content', message: fault })
      const wrong = faultOf(record, previous, body)
      if (wrong !== undefined)
        report({
          seq: record.seq,
          kind: record.seq > previous.seq + 1 ? 'missing' : 'broken',
          message: wrong,
        })
      head = { seq: record.seq, hash: record.hash }
    }
    if (read.partial !== true && read.records.length < page) break
  }
  if (signed === undefined) return
  if (head.seq < signed.seq)
    report({
      seq: signed.seq,
      kind: 'missing',
      message:
        head.seq === 0
          ? `the stream is gone; it had ${signed.seq} records`
          : `the stream ends at ${head.seq}; it had ${signed.seq} records`,
    })
  else if (atSigned !== undefined && atSigned !== signed.hash)
    report({ seq: signed.seq, kind: 'rewritten', message: 'another record stands here than the one that was signed' })
}

interface Page {
  readonly records: readonly LedgerRecord[]
  /** More stands after these. */
  readonly partial?: boolean
  readonly archived?: true
  readonly fault?: { readonly seq: number; readonly kind: FindingKind; readonly message: string }
}

/** A ledger proves what it reads and so may refuse a whole page for one record; then what stands before it is read. */
async function readFrom(
  ledger: Readable,
  ref: { readonly tenant: string; readonly stream: string },
  from: number,
): Promise<Page> {
  try {
    return { records: await ledger.read(ref, { from, limit: page }) }
  } catch (error) {
    if (!isConvokeError(error)) throw error
    if (error.code === 'RUN_ARCHIVED') return { records: [], archived: true }
    const at = error.details?.['seq']
    if (typeof at === 'number' && at > from)
      try {
        return { records: await ledger.read(ref, { from, limit: Math.min(page, at - from) }), partial: true }
      } catch {
        // Then what it said of the first one stands.
      }
    return { records: [], fault: faultIn(error, from) }
  }
}

function faultIn(error: ConvokeError, from: number): NonNullable<Page['fault']> {
  const seq = error.details?.['seq']
  return {
    seq: typeof seq === 'number' ? seq : from,
    kind: error.message.endsWith(' is missing') ? 'missing' : 'broken',
    message: error.message,
  }
}

async function content(
  ledger: Readable,
  record: LedgerRecord,
  seen: Seen,
): Promise<{ readonly body?: string; readonly fault?: string }> {
  if (record.salt === '') return {}
  for (const hash of record.blobs ?? []) {
    if (!seen.blobs.has(hash)) seen.blobs.set(hash, (await blob(ledger, record.tenant, hash)).fault)
    const fault = seen.blobs.get(hash)
    if (fault !== undefined) return { fault }
  }
  if (record.spill === undefined) return {}
  const { bytes, fault } = await blob(ledger, record.tenant, record.spill)
  if (bytes === undefined) return fault === undefined ? {} : { fault }
  return { body: Buffer.from(bytes).toString('utf8') }
}

async function blob(
  ledger: Readable,
  tenant: string,
  hash: string,
): Promise<{ readonly bytes?: Uint8Array; readonly fault?: string }> {
  try {
    const bytes = await ledger.getBlob(tenant, hash)
    if (bytes === undefined) return { fault: `the content ${hash} is not there` }
    return sha256(bytes) === hash ? { bytes } : { fault: `the content ${hash} was changed` }
  } catch (error) {
    return { fault: toErrorData(error).message }
  }
}

/** The error that a report with findings is. */
export function auditError(report: AuditReport): ConvokeError | undefined {
  const first = report.findings[0]
  if (first === undefined) return undefined
  const n = report.findings.length + report.more
  return new ConvokeError(
    'AUDIT_FAILED',
    `${n} ${n === 1 ? 'finding' : 'findings'} in the ledger of tenant ${report.tenant}; the first: ${placeOf(first)}: ${first.message}`,
    {
      details: { findings: n, stream: first.stream, seq: first.seq, kind: first.kind },
      next: 'keep a copy of the store as it is, find out who could write to it, and restore it from a backup',
    },
  )
}

export function placeOf(finding: Finding): string {
  if (finding.stream === '') return finding.kind === 'checkpoint' ? 'the checkpoint' : 'the store'
  return finding.seq === 0 ? finding.stream : `${finding.stream}@${finding.seq}`
}
