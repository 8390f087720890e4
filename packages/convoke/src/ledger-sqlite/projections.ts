import type { DatabaseSync } from 'node:sqlite'
import { isEnded, project, type ApprovalRow, type Change, type RunRow } from '../core/projections.ts'
import type { LedgerRecord } from '../core/record.ts'

// The tables `runs` and `approvals`: what core's `project` says of records, merged. They can be dropped and rebuilt.
// Invariant: a person's decision that came to the inbox of one run never touches another run's approval, and never
// one that was decided before.

export interface Projections {
  /** True when somebody may want to know: a run became due or ended, an approval changed. */
  apply(record: LedgerRecord, stream: number): boolean
  /** Approvals alone: of a run whose row was kept. */
  applyApprovals(record: LedgerRecord): void
  /** All but the rows of archived runs, whose records are elsewhere. */
  clear(): void
  setArchived(tenant: string, run: string, at: number | undefined): void
}

/** Types whose records say something; all others cost no decoding. */
export function isProjected(stream: string, type: string): boolean {
  return stream.startsWith('inbox/') || (stream.startsWith('run/') && /^(run|approval)\./.test(type))
}

export function mergeRun(row: RunRow | undefined, set: Extract<Change, { kind: 'run' }>['set']): RunRow {
  const { dueClear, parkedClear, ...values } = set
  const merged: { -readonly [K in keyof RunRow]?: RunRow[K] } = { ...row, ...values }
  if (dueClear) delete merged.due
  if (parkedClear) delete merged.parkedOn
  return merged as RunRow
}

export function createProjections(db: DatabaseSync): Projections {
  const findRun = db.prepare('SELECT row FROM runs WHERE tenant = ? AND run = ?')
  const addRun = db.prepare(
    'INSERT INTO runs(stream, tenant, run, workflow, status, due, priority, started, row) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
  )
  const setRun = db.prepare('UPDATE runs SET status = ?, due = ?, priority = ?, row = ? WHERE tenant = ? AND run = ?')
  const findApproval = db.prepare('SELECT row FROM approvals WHERE tenant = ? AND id = ?')
  const addApproval = db.prepare(
    'INSERT INTO approvals(tenant, id, run, status, requested, row) VALUES (?, ?, ?, ?, ?, ?)',
  )
  const setApproval = db.prepare('UPDATE approvals SET status = ?, requested = ?, row = ? WHERE tenant = ? AND id = ?')

  function readRun(tenant: string, run: string): RunRow | undefined {
    const found = findRun.get(tenant, run) as { row: string } | undefined
    return found === undefined ? undefined : (JSON.parse(found.row) as RunRow)
  }

  function writeRun(row: RunRow): void {
    setRun.run(row.status, row.due ?? null, row.priority, JSON.stringify(row), row.tenant, row.run)
  }

  function changeRun(tenant: string, stream: number, change: Extract<Change, { kind: 'run' }>): boolean {
    const before = readRun(tenant, change.run)
    if (before === undefined) {
      if (change.set.workflow === undefined) return false
      const row = mergeRun(undefined, change.set)
      const { workflow, status, due, priority, startedAt } = row
      const text = JSON.stringify(row)
      addRun.run(stream, tenant, change.run, workflow, status, due ?? null, priority, startedAt, text)
      return true
    }
    writeRun(mergeRun(before, change.set))
    return true
  }

  function wake(tenant: string, run: string, at: number): boolean {
    const row = readRun(tenant, run)
    if (row === undefined || isEnded(row.status)) return false
    if (row.due === undefined || row.due > at) writeRun({ ...row, due: at })
    return true
  }

  function changeApproval(record: LedgerRecord, change: Extract<Change, { kind: 'approval' }>): boolean {
    const { tenant } = record
    const found = findApproval.get(tenant, change.id) as { row: string } | undefined
    if (found === undefined) {
      if (change.set.ref === undefined) return false
      const row = change.set as ApprovalRow
      addApproval.run(tenant, change.id, row.run, row.status, row.requestedAt, JSON.stringify(row))
      return true
    }
    const row = JSON.parse(found.row) as ApprovalRow
    const own = record.stream.slice(record.stream.indexOf('/') + 1) === row.run
    if (!own || (record.stream.startsWith('inbox/') && row.status !== 'pending')) return false
    const merged = { ...row, ...change.set }
    setApproval.run(merged.status, merged.requestedAt, JSON.stringify(merged), tenant, change.id)
    return true
  }

  return {
    apply(record, stream) {
      let told = false
      for (const change of project(record)) {
        if (change.kind === 'run') told = changeRun(record.tenant, stream, change) || told
        else if (change.kind === 'wake') told = wake(record.tenant, change.run, change.at) || told
        else told = changeApproval(record, change) || told
      }
      return told
    },
    applyApprovals(record) {
      for (const change of project(record)) if (change.kind === 'approval') changeApproval(record, change)
    },
    clear() {
      db.exec(`DELETE FROM runs WHERE json_extract(row, '$.archived') IS NULL; DELETE FROM approvals`)
    },
    setArchived(tenant, run, at) {
      const row = readRun(tenant, run)
      if (row === undefined) return
      const { archived: _, ...rest } = row
      writeRun(at === undefined ? rest : { ...rest, archived: at })
    },
  }
}
