import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Ledger } from 'convoke'
import { createChain } from 'convoke/testing'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../embedded.ts'
import { createArchive } from './archive.ts'
import { createDatabase, type Database, type Query } from './database.ts'
import { openPostgresLedger, targetOf } from './open.ts'
import { createQueries } from './queries.ts'
import { createReads } from './reads.ts'
import { createShapes } from './shapes.ts'

// Every question that is asked again and again costs what it answers, not what is stored. The store has some thousands
// of runs; each question that a ledger asks is asked again under EXPLAIN ANALYZE, which counts the rows that were
// touched on the way: they stay near the limit of the answer. Nothing here looks at time.

let server: EmbeddedPostgres
let ledger: Ledger
let database: Database
const asked = new Map<string, Query>()
const [runs, limit] = [4_000, 10]

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false, settings: { synchronous_commit: 'off', jit: 'off' } })
  const url = await server.newDatabase()
  ledger = await openPostgresLedger(url)
  await Promise.all(Array.from({ length: runs }, (_, i) => fill(i)))
  const { config, where } = targetOf(url)
  database = createDatabase({ config, where, max: 2, busyMs: 1_000, stallMs: 30_000, prepare: true })
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('VACUUM ANALYZE')
  await client.end()
}, 120_000)
afterAll(async () => {
  await database?.close()
  await ledger?.close()
  await server?.close()
})

/** Of two tenants; most have ended, some wait for a time or a person. */
async function fill(i: number): Promise<void> {
  const ref = { tenant: i % 2 === 0 ? 'even' : 'odd', stream: `run/r${i}` }
  const chain = createChain(ref)
  const payload = { workflow: `w${i % 3}`, version: '1', tags: [`t${i % 5}`, 'all'], priority: i % 4 }
  const records = [chain.next({ type: 'run.started', at: 1_000 + i, payload })]
  if (i % 50 === 0) {
    const request = { id: `a${i}`, kind: 'call', title: 't', action: null, actionHash: 'h' }
    records.push(chain.next({ type: 'approval.requested', at: 1_000 + i, payload: request }))
    records.push(chain.next({ type: 'run.parked', payload: { kind: 'person' } }))
  } else if (i % 40 === 0) records.push(chain.next({ type: 'run.parked', payload: { kind: 'timer', next: 9_000 + i } }))
  else if (i % 3 !== 0) records.push(chain.next({ type: 'run.completed', payload: {} }))
  await ledger.append([{ ref, epoch: 0, records }])
}

interface Node {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Actual Rows': number
  readonly 'Actual Loops': number
  readonly 'Rows Removed by Filter'?: number
  readonly 'Rows Removed by Index Recheck'?: number
  readonly Plans?: readonly Node[]
}

/** Rows of tables that the plan touched, those that it threw away among them. */
function touched(node: Node): number {
  const own =
    node['Relation Name'] === undefined
      ? 0
      : (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)) *
        node['Actual Loops']
  return own + (node.Plans ?? []).reduce((sum, plan) => sum + touched(plan), 0)
}

async function rowsOf(text: string, values: readonly unknown[]): Promise<number> {
  // What a function does inside shows in no plan; the server counts for each transaction.
  if (/\b(?:ready|rows|reads|approval)_1\b/.test(text))
    return await database.use(async (ask) => {
      const counted = async (): Promise<number> => {
        const [row] = await ask(
          `SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables WHERE schemaname = 'convoke'`,
        )
        return Number(row?.[0])
      }
      await ask('BEGIN')
      // It may still have those of transactions before.
      const before = await counted()
      await ask(text, values)
      const after = await counted()
      await ask('COMMIT')
      return after - before
    })
  const [row] = await database.query({ text: `EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values })
  const [{ Plan }] = JSON.parse(row?.[0] as string) as [{ Plan: Node }]
  return touched(Plan)
}

/** The database, which notes what it is asked. */
const noting = (): Database => ({
  ...database,
  query: (query: Query) => {
    asked.set(`${query.text} -- ${JSON.stringify(query.values)}`, query)
    return database.query(query)
  },
})

const statuses = ['queued', 'running', 'parked', 'stopped', 'done'] as const

test('lists of runs, approvals, due timers and reads touch about as many rows as they give', async () => {
  const watched = noting()
  const queries = createQueries(watched, '"convoke"')
  const reads = createReads(watched, '"convoke"', createShapes(watched, '"convoke"'))
  const tenant = 'even'
  const narrow = [{}, { workflow: 'w1' }, { tag: 'all' }, { tag: 'all', before: 'r3000' }, { before: 'r3000' }]
  for (const more of narrow) {
    await queries.runs({ tenant, limit, ...more })
    await queries.runs({ tenant, limit, status: [...statuses], ...more })
    // A tag with a status that few of its runs have walks the tag: the one list that is not flat.
    for (const status of ['parked', 'done'] as const)
      if (!('tag' in more && status === 'parked')) await queries.runs({ tenant, limit, status: [status], ...more })
  }
  await queries.runs({ tenant, limit, tag: 't2' })
  await queries.run({ tenant, stream: 'run/r20' })
  await queries.approval(tenant, 'a100')
  for (const more of [{}, { status: 'pending' }, { run: 'r100' }, { run: 'r100', status: 'pending' }] as const)
    await queries.approvals({ tenant, limit, ...more })
  for (const of of [undefined, tenant])
    await queries.ready({ now: 20_000, limit, ...(of === undefined ? {} : { tenant: of }) })
  await queries.nextDue(10_000)
  await queries.guardOwner(tenant, 'k')
  await reads.read({ tenant, stream: 'run/r20' })
  await reads.read({ tenant, stream: 'run/r20' }, { outline: true })
  await reads.head({ tenant, stream: 'run/r20' })
  await reads.heads(tenant, { after: 'run/r20', limit })
  await reads.dependents(tenant, 'run/r20@1')
  const nothing = { tell: () => undefined, putBlobs: () => Promise.resolve() }
  const shapes = createShapes(watched, '"convoke"')
  const archive = createArchive({ database: watched, schema: '"convoke"', reads, shapes, ...nothing })
  await archive.ended({ tenant, before: 1e9, limit })
  await archive.ended({ tenant, before: 1e9, limit, after: { run: 'r20', updatedAt: 1_000 } })
  await archive.relatives({ tenant, stream: 'run/r20' })
  for await (const _ of archive.export(tenant, ['run/r20']));
  expect(asked.size).toBeGreaterThan(30)
  const wrong: unknown[] = []
  // A limit for each status, or for each priority, and what is looked up for each row.
  for (const { text, values = [] } of asked.values()) {
    const rows = await rowsOf(text, values)
    if (rows > limit * 20) wrong.push({ text, values, rows })
  }
  expect(wrong).toEqual([])
})

test('the test sees a walk over a whole table, also within a function', async () => {
  expect(await rowsOf(`SELECT count(*) FROM convoke.runs WHERE doc->>'version' <> 'ready_1'`, [])).toBe(runs)
  expect(await rowsOf(`SELECT * FROM convoke.runs WHERE doc->>'version' = '2' LIMIT 10`, [])).toBe(runs)
})
