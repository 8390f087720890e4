import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { isConvokeError, type Blob, type Ledger, type LedgerRecord } from 'convoke/adapter'
import { createChain } from 'convoke/testing'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../embedded.ts'
import { openPostgresLedger } from './open.ts'

// Rows by name and many reads at once: what they cost in a store that was empty when their plans were made, and that they
// say what one read alone says. Costs are counted in pages, never in time.

let server: EmbeddedPostgres
let ledger: Ledger
let client: pg.Client
let url: string

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false, settings: { jit: 'off', autovacuum: 'off' } })
}, 60_000)
afterAll(() => server.close())
beforeEach(async () => {
  url = await server.newDatabase()
  ledger = await openPostgresLedger(url)
  client = new pg.Client(url)
  await client.connect()
  return async () => {
    await client.end()
    await ledger.close()
  }
})

const tenant = 't'
const begin = (run: string): ReturnType<typeof createChain> => createChain({ tenant, stream: `run/${run}` })
const started = (run: string, startedAt = 1): Record<string, string | number | readonly string[]> => ({
  ...{ tenant, run, workflow: 'w', version: '1', status: 'queued' },
  ...{ priority: 0, startedAt, updatedAt: 1, tags: [] },
})

/** Pages that a statement touches, the functions that it calls included. */
async function pages(text: string, values: readonly unknown[]): Promise<number> {
  const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(
    `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`,
    values as unknown[],
  )
  const plan = rows[0]?.['QUERY PLAN'][0].Plan
  return (plan?.['Shared Hit Blocks'] ?? NaN) + (plan?.['Shared Read Blocks'] ?? NaN)
}

test('a name costs the same in a store of thousands, also over a connection that knew it small', async () => {
  const parked = { kind: 'run', id: 'run-7', set: { status: 'parked', updatedAt: 2 }, clear: ['due'] }
  const asked = { kind: 'approval', id: 'a-7', run: 'run-7', set: { status: 'approved' } }
  const request = { run: 'run-7', status: 'pending', requestedAt: 1, ref: 'run/run-7@2' }
  const statements: readonly (readonly [string, readonly unknown[]])[] = [
    ['SELECT * FROM convoke.rows_1($1, $2)', [[tenant], ['run-7']]],
    ['SELECT convoke.approval_1($1, $2)', [tenant, 'a-7']],
    ['SELECT convoke.apply_1($1, 1, false, $2)', [tenant, JSON.stringify(parked)]],
    ['SELECT convoke.apply_1($1, 1, true, $2)', [tenant, JSON.stringify({ kind: 'wake', id: 'run-7', at: 5 })]],
    ['SELECT convoke.apply_1($1, 1, false, $2)', [tenant, JSON.stringify(asked)]],
    ['SELECT * FROM convoke.reads_1($1, $2, $3, $4, 20)', [[tenant], ['run/run-7'], [1], [true]]],
  ]
  const change = (i: number, kind: string, set: object): string =>
    JSON.stringify({ kind, id: kind === 'run' ? `run-${i}` : `a-${i}`, run: `run-${i}`, set, clear: [] })
  const fill = async (from: number, to: number): Promise<void> => {
    for (let i = from; i < to; i++) {
      await client.query('SELECT convoke.apply_1($1, $2, false, $3)', [
        tenant,
        i,
        change(i, 'run', started(`run-${i}`)),
      ])
      const pending = { ...request, id: `a-${i}`, run: `run-${i}`, requestedAt: i }
      await client.query('SELECT convoke.apply_1($1, $2, false, $3)', [tenant, i, change(i, 'approval', pending)])
    }
  }
  // The server notes early what it finds in a table that begins to grow, and plans by that until it looks again.
  await fill(0, 3)
  await client.query('ANALYZE')
  for (const [text, values] of statements) await pages(text, values)
  await fill(3, 3_000)
  const cost: Record<string, number> = {}
  for (const [text, values] of statements) cost[`${text} ${JSON.stringify(values)}`] = await pages(text, values)
  // A look through a list of the tenant in another order takes more than a hundred; an update writes to each index.
  expect(
    Object.values(cost).every((count) => count < 60),
    JSON.stringify(cost, null, 1),
  ).toBe(true)
}, 60_000)

