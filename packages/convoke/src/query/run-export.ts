import { sign, verify } from 'node:crypto'
import { canonicalize } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { project, runStream, type RunRow } from '../core/projections.ts'
import { parseRef, type LedgerRecord } from '../core/record.ts'
import { asPrivateKey, asPublicKey, signCheckpoint, type Checkpoint } from './checkpoint.ts'
import { readRun, readStream, type Entry, type Readable } from './records.ts'
import { reportOf, type RunReport } from './report.ts'

// One run in one file: what an auditor asks for, the records that it is made of, and the proof. Whoever has the file can
// prove it without the store (`run-verify.ts`).

export interface ExportedBlob {
  /** SHA-256 of the bytes, hexadecimal. */
  readonly hash: string
  readonly encoding: 'utf8' | 'base64'
  readonly content: string
}

/** What the records speak of and the file does not hold. */
export interface LeftOut {
  readonly blobs: readonly { readonly hash: string; readonly why: 'too large' | 'not in the store' }[]
  /** Runs that belong to it and have files of their own: children, and what goes on in its place. */
  readonly runs: readonly string[]
  /** Records of other streams that records in here name as causes. */
  readonly refs: readonly string[]
}

export interface RunExport {
  readonly kind: 'convoke-run'
  readonly v: 1
  readonly report: RunReport
  readonly left: LeftOut
  /** Whole from their first record on: the run's, its inbox, and of each ancestor of a fork what the fork shares. */
  readonly streams: readonly { readonly stream: string; readonly records: readonly LedgerRecord[] }[]
  /** Sorted by hash. */
  readonly blobs: readonly ExportedBlob[]
  /** Where those streams ended. */
  readonly checkpoint: Checkpoint
  /** Ed25519 (RFC 8032) over `seal` of everything else in the file, under the checkpoint's key; base64. */
  readonly signature: string
}

export interface ExportOptions {
  /** Ed25519 private key in PEM. */
  readonly signingKey: string
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Blobs of more bytes are left out; 1 MiB unless said. Payloads of records always are in the file. */
  readonly maxBlobBytes?: number
}

const defaultMaxBlobBytes = 1 << 20

/** The text that is signed: names what it is, so that no other signature of the key can stand for it. */
export function sealText(body: Omit<RunExport, 'signature'>): string {
  return canonicalize({ kind: 'convoke-run-seal', v: 1, digest: sha256(canonicalize(body)) })
}

/** @throws RUN_UNKNOWN, INPUT_INVALID for a key that is none */
export async function exportRun(ledger: Readable, tenant: string, run: string, o: ExportOptions): Promise<RunExport> {
  const key = asPrivateKey(o.signingKey)
  const streams = await streamsOf(ledger, tenant, run)
  const { blobs, missing } = await blobsOf(ledger, tenant, streams, o.maxBlobBytes ?? defaultMaxBlobBytes)
  const records = await readRun(fileLedger(tenant, streams, blobs), tenant, run)
  const body: Omit<RunExport, 'signature'> = {
    kind: 'convoke-run',
    v: 1,
    report: reportOf(records),
    left: { blobs: missing, ...leftOf(streams) },
    streams,
    blobs,
    checkpoint: signCheckpoint(headsOf(streams), tenant, o.signingKey, o.at),
  }
  return { ...body, signature: sign(null, Buffer.from(sealText(body)), key).toString('base64') }
}

export function headsOf(streams: RunExport['streams']): Checkpoint['heads'] {
  return streams
    .flatMap(({ stream, records }) => {
      const last = records.at(-1)
      return last === undefined ? [] : { stream, seq: last.seq, hash: last.hash }
    })
    .sort((a, b) => (a.stream < b.stream ? -1 : 1))
}

const maxForks = 100

async function streamsOf(ledger: Readable, tenant: string, run: string): Promise<RunExport['streams']> {
  const found: { stream: string; records: readonly LedgerRecord[] }[] = []
  const add = async (stream: string, to?: number): Promise<readonly Entry[]> => {
    const entries = await readStream(ledger, tenant, stream, to)
    // As the ledger holds it: a spilled payload stands in its blob.
    if (entries.length > 0) found.push({ stream, records: entries.map((e) => e.record) })
    return entries
  }
  // The inbox first: what came in meanwhile is then in neither, or in both.
  await add(`inbox/${run}`)
  let at = (await add(runStream(run)))[0]
  if (at === undefined)
    throw new ConvokeError('RUN_UNKNOWN', `no run ${run}`, { details: { run }, next: 'convoke runs' })
  for (let n = 0; n < maxForks; n++) {
    const fork = at?.payload['fork'] as { readonly run: string; readonly at: number } | undefined
    if (fork === undefined) break
    at = (await add(runStream(fork.run), fork.at))[0]
  }
  return found
}

/** Every hash that a record refers to, and whether it holds the record's own payload. */
export function referred(streams: RunExport['streams']): ReadonlyMap<string, boolean> {
  const hashes = new Map<string, boolean>()
  for (const { records } of streams)
    for (const record of records) {
      // What an erased payload referred to went with it.
      if (record.salt === '') continue
      for (const hash of record.blobs ?? []) hashes.set(hash, hashes.get(hash) === true || hash === record.spill)
    }
  return new Map([...hashes].sort(([a], [b]) => (a < b ? -1 : 1)))
}

