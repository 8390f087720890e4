import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from 'convoke'
import { createChain } from 'convoke/testing'
import { emptyHead, type Dispatcher, type Ledger, type StreamRef } from 'convoke/adapter'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../embedded/server.ts'
import { openPostgresLedger } from '../ledger/open.ts'
import { migrateStore } from '../store.ts'
import { postgresDispatcher, type PostgresDispatcherOptions } from './dispatcher.ts'
import { inspectEngine, openEngine } from './engine.ts'
import { inTurns, satisfied } from './shares.ts'

// What the suite of the port does not ask of every dispatcher: the queue, fairness, and databases that are not right.

let server: EmbeddedPostgres
const cleanups: (() => Promise<unknown>)[] = []
beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false })
}, 60_000)
afterAll(() => server.close())
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function open(
  url: string,
  options: Partial<PostgresDispatcherOptions> = {},
): Promise<{ readonly ledger: Ledger; readonly dispatcher: Dispatcher }> {
  const ledger = await openPostgresLedger({ url })
  cleanups.push(() => ledger.close())
  const dispatcher = postgresDispatcher({ ledger, clock: systemClock, config: { connectionString: url }, ...options })
  cleanups.push(() => dispatcher.stop())
  return { ledger, dispatcher }
}

async function start(ledger: Ledger, run: string, tenant = 'acme', priority = 0): Promise<StreamRef> {
  const ref = { tenant, stream: `run/${run}` }
  const payload = { workflow: 'w', version: '1', digest: 'd', root: run, tags: [], ...(priority ? { priority } : {}) }
  const record = createChain(ref, { ...emptyHead, epoch: 0 }).next({ type: 'run.started', payload })
  await ledger.append([{ ref, epoch: 0, records: [record] }])
  return ref
}

/** Ends the run as its owner. */
async function complete(ledger: Ledger, worker: string, ref: StreamRef): Promise<'done' | 'lost'> {
  try {
    const claim = await ledger.claim(ref, worker)
    const [last] = await ledger.read(ref, { from: claim.seq })
    // A stale hint.
    if (last?.type === 'run.completed') return 'lost'
    const record = createChain(ref, claim).next({ type: 'run.completed', payload: {} })
    await ledger.append([{ ref, epoch: claim.epoch, records: [record] }])
    return 'done'
  } catch {
    return 'lost'
  }
}

async function sql(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    const result = (await client.query(text)) as pg.QueryResult<Record<string, unknown>> | pg.QueryResult[]
    return Array.isArray(result) ? [] : result.rows
  } finally {
    await client.end()
  }
}

describe('tenants', () => {
  const run = (tenant: string, n: number): { readonly ref: StreamRef; readonly n: number } => ({
    ref: { tenant, stream: `run/${n}` },
    n,
  })

  test('take turns, who has the fewest places first, each in its own order', () => {
    const runs = [run('a', 1), run('a', 2), run('a', 3), run('b', 4), run('c', 5), run('b', 6)]
    const order = (places: [string, number][]): string =>
      inTurns(runs, new Map(places))
        .map(({ ref, n }) => `${ref.tenant}${n}`)
        .join(' ')
    expect(order([])).toBe('a1 b4 c5 a2 b6 a3')
    expect(
      order([
        ['a', 2],
        ['b', 1],
      ]),
    ).toBe('c5 b4 a1 b6 a2 a3')
    expect(
      satisfied(
        new Map([
          ['a', 6],
          ['b', 3],
        ]),
        12,
      ),
    ).toEqual(['a'])
    expect(satisfied(new Map([['a', 5]]), 12)).toEqual([])
  })

  test('a tenant with one run does not wait for another’s hundreds, whatever their priority', async () => {
    const { ledger, dispatcher } = await open(await server.newDatabase(), { concurrency: 4 })
    for (let i = 0; i < 60; i++) await start(ledger, `many-${i}`, 'big', 9)
    await start(ledger, 'one', 'small')
    await ledger.register('w1')
    const order: string[] = []
    await dispatcher.start(async (ref) => {
      order.push(ref.tenant)
      await sleep(5)
      return complete(ledger, 'w1', ref)
    })
    await dispatcher.idle()
    expect(order.length).toBeGreaterThanOrEqual(61)
    expect(order.indexOf('small')).toBeLessThan(12)
  })
})

/** The queue's own workers lock its tables in an order of their own: Postgres may end whoever drops them (40P01). */
async function dropQueue(url: string): Promise<void> {
  for (let tries = 0; ; tries++)
    try {
      await sql(url, 'DROP SCHEMA convoke_queue CASCADE')
      return
    } catch (error) {
      if ((error as { code?: unknown }).code !== '40P01' || tries > 20) throw error
    }
}

