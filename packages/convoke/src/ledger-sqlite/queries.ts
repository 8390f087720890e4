import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { ApprovalRow, RunRow, RunStatus } from '../core/projections.ts'
import { runStream } from '../core/projections.ts'
import type { ReadyRun, RunFilter } from '../ports/ledger.ts'
import type { Leases } from './leases.ts'

/**
 * Questions to the projections. Each walks an index in the order of its answer and stops at its limit, so that it costs
 * what it gives, not what is stored: one walk for each status, or for each priority, then merged. A queued run that
 * somebody has claimed shows as running: a claim writes no record.
 */
export interface Queries {
  run(tenant: string, run: string): RunRow | undefined
  runs(filter: RunFilter): RunRow[]
  approval(tenant: string, id: string): ApprovalRow | undefined
  approvals(tenant: string, status: string | null, run: string | null, limit: number): ApprovalRow[]
  ready(now: number, limit: number, tenant: string | null): ReadyRun[]
  nextDue(now: number): number | undefined
}

const shown = `CASE WHEN r.status = 'queued' AND s.owner IS NOT NULL THEN 'running' ELSE r.status END`

/** The highest priority that something due has, then each next lower one. `of` narrows it to a tenant. */
const priorities = (of: string): string => `WITH RECURSIVE p(priority) AS (
    SELECT * FROM (SELECT r.priority FROM runs r WHERE r.due IS NOT NULL ${of} ORDER BY r.priority DESC LIMIT 1)
  UNION ALL
    SELECT (SELECT r.priority FROM runs r WHERE r.due IS NOT NULL ${of} AND r.priority < p.priority
      ORDER BY r.priority DESC LIMIT 1) FROM p WHERE p.priority IS NOT NULL)`

export function createQueries(db: DatabaseSync, leases: Pick<Leases, 'seemsAlive'>): Queries {
  const from = 'FROM runs r JOIN streams s ON s.id = r.stream'
  const findRun = db.prepare(`SELECT r.row, ${shown} AS status ${from} WHERE r.tenant = ? AND r.run = ?`)
  const findApproval = db.prepare('SELECT row FROM approvals WHERE tenant = ? AND id = ?')
  const findWorkers = db.prepare('SELECT id FROM workers')
  const findPriorities = [
    db.prepare(`${priorities('')} SELECT priority FROM p WHERE priority IS NOT NULL`),
    db.prepare(`${priorities('AND r.tenant = ?1')} SELECT priority FROM p WHERE priority IS NOT NULL`),
  ] as const
  const readyOf = (of: string): StatementSync =>
    db.prepare(
      `SELECT r.tenant, r.run, r.due, r.priority ${from}
       WHERE r.due IS NOT NULL AND r.priority = :priority AND r.due <= :now ${of}
         AND (s.owner IS NULL OR s.owner NOT IN (SELECT value FROM json_each(:alive)))
       ORDER BY r.due, r.tenant, r.run LIMIT :limit`,
    )
  const findReady = [readyOf(''), readyOf('AND r.tenant = :tenant')] as const
  const findNext = db.prepare('SELECT min(due) AS due FROM runs WHERE due > ?')
  const prepared = new Map<string, StatementSync>()

  function prepare(text: string): StatementSync {
    const known = prepared.get(text)
    if (known !== undefined) return known
    const fresh = db.prepare(text)
    prepared.set(text, fresh)
    return fresh
  }

  /** Conditions by what the filter names; values are parameters always. */
  function runsText(filter: RunFilter): string {
    const tagged = filter.tag !== undefined
    const key = tagged ? 't.started, t.run' : 'r.started, r.run'
    const where = [tagged ? 't.tenant = :tenant AND t.tag = :tag' : 'r.tenant = :tenant']
    if (filter.workflow !== undefined) where.push('r.workflow = :workflow')
    if (filter.before !== undefined)
      where.push(`(${key}) < (SELECT b.started, b.run FROM runs b WHERE b.tenant = :tenant AND b.run = :before)`)
    const source = tagged
      ? 'FROM run_tags t CROSS JOIN runs r ON r.tenant = t.tenant AND r.run = t.run CROSS JOIN streams s ON s.id = r.stream'
      : from
    const order = `ORDER BY ${key.replaceAll(',', ' DESC,')} DESC LIMIT :limit`
    const walk = (...more: readonly string[]): string =>
      `SELECT r.row, ${shown} AS status, r.started AS started, r.run AS run ${source} WHERE ${[...where, ...more].join(' AND ')} ${order}`
    if (filter.status === undefined) return walk()
    const wanted = new Set<RunStatus>(filter.status)
    const list = [...wanted].filter((status) => /^[a-z]+$/.test(status))
    if (list.length === 0) return walk('false')
    // Tags walk in their own order already; which of them have the status is looked up one by one.
    if (tagged) return walk(`${shown} IN (${list.map((status) => `'${status}'`).join(', ')})`)
    const walks = list.map((status) =>
      walk(`r.status = '${status}'`, ...(status === 'queued' && !wanted.has('running') ? ['s.owner IS NULL'] : [])),
    )
    if (wanted.has('running') && !wanted.has('queued')) walks.push(walk(`r.status = 'queued'`, 's.owner IS NOT NULL'))
    if (walks.length === 1) return walks[0] as string
    return `SELECT * FROM (${walks.map((one) => `SELECT * FROM (${one})`).join(' UNION ALL ')})
      ORDER BY started DESC, run DESC LIMIT :limit`
  }

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
      const { tenant, tag, workflow, before, limit = 100 } = filter
      return prepare(runsText(filter))
        .all({
          tenant,
          limit,
          ...(tag === undefined ? {} : { tag }),
          ...(workflow === undefined ? {} : { workflow }),
          ...(before === undefined ? {} : { before }),
        })
        .map(toRun)
    },
    approval(tenant, id) {
      const found = findApproval.get(tenant, id)
      return found === undefined ? undefined : toApproval(found)
    },
    approvals(tenant, status, run, limit) {
      const where = [
        'tenant = :tenant',
        ...(status === null ? [] : ['status = :status']),
        ...(run === null ? [] : ['run = :run']),
      ]
      return prepare(`SELECT row FROM approvals WHERE ${where.join(' AND ')} ORDER BY requested, id LIMIT :limit`)
        .all({ tenant, limit, ...(status === null ? {} : { status }), ...(run === null ? {} : { run }) })
        .map(toApproval)
    },
    ready(now, limit, tenant) {
      const alive = JSON.stringify(
        (findWorkers.all() as { id: string }[]).map(({ id }) => id).filter((id) => leases.seemsAlive(id)),
      )
      const which = tenant === null ? 0 : 1
      const levels = findPriorities[which].all(...(tenant === null ? [] : [tenant])) as { priority: number }[]
      const found: ReadyRun[] = []
      for (const { priority } of levels) {
        if (found.length >= limit) break
        const rows = findReady[which].all({
          now,
          priority,
          alive,
          limit: limit - found.length,
          ...(tenant === null ? {} : { tenant }),
        }) as unknown as { tenant: string; run: string; due: number; priority: number }[]
        for (const row of rows)
          found.push({
            ref: { tenant: row.tenant, stream: runStream(row.run) },
            due: row.due,
            priority: row.priority,
          })
      }
      return found
    },
    nextDue(now) {
      return (findNext.get(now) as { due: number | null }).due ?? undefined
    },
  }
}