test('a change that waited for another one of the same run sees it', async () => {
  const other = new pg.Client(url)
  await other.connect()
  const apply = (on: pg.Client, c: object): Promise<unknown> =>
    on.query('SELECT convoke.apply_1($1, 1, false, $2)', [tenant, JSON.stringify({ id: 'r', ...c })])
  await apply(client, { kind: 'run', set: started('r'), clear: [] })
  await client.query('BEGIN')
  await apply(client, { kind: 'run', set: { status: 'parked', parkedOn: 'signal' }, clear: ['due'] })
  const waking = apply(other, { kind: 'wake', at: 7 })
  const running = apply(other, { kind: 'run', set: { status: 'running' }, clear: ['parkedOn'] })
  await client.query('COMMIT')
  await Promise.all([waking, running])
  await other.end()
  expect(await ledger.run({ tenant, stream: 'run/r' })).toEqual({ ...started('r'), status: 'running', due: 7 })
})

test('many reads at once say what each of them says alone', async () => {
  const lengths = [1, 5, 19, 20, 21, 45, 0, 3]
  const chains = lengths.map((length, i) => {
    const blobs: Blob[] = []
    const chain = begin(`r${i}`)
    const records: LedgerRecord[] = []
    for (let n = 0; n < length; n++) {
      if (n === 0) records.push(chain.next({ type: 'run.started', payload: { workflow: 'w', version: '1' } }))
      else if (n % 3 === 1) records.push(chain.next({ type: 'note', path: 'ask/x', fold: 'ask', payload: { n } }))
      else if (n === 8) records.push(chain.next({ type: 'step.completed', path: 'ask', payload: { fold: true } }))
      else records.push(chain.next({ type: 'note', payload: { text: 'x'.repeat(n === 5 ? 70_000 : n) } }, blobs))
    }
    return { ref: chain.ref, records, blobs }
  })
  for (const { ref, records, blobs } of chains)
    if (records.length > 0) await ledger.append([{ ref, epoch: 0, records }], { blobs })
  const asked = chains.flatMap(({ ref }) =>
    [{}, { outline: true }, { from: 3 }, { from: 3, outline: true }, { limit: 2 }, { from: 2, limit: 30 }].map(
      (options) => ({ ref, options }),
    ),
  )
  const together = await Promise.all(asked.map(({ ref, options }) => ledger.read(ref, options)))
  for (const [at, { ref, options }] of asked.entries())
    expect(together[at], JSON.stringify([ref, options])).toEqual(await ledger.read(ref, options))
  expect(together[0]).toHaveLength(1)
  const rows = await Promise.all(chains.map(({ ref }) => ledger.run(ref)))
  expect(rows.map((row) => row?.run)).toEqual(lengths.map((length, i) => (length === 0 ? undefined : `r${i}`)))
})

test('one stream that cannot be read does not take the others with it', async () => {
  const chains = [begin('a'), begin('b'), begin('c')]
  for (const chain of chains) {
    const records = [chain.next({ type: 'run.started', payload: { workflow: 'w', version: '1' } })]
    records.push(chain.next({ type: 'run.completed', payload: {} }))
    await ledger.append([{ ref: chain.ref, epoch: 0, records }])
  }
  const [, gone] = chains
  if (gone === undefined) throw new Error('no chain')
  await ledger.archive?.drop(tenant, [{ stream: 'run/b', ...gone.head }], 1)
  const found = await Promise.allSettled(chains.map(({ ref }) => ledger.read(ref)))
  expect(found.map((one) => (one.status === 'fulfilled' ? one.value.length : one.reason))).toEqual([
    2,
    expect.objectContaining({ code: 'RUN_ARCHIVED' }),
    2,
  ])
  expect(isConvokeError((found[1] as PromiseRejectedResult).reason, 'RUN_ARCHIVED')).toBe(true)
})
