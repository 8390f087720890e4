import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import {
  isEnded,
  project,
  runIdOf,
  runStream,
  type ApprovalRow,
  type Change,
  type RunRow,
} from '../core/projections.ts'
import type { LedgerRecord } from '../core/record.ts'
import type { Archive, Ledger, ReadyRun, RunFilter, StreamRef } from '../ports/ledger.ts'

/** The projections of a store in memory. */
export interface Tables {
  apply(record: LedgerRecord, blob: (hash: string) => Uint8Array | undefined): void
  copy(): Tables
  folds(ref: StreamRef): ReadonlySet<string>
  run(tenant: string, run: string, ownerOf: OwnerOf): RunRow | undefined
  runs(filter: RunFilter, ownerOf: OwnerOf): RunRow[]
  approval(tenant: string, id: string): ApprovalRow | undefined
  approvals(filter: Parameters<Ledger['approvals']>[0]): ApprovalRow[]
  ready(now: number, tenant: string | undefined): ReadyRun[]
  nextDue(now: number): number | undefined
  ended(filter: Parameters<Archive['ended']>[0]): RunRow[]
  relatives(tenant: string, run: string): RunRow[]
  /** Marks a run as archived, or as back; its approvals go and come with it. */
  setArchived(tenant: string, run: string, at: number | undefined): void
}
type OwnerOf = (ref: StreamRef) => string | undefined

function changesOf(record: LedgerRecord): readonly Change[] {
  try {
    return project(record)
  } catch (cause) {
    throw new ConvokeError('INPUT_INVALID', `not a whole ${record.type}`, { cause })
  }
}

const keyOf = (tenant: string, id: string): string => JSON.stringify([tenant, id])

