import {
  runIdOf,
  runStream,
  type ApprovalRow,
  type Ledger,
  type ReadyRun,
  type RunFilter,
  type RunRow,
  type RunStatus,
  type StreamRef,
} from 'convoke/adapter'
import type { Database, Row } from './database.ts'
import { createGroups } from './groups.ts'
import { checkTenant } from './prepare.ts'
import { fromJsonb, fromText, textArray, toText } from './text.ts'

// Questions to the projections. Each walks an index in the order of its answer and stops at its limit, so that it costs
// what it gives, not what is stored: one walk for each status, or for each priority, then merged. A queued run that
// somebody has claimed shows as running: a claim writes no record.

export interface Queries {
  run(ref: StreamRef): Promise<RunRow | undefined>
  runs(filter: RunFilter): Promise<RunRow[]>
  approval(tenant: string, id: string): Promise<ApprovalRow | undefined>
  approvals: Ledger['approvals']
  ready: Ledger['ready']
  nextDue(now: number): Promise<number | undefined>
  guardOwner(tenant: string, key: string): Promise<string | undefined>
}

export function createQueries(database: Database, schema: string): Queries {
  // Scalar subqueries: an EXISTS may be answered by reading the whole table once, which the planner takes for cheaper.
  const owned = `(r.status = 'queued' AND (SELECT s.owner FROM ${schema}.streams s WHERE s.id = r.stream) IS NOT NULL)`
  const priorities = `WITH RECURSIVE p(priority) AS (
      (SELECT r.priority FROM ${schema}.runs r WHERE r.due IS NOT NULL ORDER BY r.priority DESC LIMIT 1)
    UNION ALL
      SELECT (SELECT r.priority FROM ${schema}.runs r WHERE r.due IS NOT NULL AND r.priority < p.priority
        ORDER BY r.priority DESC LIMIT 1) FROM p WHERE p.priority IS NOT NULL)`

  function toRun([doc, owned]: readonly (string | null)[]): RunRow {
    const row = fromJsonb(doc as string) as RunRow
    return owned === 't' ? { ...row, status: 'running' } : row
  }

  /** Conditions by what the filter names; values are parameters always. */
  function runsQuery(filter: RunFilter): { text: string; values: unknown[] } {
    const values: unknown[] = [toText(checkTenant(filter.tenant)), filter.limit ?? 100]
    const add = (value: unknown): string => `$${values.push(value)}`
    const tagged = filter.tag !== undefined
    const key = tagged ? 't' : 'r'
    const where = tagged ? [`t.tenant = $1 AND t.tag = ${add(toText(filter.tag))}`] : ['r.tenant = $1']
    if (filter.workflow !== undefined) where.push(`r.workflow = ${add(toText(filter.workflow))}`)
    if (filter.before !== undefined)
      where.push(
        `(${key}.started, ${key}.run) < (SELECT b.started, b.run FROM ${schema}.runs b WHERE b.tenant = $1 AND b.run = ${add(toText(filter.before))})`,
      )
    // Each tag's run is looked up on the way (OFFSET 0 keeps it so): a join may read all of them first.
    const source = tagged
      ? `${schema}.run_tags t CROSS JOIN LATERAL (SELECT * FROM ${schema}.runs d WHERE d.tenant = t.tenant AND d.run = t.run OFFSET 0) r`
      : `${schema}.runs r`
    const order = 'ORDER BY started DESC, run DESC LIMIT $2'
    const one = (more: readonly string[]): string =>
      `SELECT r.doc, ${owned} AS owned, ${key}.started AS started, ${key}.run AS run FROM ${source} WHERE ${[...where, ...more].join(' AND ')} ${order}`
    if (filter.status === undefined) return { text: one([]), values }
    const wanted = new Set<RunStatus>(filter.status)
    // Tags walk in their own order already; which of them have the status is looked up one by one.
    if (tagged)
      return {
        text: one([`CASE WHEN ${owned} THEN 'running' ELSE r.status END = ANY (${add([...wanted])})`]),
        values,
      }
    const walks = [...wanted].map((status) =>
      one([`r.status = ${add(status)}`, ...(status === 'queued' && !wanted.has('running') ? [`NOT ${owned}`] : [])]),
    )
    if (wanted.has('running') && !wanted.has('queued')) walks.push(one([`r.status = 'queued'`, owned]))
    if (walks.length === 0) walks.push(one(['false']))
    return { text: `SELECT * FROM (${walks.map((walk) => `(${walk})`).join(' UNION ALL ')}) AS found ${order}`, values }
  }

  /** Who waits for many runs looks at all of them at once: so many looks, one round trip. */
  const rows = createGroups<StreamRef, Row | undefined>({
    lanes: 2,
    maxItems: 200,
    maxBytes: Infinity,
    keysOf: () => [],
    sizeOf: () => 1,
    async write(refs) {
      const found = await database.query({
        text: `SELECT doc, owned, item FROM ${schema}.rows_1($1, $2)`,
        values: [
          textArray(refs.map(({ tenant }) => toText(tenant))),
          textArray(refs.map(({ stream }) => toText(runIdOf(stream)))),
        ],
        name: `convoke ${schema} rows`,
      })
      const byItem = new Map(found.map((row) => [Number(row[2]), row]))
      return refs.map((_, at) => ({ value: byItem.get(at + 1) }))
    },
  })

  return {
    async run(ref) {
      checkTenant(ref.tenant)
      const row = await rows.add(ref)
      return row === undefined ? undefined : toRun(row)
    },
    async runs(filter) {
      return (await database.query(runsQuery(filter))).map(toRun)
    },
    async approval(tenant, id) {
      const [row] = await database.query({
        text: `SELECT ${schema}.approval_1($1, $2)`,
        values: [toText(checkTenant(tenant)), toText(id)],
        name: `convoke ${schema} approval`,
      })
      const doc = row?.[0] ?? undefined
      return doc === undefined ? undefined : (fromJsonb(doc) as ApprovalRow)
    },
    async approvals(filter) {
      const values: unknown[] = [toText(checkTenant(filter.tenant)), filter.limit ?? 100]
      const where = ['tenant = $1']
      if (filter.status !== undefined) where.push(`status = $${values.push(filter.status)}`)
      if (filter.run !== undefined) where.push(`run = $${values.push(toText(filter.run))}`)
      const rows = await database.query({
        text: `SELECT doc FROM ${schema}.approvals WHERE ${where.join(' AND ')} ORDER BY requested, id LIMIT $2`,
        values,
      })
      return rows.map(([doc]) => fromJsonb(doc as string) as ApprovalRow)
    },
    async ready({ now, limit, tenant }) {
      const rows = await database.query({
        text: `SELECT * FROM ${schema}.ready_1($1, $2, $3)`,
        values: [now, limit, tenant === undefined ? null : toText(tenant)],
        name: `convoke ${schema} ready`,
      })
      return rows.map(([tenant, run, due, priority]): ReadyRun => ({
        ref: { tenant: fromText(tenant as string), stream: runStream(fromText(run as string)) },
        due: Number(due),
        priority: Number(priority),
      }))
    },
    async nextDue(now) {
      const [row] = await database.query({
        text: `${priorities} SELECT min(found.due) FROM p CROSS JOIN LATERAL (SELECT r.due FROM ${schema}.runs r
          WHERE r.due IS NOT NULL AND r.priority = p.priority AND r.due > $1 ORDER BY r.due LIMIT 1) AS found`,
        values: [now],
        name: `convoke ${schema} due`,
      })
      const due = row?.[0] ?? undefined
      return due === undefined ? undefined : Number(due)
    },
    async guardOwner(tenant, key) {
      const [row] = await database.query({
        text: `SELECT owner FROM ${schema}.uniques WHERE tenant = $1 AND key = $2`,
        values: [toText(checkTenant(tenant)), toText(key)],
      })
      return row === undefined ? undefined : fromText(row[0] as string)
    },
  }
}
