import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type Ledger } from 'convoke'
import { createChain, type Chain } from 'convoke/testing'
import { startEmbeddedPostgres, startProxy, type EmbeddedPostgres } from '../embedded.ts'
import { openPostgresLedger } from './open.ts'

// The server is lost in the middle of appends, with its data synced as in production. What was acknowledged must be
// there, once, chained; and the same ledgers go on without anybody's help.

let server: EmbeddedPostgres
let url: string

beforeAll(async () => {
  // Recovery need not sync file by file what nobody wrote.
  server = await startEmbeddedPostgres({ settings: { recovery_init_sync_method: 'syncfs' } })
}, 60_000)
afterAll(() => server.close())
beforeEach(async () => {
  url = await server.newDatabase()
})

interface Writer {
  readonly chain: Chain
  acknowledged: number
}

/** Appends one record after the other until told to stop; each also posts a message and counts. */
async function write(ledger: Ledger, writer: Writer, until: () => boolean): Promise<void> {
  const { chain } = writer
  while (!until()) {
    const record = chain.next({ type: 'note', payload: { n: writer.acknowledged } })
    const id = `m${record.seq}`
    const message = { id, type: 'signal', at: 1, actor: { kind: 'person', id: 'ann' }, payload: id } as const
    const key = `${chain.ref.stream} ${record.seq}`
    await ledger.append([{ ref: chain.ref, epoch: 0, records: [record] }], {
      guards: [{ kind: 'counter', tenant: 't', counter: 'all', key, add: 1, max: 1_000_000 }],
      posts: [{ ref: { tenant: 't', stream: `inbox/${chain.ref.stream.slice(7)}` }, message }],
    })
    writer.acknowledged = record.seq
  }
}

async function check(ledger: Ledger, writers: readonly Writer[]): Promise<void> {
  let sum = 0
  for (const { chain, acknowledged } of writers) {
    // Reading proves the chain.
    const records = await ledger.read(chain.ref, { limit: 100_000 })
    expect(records.length).toBe(acknowledged)
    expect(records.at(-1)?.hash).toBe(chain.head.hash)
    const inbox = await ledger.read({ tenant: 't', stream: `inbox/${chain.ref.stream.slice(7)}` }, { limit: 100_000 })
    expect(inbox.map(({ payload }) => payload)).toEqual(records.map(({ seq }) => `m${seq}`))
    sum += acknowledged
  }
  // Each was counted once: exactly so much is left.
  const count = (key: string, max: number): Promise<void> =>
    ledger.append([], { guards: [{ kind: 'counter', tenant: 't', counter: 'all', key, add: 1, max }] })
  await expect(count('one too many', sum)).rejects.toMatchObject({ code: 'COUNTER_EXCEEDED' })
  await count('just so', sum + 1)
}

const losses = [
  ['killed (SIGKILL)', () => server.kill()],
  ['stopped at once (immediate)', () => server.stop('immediate')],
] as const

test.each(losses)(
  'R2: a server that is %s in the middle of appends loses nothing and repeats nothing',
  async (_, lose) => {
    const options = { url, busyMs: 120_000 }
    const ledgers = [await openPostgresLedger(options), await openPostgresLedger(options)] as const
    const writers = Array.from({ length: 8 }, (_, i) => ({
      chain: createChain({ tenant: 't', stream: `memory/m${i}` }),
      acknowledged: 0,
    }))
    const total = (): number => writers.reduce((sum, { acknowledged }) => sum + acknowledged, 0)
    let stop = false
    const all = Promise.all(writers.map((writer, i) => write(ledgers[i % 2 === 0 ? 0 : 1], writer, () => stop)))
    try {
      for (let round = 1; round <= 2; round++) {
        const before = total()
        while (total() < before + 100) await Promise.race([all, sleep(5)])
        await lose()
        await server.restart()
      }
      const before = total()
      while (total() < before + 100) await Promise.race([all, sleep(5)])
    } catch (error) {
      // What failed first is told, not what comes of it.
      all.catch(() => undefined)
      throw error
    } finally {
      stop = true
    }
    await all
    await check(ledgers[0], writers)
    for (const ledger of ledgers) await ledger.close()
  },
  240_000,
)

test('a lost answer: the same append, message, claim and registration made again take effect once', async () => {
  const proxy = await startProxy(server.port)
  const direct = await openPostgresLedger(url)
  const through = new URL(url)
  through.port = String(proxy.port)
  const ledger = await openPostgresLedger({ url: through.href, stallMs: 500 })
  try {
    const chain = createChain({ tenant: 't', stream: 'run/r1' })
    const started = { type: 'run.started', payload: { workflow: 'w', version: '1' } }
    const first = chain.next(started)
    // The answer is swallowed, not the question: it arrives before the cut.
    proxy.delay(100)
    const sent = ledger.append([{ ref: chain.ref, epoch: 0, records: [first] }])
    const posted = ledger.post(
      { tenant: 't', stream: 'inbox/r1' },
      { id: 'm1', type: 'signal', at: 1, actor: { kind: 'person', id: 'ann' }, payload: null },
    )
    for (let tries = 0; (await direct.head(chain.ref)).seq === 0 && tries < 200; tries++) await sleep(10)
    for (let tries = 0; (await direct.head({ tenant: 't', stream: 'inbox/r1' })).seq === 0 && tries < 200; tries++)
      await sleep(10)
    proxy.cut('reset')
    proxy.delay(0)
    proxy.heal()
    await sent
    expect(await posted).toEqual({ seq: 1, duplicate: false })
    expect(await direct.head(chain.ref)).toEqual(chain.head)
    const lease = await ledger.register('w1')
    const claim = await ledger.claim(chain.ref, 'w1')
    expect(claim.seq).toBe(1)
    // The session is lost and comes back: the lease goes on.
    proxy.cut('reset')
    await sleep(200)
    proxy.heal()
    chain.follow(claim)
    await ledger.append([{ ref: chain.ref, epoch: claim.epoch, records: [chain.next({ type: 'step.completed' })] }])
    expect(lease.remaining()).toBeGreaterThan(0)
    expect(await direct.isAlive('w1')).toBe(true)
  } finally {
    await ledger.close()
    await direct.close()
    await proxy.close()
  }
}, 60_000)

test('a server that does not come back is told after busyMs, and what waited may be made again', async () => {
  const ledger = await openPostgresLedger({ url, busyMs: 300 })
  const chain = createChain({ tenant: 't', stream: 'memory/m' })
  const part = { ref: chain.ref, epoch: 0, records: [chain.next({ type: 'note' })] }
  await server.stop('immediate')
  try {
    await expect(ledger.append([part])).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
    await expect(ledger.read(chain.ref)).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' })
  } finally {
    await server.restart()
  }
  await ledger.append([part])
  expect(await ledger.head(chain.ref)).toEqual(chain.head)
  await ledger.close()
}, 60_000)