export function createTables(
  runs: Map<string, RunRow> = new Map(),
  approvals: Map<string, ApprovalRow> = new Map(),
  folds: Map<string, ReadonlySet<string>> = new Map(),
  /** Approvals of archived runs, by run: gone from the list, and their ids with them. */
  put: Map<string, readonly ApprovalRow[]> = new Map(),
): Tables {
  function apply(record: LedgerRecord, change: Change): void {
    const { tenant } = record
    if (change.kind === 'approval') {
      applyApproval(record, change)
      return
    }
    const key = keyOf(tenant, change.run)
    const before = runs.get(key)
    if (change.kind === 'wake') {
      if (before !== undefined && !isEnded(before.status))
        runs.set(key, { ...before, due: Math.min(before.due ?? change.at, change.at) })
      return
    }
    if (before === undefined && change.set.workflow === undefined) return
    const { dueClear, parkedClear, ...set } = change.set
    const { due, parkedOn, ...rest } = { ...before, ...set } as RunRow
    runs.set(key, {
      ...rest,
      ...(due === undefined || dueClear ? {} : { due }),
      ...(parkedOn === undefined || parkedClear ? {} : { parkedOn }),
    })
  }

  function applyApproval(record: LedgerRecord, change: Extract<Change, { kind: 'approval' }>): void {
    const key = keyOf(record.tenant, change.id)
    const before = approvals.get(key)
    if (before === undefined) {
      if (change.set.ref !== undefined) approvals.set(key, change.set as ApprovalRow)
      return
    }
    if (before.run !== runIdOf(record.stream)) return
    if (record.stream.startsWith('inbox/') && before.status !== 'pending') return
    approvals.set(key, { ...before, ...change.set })
  }

  function shown(row: RunRow, ownerOf: OwnerOf): RunRow {
    const owned = ownerOf({ tenant: row.tenant, stream: runStream(row.run) }) !== undefined
    return row.status === 'queued' && owned ? { ...row, status: 'running' } : row
  }

  return {
    apply(record, blob) {
      const bytes = record.spill === undefined ? undefined : blob(record.spill)
      const payload = bytes === undefined ? record.payload : (JSON.parse(Buffer.from(bytes).toString('utf8')) as Json)
      if (/^step\.(completed|failed)$/.test(record.type) && (payload as JsonObject | null)?.['fold'] === true) {
        const key = keyOf(record.tenant, record.stream)
        folds.set(key, new Set([...(folds.get(key) ?? []), record.path ?? '']))
      }
      for (const change of changesOf({ ...record, payload })) apply(record, change)
    },
    copy: () => createTables(new Map(runs), new Map(approvals), new Map(folds), new Map(put)),
    folds: (ref) => folds.get(keyOf(ref.tenant, ref.stream)) ?? new Set(),
    run(tenant, run, ownerOf) {
      const row = runs.get(keyOf(tenant, run))
      return row === undefined ? undefined : shown(row, ownerOf)
    },
    runs(filter, ownerOf) {
      const sorted = [...runs.values()]
        .filter((row) => row.tenant === filter.tenant)
        .sort((a, b) => b.startedAt - a.startedAt || (a.run < b.run ? 1 : -1))
      const from = filter.before === undefined ? 0 : sorted.findIndex((row) => row.run === filter.before) + 1
      if (filter.before !== undefined && from === 0) return []
      return sorted
        .slice(from)
        .map((row) => shown(row, ownerOf))
        .filter(
          (row) =>
            (filter.status?.includes(row.status) ?? true) &&
            (filter.workflow ?? row.workflow) === row.workflow &&
            (filter.tag === undefined || row.tags.includes(filter.tag)),
        )
        .slice(0, filter.limit ?? 100)
    },
    approval: (tenant, id) => approvals.get(keyOf(tenant, id)),
    approvals: (filter) =>
      [...approvals.values()]
        .filter(
          (row) =>
            row.tenant === filter.tenant &&
            (filter.status ?? row.status) === row.status &&
            (filter.run ?? row.run) === row.run,
        )
        .sort((a, b) => a.requestedAt - b.requestedAt || (a.id < b.id ? -1 : 1))
        .slice(0, filter.limit ?? 100),
    ready: (now, tenant) =>
      [...runs.values()]
        .filter((row) => row.due !== undefined && row.due <= now && (tenant ?? row.tenant) === row.tenant)
        .map((row) => ({
          ref: { tenant: row.tenant, stream: runStream(row.run) },
          due: row.due ?? 0,
          priority: row.priority,
        }))
        .sort(
          (a, b) =>
            b.priority - a.priority ||
            a.due - b.due ||
            (keyOf(a.ref.tenant, a.ref.stream) < keyOf(b.ref.tenant, b.ref.stream) ? -1 : 1),
        ),
    nextDue(now) {
      const later = [...runs.values()].flatMap((row) => (row.due !== undefined && row.due > now ? [row.due] : []))
      return later.length === 0 ? undefined : Math.min(...later)
    },
    ended: ({ tenant, before, after, limit = 100 }) =>
      [...runs.values()]
        .filter((row) => row.tenant === tenant && isEnded(row.status) && row.archived === undefined)
        .filter((row) => row.updatedAt < before)
        .sort((a, b) => a.updatedAt - b.updatedAt || (a.run < b.run ? -1 : 1))
        .filter((row) => after === undefined || follows(row, after))
        .slice(0, limit),
    relatives: (tenant, run) =>
      [...runs.values()]
        .filter((row) => row.tenant === tenant && (row.parent === run || row.forkOf === run))
        .sort((a, b) => (a.run < b.run ? -1 : 1)),
    setArchived(tenant, run, at) {
      const key = keyOf(tenant, run)
      const { archived: _, ...row } = runs.get(key) as RunRow
      runs.set(key, at === undefined ? row : { ...row, archived: at })
      if (at !== undefined) {
        const its = [...approvals.values()].filter((one) => one.tenant === tenant && one.run === run)
        for (const { id } of its) approvals.delete(keyOf(tenant, id))
        put.set(key, its)
        return
      }
      for (const one of put.get(key) ?? [])
        if (!approvals.has(keyOf(tenant, one.id))) approvals.set(keyOf(tenant, one.id), one)
      put.delete(key)
    },
  }
}

function follows(row: RunRow, after: Pick<RunRow, 'run' | 'updatedAt'>): boolean {
  return row.updatedAt > after.updatedAt || (row.updatedAt === after.updatedAt && row.run > after.run)
}