async function blobsOf(
  ledger: Readable,
  tenant: string,
  streams: RunExport['streams'],
  maxBytes: number,
): Promise<{ readonly blobs: readonly ExportedBlob[]; readonly missing: LeftOut['blobs'] }> {
  const blobs: ExportedBlob[] = []
  const missing: { hash: string; why: 'too large' | 'not in the store' }[] = []
  for (const [hash, isPayload] of referred(streams)) {
    const bytes = await ledger.getBlob(tenant, hash)
    if (bytes === undefined) missing.push({ hash, why: 'not in the store' })
    else if (!isPayload && bytes.length > maxBytes) missing.push({ hash, why: 'too large' })
    else blobs.push(exportedBlob(hash, bytes))
  }
  return { blobs, missing }
}

function exportedBlob(hash: string, bytes: Uint8Array): ExportedBlob {
  const buffer = Buffer.from(bytes)
  const text = buffer.toString('utf8')
  return text.isWellFormed() && Buffer.from(text, 'utf8').equals(buffer)
    ? { hash, encoding: 'utf8', content: text }
    : { hash, encoding: 'base64', content: buffer.toString('base64') }
}

export function bytesOf({ encoding, content }: ExportedBlob): Buffer {
  return Buffer.from(content, encoding)
}

/** What the records name and do not bring along. */
export function leftOf(streams: RunExport['streams']): Pick<LeftOut, 'runs' | 'refs'> {
  const there = new Map(streams.map(({ stream, records }) => [stream, records.length]))
  const runs = new Set<string>()
  const refs = new Set<string>()
  for (const { records } of streams)
    for (const record of records) {
      const p = (record.payload ?? {}) as JsonObject
      const other =
        record.type === 'child.requested' ? p['child'] : record.type === 'run.continued' ? p['next'] : undefined
      if (typeof other === 'string') runs.add(other)
      for (const { ref } of record.causes) {
        const { stream, seq } = parseRef(ref)
        if (seq > (there.get(stream) ?? 0)) refs.add(ref)
      }
    }
  return { runs: [...runs].sort(), refs: [...refs].sort() }
}

/** The records of a file as a ledger to read from. */
export function fileLedger(tenant: string, streams: RunExport['streams'], blobs: readonly ExportedBlob[]): Readable {
  const records = new Map(streams.map((s) => [s.stream, s.records]))
  const content = new Map(blobs.map((blob) => [blob.hash, blob]))
  const none = async (): Promise<never[]> => []
  return {
    read: async ({ stream }, { from = 1, limit = Infinity } = {}) =>
      (records.get(stream) ?? []).slice(from - 1, from - 1 + limit),
    getBlob: async (_, hash) => {
      const blob = content.get(hash)
      return blob === undefined ? undefined : bytesOf(blob)
    },
    run: async ({ stream }) => rowOf(records.get(stream)?.[0], tenant),
    head: async ({ stream }) => {
      const last = records.get(stream)?.at(-1)
      return last === undefined ? undefined : { seq: last.seq, hash: last.hash }
    },
    approvals: none,
    heads: none,
    dependents: none,
  } as Readable
}

/** Views of a file ask whether there is such a run, and no more: what became of it they take from its records. */
function rowOf(first: LedgerRecord | undefined, tenant: string): RunRow | undefined {
  const [change] = first === undefined ? [] : project(first)
  return change?.kind === 'run' ? ({ ...change.set, tenant } as RunRow) : undefined
}

/** Whether the file as a whole is signed with the key; with the one in its checkpoint unless given. @throws INPUT_INVALID */
export function isSealed(file: RunExport, trusted?: string): boolean {
  const { signature, ...body } = file
  const key = asPublicKey(trusted ?? file.checkpoint.publicKey)
  return verify(null, Buffer.from(sealText(body)), key, Buffer.from(signature, 'base64'))
}

/** The file's text: members apart, a record or blob a line. */
export function runExportText(file: RunExport): string {
  const lines = (items: readonly unknown[]): string =>
    items.length === 0 ? '[]' : `[\n${items.map((item) => JSON.stringify(item)).join(',\n')}\n]`
  const streams = file.streams
    .map(({ stream, records }) => `{"stream":${JSON.stringify(stream)},"records":${lines(records)}}`)
    .join(',\n')
  return [
    '{',
    `"kind":${JSON.stringify(file.kind)},`,
    `"v":${file.v},`,
    `"report":${JSON.stringify(file.report, null, 2)},`,
    `"left":${JSON.stringify(file.left, null, 2)},`,
    `"streams":[${streams}],`,
    `"blobs":${lines(file.blobs)},`,
    `"checkpoint":${JSON.stringify(file.checkpoint, null, 2)},`,
    `"signature":${JSON.stringify(file.signature)}`,
    '}',
    '',
  ].join('\n')
}

/** A file's shape, as deep as its members are looked at before they are proved. @throws INPUT_INVALID */
export function parseRunExport(value: Json): RunExport {
  const file = (typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}) as JsonObject
  if (file['kind'] === 'convoke-run' && file['v'] === 1) return file as unknown as RunExport
  throw new ConvokeError('INPUT_INVALID', 'this is no export of a run that this version can read', {
    details: { kind: file['kind'] ?? null, v: file['v'] ?? null },
    next: 'make one with: convoke audit export RUN --out FILE',
  })
}
