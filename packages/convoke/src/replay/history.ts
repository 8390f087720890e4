import { decode } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { runStream } from '../core/projections.ts'
import type { LedgerRecord } from '../core/record.ts'
import type { Ledger } from '../ports/ledger.ts'
import { isTerminal, type Entry } from './types.ts'

/** Read at once: a ledger prepares its next page while the last one is taken over, and everything is kept anyway. */
const page = 20_000

/** Critical record types this version understands; any other critical one stops the reader. */
const known = new Set([
  'run.started',
  'run.input',
  'run.completed',
  'run.failed',
  'run.cancelled',
  'run.continued',
  'answer.held',
  'tool.dispatched',
  'value.superseded',
])

/** Reads a stream whole, with payloads that were spilled to blobs. @throws RECORD_UNSUPPORTED, BLOB_MISSING, LEDGER_CORRUPT */
export async function readAll(
  ledger: Ledger,
  tenant: string,
  stream: string,
  options: { readonly outline?: boolean; readonly to?: number } = {},
): Promise<Entry[]> {
  const entries: Entry[] = []
  for (let from = 1; ;) {
    const records = await ledger.read(
      { tenant, stream },
      { from, limit: page, ...(options.outline ? { outline: true } : {}) },
    )
    for (const record of records) {
      if (options.to !== undefined && record.seq > options.to) return entries
      entries.push(await entryOf(ledger, record))
    }
    if (records.length < page) return entries
    from = (records[records.length - 1] as LedgerRecord).seq + 1
  }
}

export async function entryOf(ledger: Ledger, record: LedgerRecord): Promise<Entry> {
  const atHand = entryAtHand(record)
  if (atHand !== undefined) return atHand
  const spill = record.spill as string
  const bytes = await ledger.getBlob(record.tenant, spill)
  if (bytes === undefined)
    throw new ConvokeError(
      'BLOB_MISSING',
      `record ${record.stream}@${record.seq} needs blob ${spill}, which is not there`,
    )
  return { record, payload: decode(Buffer.from(bytes).toString('utf8')) as JsonObject }
}

/** Undefined when its payload has to be fetched. @throws RECORD_UNSUPPORTED */
function entryAtHand(record: LedgerRecord): Entry | undefined {
  if ((record.v as number) !== 1 || (record.critical && !known.has(record.type)))
    throw new ConvokeError(
      'RECORD_UNSUPPORTED',
      `record ${record.stream}@${record.seq} is of ${(record.v as number) === 1 ? `critical type ${record.type}` : `version ${String(record.v)}`}, which this version does not know`,
      {
        details: { stream: record.stream, seq: record.seq, type: record.type },
        next: 'use the version of Convoke that wrote it, or a newer one',
      },
    )
  return record.spill === undefined ? { record, payload: (record.payload ?? {}) as JsonObject } : undefined
}

export interface ForkSpec {
  readonly run: string
  readonly at: number
  readonly reuse: 'before' | 'unchanged'
  readonly effects: 'hold' | 'dry' | 'live'
  readonly use: Readonly<Record<string, string>>
}

export interface History {
  /** The run's own records may be replayed before their proof has ended; nothing new begins until it has. */
  readonly proved: Promise<void>
  readonly started: Entry
  readonly input: Json | undefined
  /** What replay goes through: shared records of ancestors first, then the run's own. */
  readonly entries: readonly Entry[]
  readonly fork: ForkSpec | undefined
  /** Everything the ancestors recorded, for reuse and for holding effects; empty when not a fork. */
  readonly ancestors: readonly Entry[]
  readonly supersede: ReadonlyMap<string, Superseded>
  readonly last: Entry
}

export interface Superseded {
  readonly value: Json
  readonly entry: Entry
}

export async function loadHistory(ledger: Ledger, tenant: string, run: string): Promise<History> {
  return await historyOf(await readOwn(ledger, tenant, runStream(run)), ledger, tenant, run)
}

/** Of records that this process has written itself. @throws RECORD_UNSUPPORTED */
export async function historyAtHand(
  records: readonly LedgerRecord[],
  ledger: Ledger,
  tenant: string,
  run: string,
): Promise<History> {
  const own: Entry[] = []
  for (const record of records) own.push(entryAtHand(record) ?? (await entryOf(ledger, record)))
  return await historyOf({ own, proved: Promise.resolve() }, ledger, tenant, run)
}

async function historyOf({ own, proved }: Own, ledger: Ledger, tenant: string, run: string): Promise<History> {
  const started = own[0]
  if (started === undefined)
    throw new ConvokeError('RUN_UNKNOWN', `no run ${run}`, { details: { run }, next: 'convoke runs' })
  const fork = started.payload['fork'] as unknown as ForkSpec | undefined
  const shared: Shared =
    fork === undefined ? { within: [], entries: [], all: [] } : await sharedWith(ledger, tenant, fork)
  const supersede = new Map<string, Superseded>()
  for (const entry of [...shared.within, ...own])
    if (entry.record.type === 'value.superseded')
      supersede.set(entry.payload['path'] as string, { value: entry.payload['value'] as Json, entry })
  return {
    proved,
    started,
    input: own[1]?.payload['value'],
    entries: [...shared.entries, ...own],
    fork,
    ancestors: shared.all,
    supersede,
    last: own[own.length - 1] as Entry,
  }
}

/** Which code the run belongs to by now: what began it, or what adopted it last. */
export function codeOf({ entries, started }: History): JsonObject {
  return entries.findLast((e) => e.record.type === 'run.adopted')?.payload ?? started.payload
}

interface Own {
  readonly own: readonly Entry[]
  readonly proved: Promise<void>
}

async function readOwn(ledger: Ledger, tenant: string, stream: string): Promise<Own> {
  if (ledger.readAhead === undefined)
    return { own: await readAll(ledger, tenant, stream, { outline: true }), proved: Promise.resolve() }
  const { records, proved } = await ledger.readAhead({ tenant, stream }, { outline: true })
  // Whoever waits for it hears of it; it may also be that nobody does any more.
  proved.catch(() => undefined)
  const own: Entry[] = []
  try {
    for (const record of records) own.push(entryAtHand(record) ?? (await entryOf(ledger, record)))
  } catch (error) {
    await proved
    throw error
  }
  return { own, proved }
}

interface Shared {
  readonly within: readonly Entry[]
  readonly entries: readonly Entry[]
  readonly all: readonly Entry[]
}

/**
 * What a fork shares: its ancestor's records up to the point, without intents and approvals that had not led to a
 * result there (R9, R10: a fork begins such steps afresh and inherits no unused approval).
 */
async function sharedWith(ledger: Ledger, tenant: string, fork: ForkSpec): Promise<Shared> {
  const parent = await readAll(ledger, tenant, runStream(fork.run))
  const parentFork = parent[0]?.payload['fork'] as unknown as ForkSpec | undefined
  const before: Shared =
    parentFork === undefined ? { within: [], entries: [], all: [] } : await sharedWith(ledger, tenant, parentFork)
  const within = [...before.within, ...parent.filter((e) => e.record.seq <= fork.at)]
  const finished = new Set(within.filter(isTerminal).map((e) => e.record.path))
  // The first record of all says when the code began: `now()` must answer a fork as it answered the original.
  const entries = within.filter((e) =>
    e.record.path === undefined
      ? e.record.type === 'inbox.received' || e.record.type === 'run.started'
      : finished.has(e.record.path),
  )
  return { within, entries, all: [...before.all, ...parent] }
}
