import { gunzipSync, gzipSync } from 'node:zlib'
import { decode } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { inboxStream, runStream } from '../core/projections.ts'
import type { Blob, LedgerRecord } from '../core/record.ts'
import type { Clock, Ids } from '../ports/runtime.ts'
import type { InboxMessage, Ledger } from '../ports/ledger.ts'
import { dryReplay, type DryReplay } from '../replay/dry-replay.ts'
import type { Runtime } from '../replay/runtime.ts'
import type { AnyWorkflow } from '../replay/workflow.ts'
import { createMemoryStore } from './memory-ledger.ts'

// Old ledgers are fixtures: what a released version wrote must be replayed by every later one. A history is one run
// with its inbox and, for a fork, its ancestors.

/** A recorded history, as it stands in a file. */
interface History {
  readonly format: 'convoke-history'
  readonly v: 1
  readonly tenant: string
  readonly run: string
  /** The tenant's key, hexadecimal: fingerprints are keyed. */
  readonly key: string
  readonly streams: Readonly<Record<string, readonly LedgerRecord[]>>
  /** By content hash: compressed (RFC 1952), then base64. */
  readonly blobs: Readonly<Record<string, string>>
}

const page = 1_000
const maxBlob = 256 * 1024 * 1024

/**
 * A run as JSON text, to be kept as a fixture. It holds the tenant's key and every payload: record it from a store made
 * for the purpose, never from one in use.
 * @throws RUN_UNKNOWN
 */
export async function recordHistory(ledger: Ledger, tenant: string, run: string): Promise<string> {
  const streams: Record<string, readonly LedgerRecord[]> = {}
  const blobs: Record<string, string> = {}
  for (let next: string | undefined = run; next !== undefined;) {
    const records = await wholeStream(ledger, tenant, runStream(next))
    const first = records[0]
    if (first === undefined) throw new ConvokeError('RUN_UNKNOWN', `no run ${next}`, { details: { run: next } })
    streams[runStream(next)] = records
    const inbox = await wholeStream(ledger, tenant, inboxStream(next))
    if (inbox.length > 0) streams[inboxStream(next)] = inbox
    for (const hash of new Set([...records, ...inbox].flatMap((r) => r.blobs ?? []))) {
      const bytes = await ledger.getBlob(tenant, hash)
      if (bytes !== undefined) blobs[hash] = gzipSync(bytes).toString('base64')
    }
    next = (first.payload as JsonObject)['forkOf'] as string | undefined
  }
  const key = Buffer.from(await ledger.tenantKey(tenant)).toString('hex')
  const history: History = { format: 'convoke-history', v: 1, tenant, run, key, streams, blobs }
  return `${JSON.stringify(history, null, 1)}\n`
}

async function wholeStream(ledger: Ledger, tenant: string, stream: string): Promise<LedgerRecord[]> {
  const records: LedgerRecord[] = []
  for (;;) {
    const more = await ledger.read({ tenant, stream }, { from: records.length + 1, limit: page })
    records.push(...more)
    if (more.length < page) return records
  }
}

/** @throws JSON_INVALID when the text is no history, RECORD_UNSUPPORTED when it is one of another version */
function parse(text: string): History {
  const found = decode(text) as { format?: Json; v?: Json } | null
  if (found?.format !== 'convoke-history')
    throw new ConvokeError('JSON_INVALID', 'the text is not a history', { next: 'record one with recordHistory()' })
  if (found.v !== 1)
    throw new ConvokeError('RECORD_UNSUPPORTED', `the history is of version ${JSON.stringify(found.v)}, this reads 1`)
  return found as unknown as History
}

/**
 * A ledger in memory that holds a history, or only the first `records` of its run, as a crash right after them would
 * have left it.
 */
export async function openHistory(text: string, options: { readonly records?: number } = {}): Promise<Ledger> {
  const { tenant, run, key, streams, blobs } = parse(text)
  const ledger = createMemoryStore().open()
  const stored: Blob[] = Object.entries(blobs).map(([hash, base64]) => ({
    hash,
    bytes: gunzipSync(Buffer.from(base64, 'base64'), { maxOutputLength: maxBlob }),
    mediaType: 'application/octet-stream',
  }))
  if (stored.length > 0) await ledger.putBlobs(tenant, stored)
  const lease = await ledger.register('history')
  for (const [stream, all] of Object.entries(streams)) {
    if (stream.startsWith('inbox/')) continue
    const kept = stream === runStream(run) ? all.slice(0, Math.max(2, options.records ?? all.length)) : all
    await put(ledger, tenant, stream, kept)
  }
  await lease.release()
  for (const [stream, records] of Object.entries(streams))
    if (stream.startsWith('inbox/'))
      for (const record of records) await ledger.post({ tenant, stream }, await messageOf(ledger, record))
  return { ...ledger, tenantKey: () => Promise.resolve(Buffer.from(key, 'hex')) }
}

/** Writes records under the epochs that they were written under. */
async function put(ledger: Ledger, tenant: string, stream: string, records: readonly LedgerRecord[]): Promise<void> {
  const ref = { tenant, stream }
  let epoch = 0
  let claimed = false
  for (let from = 0; from < records.length;) {
    const own = (records[from] as LedgerRecord).epoch
    let to = from
    while (records[to]?.epoch === own) to++
    for (; epoch < own; claimed = true) ({ epoch } = await ledger.claim(ref, 'history'))
    await ledger.append([{ ref, epoch: own, records: records.slice(from, to) }])
    from = to
  }
  if (claimed) await ledger.release(ref, epoch)
}

async function messageOf(ledger: Ledger, record: LedgerRecord): Promise<InboxMessage> {
  const bytes = record.spill === undefined ? undefined : await ledger.getBlob(record.tenant, record.spill)
  const payload = bytes === undefined ? record.payload : decode(Buffer.from(bytes).toString('utf8'))
  const { type, at, actor, causes, labels } = record
  return { id: `${record.stream}@${record.seq}`, type, at, actor, causes, labels, payload }
}

export interface HistoryParts {
  readonly workflows: readonly AnyWorkflow[]
  readonly extend: Runtime['extend']
  readonly clock: Clock
  readonly ids: Ids
}

/** Holds today's code against a history; see `dryReplay`. */
export async function replayRecorded(text: string, parts: HistoryParts): Promise<DryReplay> {
  const { tenant, run } = parse(text)
  const ledger = await openHistory(text)
  try {
    return await dryReplay(
      {
        ledger,
        clock: parts.clock,
        ids: parts.ids,
        redact: (value) => value,
        workflows: new Map(parts.workflows.map((w) => [w.name, w])),
        extend: parts.extend,
      },
      { tenant, stream: runStream(run) },
    )
  } finally {
    await ledger.close()
  }
}
