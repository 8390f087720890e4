import { decode } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { runStream, type RunRow } from '../core/projections.ts'
import { parseRef, refOf, type LedgerRecord, type RecordRef } from '../core/record.ts'
import type { Ledger } from '../ports/ledger.ts'

// Records as the views of this room read them: payloads decoded wherever they are stored, erased ones empty. A view
// never refuses a type it does not know; it says less.

export type Readable = Pick<Ledger, 'read' | 'getBlob' | 'run' | 'approvals' | 'head' | 'heads' | 'dependents'>

export interface Entry {
  readonly ref: RecordRef
  readonly record: LedgerRecord
  readonly payload: JsonObject
}

const page = 2000

/** @throws BLOB_MISSING, LEDGER_CORRUPT */
export async function entryOf(ledger: Readable, record: LedgerRecord): Promise<Entry> {
  const ref = refOf(record)
  if (record.spill === undefined || record.salt === '')
    return { ref, record, payload: (record.payload ?? {}) as JsonObject }
  const bytes = await ledger.getBlob(record.tenant, record.spill)
  if (bytes === undefined)
    throw new ConvokeError('BLOB_MISSING', `record ${ref} needs blob ${record.spill}, which is not there`, {
      details: { ref, blob: record.spill },
      next: 'convoke audit verify',
    })
  return { ref, record, payload: decode(Buffer.from(bytes).toString('utf8')) as JsonObject }
}

export async function readStream(
  ledger: Readable,
  tenant: string,
  stream: string,
  to: number = Infinity,
): Promise<Entry[]> {
  const entries: Entry[] = []
  for (let from = 1; ;) {
    const records = await ledger.read({ tenant, stream }, { from, limit: page })
    for (const record of records) {
      if (record.seq > to) return entries
      entries.push(await entryOf(ledger, record))
    }
    if (records.length < page) return entries
    from = (records[records.length - 1] as LedgerRecord).seq + 1
  }
}

/** One record wherever it stands; undefined when there is none. */
export async function readRef(ledger: Readable, tenant: string, ref: RecordRef): Promise<Entry | undefined> {
  const { stream, seq } = parseRef(ref)
  const [record] = await ledger.read({ tenant, stream }, { from: seq, limit: 1 })
  return record === undefined || record.seq !== seq ? undefined : entryOf(ledger, record)
}

export interface Fork {
  readonly run: string
  readonly at: number
  readonly reuse: string
  readonly effects: string
  readonly use: Readonly<Record<string, string>>
}

export interface RunRecords {
  readonly tenant: string
  readonly run: string
  readonly row: RunRow
  readonly started: Entry
  readonly input: Json | undefined
  readonly fork: Fork | undefined
  /** The run's own records. */
  readonly own: readonly Entry[]
  /** What it shares with its ancestors up to its fork's point, then its own. */
  readonly all: readonly Entry[]
  readonly byRef: ReadonlyMap<RecordRef, Entry>
}

/** @throws RUN_UNKNOWN */
export async function readRun(ledger: Readable, tenant: string, run: string): Promise<RunRecords> {
  const stream = runStream(run)
  const row = await ledger.run({ tenant, stream })
  const own = row === undefined ? [] : await readStream(ledger, tenant, stream)
  const started = own[0]
  if (row === undefined || started === undefined)
    throw new ConvokeError('RUN_UNKNOWN', `no run ${run}`, { details: { run }, next: 'convoke runs' })
  const fork = forkOf(started)
  const all = [...(fork === undefined ? [] : await sharedWith(ledger, tenant, fork)), ...own]
  return {
    tenant,
    run,
    row,
    started,
    input: own[1]?.record.type === 'run.input' ? own[1].payload['value'] : undefined,
    fork,
    own,
    all,
    byRef: new Map(all.map((entry) => [entry.ref, entry])),
  }
}

function forkOf(started: Entry | undefined): Fork | undefined {
  return started?.payload['fork'] as unknown as Fork | undefined
}

const maxForks = 100

/** What ancestors did up to the point, nearest last. */
async function sharedWith(ledger: Readable, tenant: string, fork: Fork): Promise<Entry[]> {
  let shared: Entry[] = []
  for (let at: Fork | undefined = fork, n = 0; at !== undefined && n < maxForks; n++) {
    const entries: Entry[] = await readStream(ledger, tenant, runStream(at.run), at.at)
    const kept = entries.filter((e) => e.record.path !== undefined || e.record.type === 'value.superseded')
    shared = [...kept, ...shared]
    at = forkOf(entries[0])
  }
  // A fork begins afresh what had not led to a result at its point.
  const finished = new Set(shared.filter(isTerminal).map((e) => e.record.path))
  return shared.filter((e) => e.record.path === undefined || finished.has(e.record.path))
}

/** Whether a record ends its path. */
export function isTerminal(entry: Entry): boolean {
  return entry.record.path !== undefined && typeof entry.payload['fp'] === 'string'
}

export function text(value: Json | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}

export function object(value: Json | undefined): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined
}

export function list(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : []
}