describe('the queue', () => {
  test('spreads runs over workers with places, and is empty when all are done', async () => {
    const url = await server.newDatabase()
    const workers = await Promise.all([open(url, { concurrency: 3 }), open(url, { concurrency: 3 })])
    const done = new Map<string, number>()
    let most = 0
    for (const [i, { ledger, dispatcher }] of workers.entries()) {
      await ledger.register(`w${i}`)
      let now = 0
      await dispatcher.start(async (ref) => {
        most = Math.max(most, ++now)
        await sleep(20)
        const result = await complete(ledger, `w${i}`, ref)
        if (result === 'done') done.set(`w${i}`, (done.get(`w${i}`) ?? 0) + 1)
        now--
        return result
      })
    }
    for (let i = 0; i < 40; i++) await start(workers[0].ledger, `r${i}`)
    await Promise.all(workers.map(({ dispatcher }) => dispatcher.idle()))
    expect([...done.values()].reduce((sum, n) => sum + n, 0)).toBe(40)
    expect([done.size, most]).toEqual([2, 3])
    await Promise.all(workers.map(({ dispatcher }) => dispatcher.stop()))
    const rows = await sql(url, "SELECT count(*)::int AS jobs FROM convoke_queue.job WHERE state = 'created'")
    expect(rows).toEqual([{ jobs: 0 }])
  })

  test('may vanish: runs go on without it, and whoever is told is told', async () => {
    const url = await server.newDatabase()
    const troubles: Error[] = []
    const { ledger, dispatcher } = await open(url, { sweepMs: 100, onTrouble: (error) => troubles.push(error) })
    await ledger.register('w1')
    await dispatcher.start((ref) => complete(ledger, 'w1', ref))
    await dropQueue(url)
    for (let i = 0; i < 5; i++) await start(ledger, `r${i}`)
    await dispatcher.idle()
    expect(await ledger.ready({ now: Date.now() + 1_000, limit: 10 })).toEqual([])
    expect(troubles.length).toBeGreaterThan(0)
  })

  test('holds hints that may be wrong: no run, and one that has ended', async () => {
    const url = await server.newDatabase()
    const { ledger, dispatcher } = await open(url, { sweepMs: 100 })
    await ledger.register('w1')
    const ended = await start(ledger, 'ended')
    await complete(ledger, 'w1', ended)
    const tried: string[] = []
    await dispatcher.start((ref) => {
      tried.push(ref.stream)
      return complete(ledger, 'w1', ref)
    })
    const hint = (key: string): string =>
      `INSERT INTO convoke_queue.job(name, singleton_key, policy, data)
        VALUES ('runs', '${key}', 'short', '{"tenant":"acme","stream":"run/${key}"}')`
    await sql(url, `${hint('nobody')}; ${hint('ended')}; SELECT pg_notify('convoke_queue_runs', '')`)
    for (let i = 0; i < 500 && tried.length < 2; i++) await sleep(10)
    await start(ledger, 'good')
    await dispatcher.idle()
    expect(tried.toSorted()).toEqual(['run/ended', 'run/good', 'run/nobody'])
    expect((await ledger.head(ended)).seq).toBe(2)
  })
})

describe('a database that is not right', () => {
  const engine = (address: string, ledger: Ledger): Promise<Dispatcher> =>
    openEngine(address, { ledger, clock: systemClock })
  const drive = (): Promise<'done'> => Promise.resolve('done')

  test('is said so when the dispatcher starts: ENGINE_UNREACHABLE', async () => {
    const url = await server.newDatabase()
    const { ledger } = await open(url)
    const wrong = [
      url.replace(/postgres:\w+@/, 'postgres:wrong@'),
      url.replace(/:\d+\//, ':9/'),
      url.replace(/\/convoke_\d+$/, '/nowhere'),
    ]
    for (const address of wrong) {
      const dispatcher = await engine(address, ledger)
      await expect(dispatcher.start(drive)).rejects.toMatchObject({ code: 'ENGINE_UNREACHABLE' })
      await dispatcher.stop()
      expect(await inspectEngine(address)).toMatchObject([{ name: 'queue', state: 'bad', code: 'ENGINE_UNREACHABLE' }])
    }
    await expect((async () => engine('mysql://x', ledger))()).rejects.toMatchObject({ code: 'STORE_UNUSABLE' })
  })

  test('a role that may change rows only drives, once another has made the tables', async () => {
    const url = await server.newDatabase()
    const { ledger } = await open(url)
    const mine = new URL(url)
    mine.username = 'worker_only'
    mine.password = 'pass'
    await sql(url, "CREATE ROLE worker_only LOGIN PASSWORD 'pass'")
    cleanups.push(() => sql(url, 'DROP OWNED BY worker_only; DROP ROLE worker_only'))
    const early = await engine(mine.href, ledger)
    await expect(early.start(drive)).rejects.toMatchObject({ code: 'ENGINE_UNREACHABLE' })
    await early.stop()
    expect(await inspectEngine(url)).toMatchObject([
      { state: 'ok', says: expect.stringContaining('not there yet') as unknown },
    ])
    await migrateStore(url, {})
    expect(await inspectEngine(url)).toMatchObject([
      { state: 'ok', says: expect.stringContaining('0 runs wait') as unknown },
    ])
    for (const schema of ['convoke', 'convoke_queue'])
      await sql(
        url,
        `GRANT USAGE ON SCHEMA ${schema} TO worker_only;
          GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO worker_only;
          GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${schema} TO worker_only;
          GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ${schema} TO worker_only`,
      )
    const dispatcher = await engine(mine.href, ledger)
    cleanups.push(() => dispatcher.stop())
    await ledger.register('w1')
    await dispatcher.start((ref) => complete(ledger, 'w1', ref))
    for (let i = 0; i < 5; i++) await start(ledger, `r${i}`)
    await dispatcher.idle()
    expect(await ledger.ready({ now: Date.now() + 1_000, limit: 10 })).toEqual([])
  })
})
