import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createChain } from 'convoke/testing'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../embedded.ts'
import { checkNewer, migrate, stateOf } from './migrate.ts'
import { migrations } from './migrations.ts'
import { openPostgresLedger, targetOf } from './open.ts'

// What the steps of the schema keep true for workers of the version before, which go on with the statements they know.

let server: EmbeddedPostgres
let client: pg.Client
let url: string

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false })
}, 60_000)
afterAll(() => server.close())
beforeEach(async () => {
  url = await server.newDatabase()
  client = new pg.Client(url)
  await client.connect()
  return () => client.end()
})

const query = async (text: string, values: readonly unknown[] = []): Promise<(string | null)[][]> => {
  const { rows } = await client.query<unknown[]>({ text, values: values as unknown[], rowMode: 'array' })
  // Of several statements at once there are several results, which nobody asks for.
  return ((rows as (string | number | boolean | null)[][] | undefined) ?? []).map((row) =>
    row.map((value) => (value === null ? null : value === true ? 't' : String(value))),
  )
}

/** As `append_1` of any build does when a run begins. */
async function begin(run: string, tags: readonly string[]): Promise<void> {
  const [row] = await query(`INSERT INTO convoke.streams(tenant, name) VALUES ('t', $1) RETURNING id`, [`run/${run}`])
  const set = { tenant: 't', run, workflow: 'w', status: 'queued', priority: 0, startedAt: 1, updatedAt: 1, tags }
  await query('SELECT convoke.apply_1($1, $2, false, $3)', [
    't',
    row?.[0],
    JSON.stringify({ kind: 'run', id: run, set, clear: [] }),
  ])
}

test('runs that older workers begin, before and after the step, are found by their tags', async () => {
  const { where } = targetOf(url)
  await migrate(query, '"convoke"', where, migrations.slice(0, 3))
  await begin('before', ['a', 'b'])
  const ledger = await openPostgresLedger(url)
  await begin('after', ['b'])
  await begin('plain', [])
  const runsOf = async (tag: string): Promise<string[]> =>
    (await ledger.runs({ tenant: 't', tag })).map(({ run }) => run)
  expect([await runsOf('a'), await runsOf('b')]).toEqual([['before'], ['before', 'after']])
  await ledger.close()
})

test('what is archived is closed to older workers as well, and builds that know nothing of it stay out', async () => {
  const ledger = await openPostgresLedger(url)
  const { where } = targetOf(url)
  const older = migrations.slice(0, 5)
  expect(() => checkNewer({ format: 7, oldest: 1, projections: 0 }, where, older)).not.toThrow()
  const chain = createChain({ tenant: 't', stream: 'run/r' })
  const records = ['run.started', 'run.completed'].map((type) =>
    chain.next({ type, payload: { workflow: 'w', version: '1' } }),
  )
  await ledger.append([{ ref: chain.ref, epoch: 0, records }])
  await ledger.archive?.drop('t', [{ stream: 'run/r', ...chain.head }], 1)
  const [stream] = await query(`SELECT id, epoch, seq, encode(hash, 'hex') FROM convoke.streams`)
  const [id, epoch, seq, hash] = stream ?? []
  const next = Number(seq) + 1
  await query(`INSERT INTO convoke.shapes(hash, text) VALUES ('x', '[]')`)
  const one = [
    id,
    epoch,
    next,
    hash,
    next,
    hash,
    [next],
    [1],
    [1],
    [hash],
    [null],
    [null],
    [null],
    ['null'],
    null,
    null,
    null,
  ]
  const appended = query(`SELECT convoke.append_one_1(${one.map((_, i) => `$${i + 1}`).join(',')})`, one)
  await expect(appended).rejects.toMatchObject({ constraint: 'streams_archived' })
  const claimed = query(`UPDATE convoke.streams SET owner = 'w', epoch = epoch + 1 WHERE id = $1`, [id])
  await expect(claimed).rejects.toMatchObject({ constraint: 'streams_archived' })
  const state = await stateOf(query, '"convoke"', where)
  expect(() => checkNewer(state, where, older)).toThrow(expect.objectContaining({ code: 'STORE_NEWER' }))
  expect(() => checkNewer(state, where)).not.toThrow()
  await ledger.close()
})

test('what is added is open to the role of workers as the tables before', async () => {
  const { where } = targetOf(url)
  await migrate(query, '"convoke"', where, migrations.slice(0, 3))
  await query(`CREATE ROLE workers_of_old; GRANT USAGE ON SCHEMA convoke TO workers_of_old;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA convoke TO workers_of_old;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA convoke TO workers_of_old`)
  await migrate(query, '"convoke"', where)
  try {
    await query('SET ROLE workers_of_old')
    await begin('theirs', ['a'])
    expect(await query('SELECT tag FROM convoke.run_tags')).toEqual([['a']])
    await query(`SELECT convoke.put_blobs_1('{t}', '{00}', '{x}', '{00}')`)
    expect(await query('SELECT count(*) FROM convoke.orphans')).toEqual([['0']])
  } finally {
    await query('RESET ROLE; DROP OWNED BY workers_of_old; DROP ROLE workers_of_old')
  }
})

test('numbers of steps go up by one', () => {
  expect(migrations.map(({ number }) => number)).toEqual(migrations.map((_, at) => at + 1))
})
