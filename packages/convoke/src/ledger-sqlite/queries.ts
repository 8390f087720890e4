import type { DatabaseSync } from 'node:sqlite'
import type { ApprovalRow, RunRow } from '../core/projections.ts'
import { runStream } from '../core/projections.ts'
import type { ReadyRun, RunFilter } from '../ports/ledger.ts'
import type { Leases } from './leases.ts'

/** Questions to the projections. A queued run that somebody has claimed shows as running: a claim writes no record. */
export interface Queries {
  run(tenant: string, run: string): RunRow | undefined
  runs(filter: RunFilter): RunRow[]
  approval(tenant: string, id: string): ApprovalRow | undefined
  approvals(tenant: string, status: string | null, run: string | null, limit: number): ApprovalRow[]
  ready(now: number, limit: number, tenant: string | null): ReadyRun[]
  nextDue(now: number): number | undefined
}

const shown = `CASE WHEN r.status = 'queued' AND s.owner IS NOT NULL THEN 'running' ELSE r.status END`

export function createQueries(db: DatabaseSync, leases: Leases): Queries {
  const from = 'FROM runs r JOIN streams s ON s.id = r.stream'
  const findRun = db.prepare(`SELECT r.row, ${shown} AS status ${from} WHERE r.tenant = ? AND r.run = ?`)
  const findRuns = db.prepare(
    `SELECT r.row, ${shown} AS status ${from} WHERE r.tenant = :tenant
       AND (:status IS NULL OR ${shown} IN (SELECT value FROM json_each(:status)))
       AND (:workflow IS NULL OR r.workflow = :workflow)
       AND (:tag IS NULL OR :tag IN (SELECT value FROM json_each(r.row, '$.tags')))
       AND (:before IS NULL OR (r.started, r.run) < (SELECT b.started, b.run FROM runs b WHERE b.tenant = :tenant AND b.run = :before))
     ORDER BY r.started DESC, r.run DESC LIMIT :limit`,
  )
  const findApproval = db.prepare('SELECT row FROM approvals WHERE tenant = ? AND id = ?')
  const findApprovals = db.prepare(
    `SELECT row FROM approvals WHERE tenant = :tenant AND (:status IS NULL OR status = :status)
       AND (:run IS NULL OR run = :run) ORDER BY requested, id LIMIT :limit`,
  )
  const owners = db.prepare(`SELECT DISTINCT s.owner ${from} WHERE r.due <= ? AND s.owner IS NOT NULL`)
  const findReady = db.prepare(
    `SELECT r.tenant, r.run, r.due, r.priority ${from} WHERE r.due <= :now AND (:tenant IS NULL OR r.tenant = :tenant)
       AND (s.owner IS NULL OR s.owner NOT IN (SELECT value FROM json_each(:alive)))
     ORDER BY r.priority DESC, r.due, r.tenant, r.run LIMIT :limit`,
  )
  const findNext = db.prepare('SELECT min(due) AS due FROM runs WHERE due > ?')

  function toRun(found: unknown): RunRow {
    const { row, status } = found as { row: string; status: RunRow['status'] }
    return { ...(JSON.parse(row) as RunRow), status }
  }
  function toApproval(found: unknown): ApprovalRow {
    return JSON.parse((found as { row: string }).row) as ApprovalRow
  }

  return {
    run(tenant, run) {
      const found = findRun.get(tenant, run)
      return found === undefined ? undefined : toRun(found)
    },
    runs(filter) {
      return findRuns
        .all({
          tenant: filter.tenant,
          status: filter.status === undefined ? null : JSON.stringify(filter.status),
          workflow: filter.workflow ?? null,
          tag: filter.tag ?? null,
          before: filter.before ?? null,
          limit: filter.limit ?? 100,
        })
        .map(toRun)
    },
    approval(tenant, id) {
      const found = findApproval.get(tenant, id)
      return found === undefined ? undefined : toApproval(found)
    },
    approvals(tenant, status, run, limit) {
      return findApprovals.all({ tenant, status, run, limit }).map(toApproval)
    },
    ready(now, limit, tenant) {
      const alive = (owners.all(now) as { owner: string }[])
        .map((row) => row.owner)
        .filter((owner) => leases.seemsAlive(owner))
      const rows = findReady.all({ now, limit, tenant, alive: JSON.stringify(alive) })
      return (rows as unknown as { tenant: string; run: string; due: number; priority: number }[]).map((row) => ({
        ref: { tenant: row.tenant, stream: runStream(row.run) },
        due: row.due,
        priority: row.priority,
      }))
    },
    nextDue(now) {
      return (findNext.get(now) as { due: number | null }).due ?? undefined
    },
  }
}
