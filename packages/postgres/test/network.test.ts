import { setTimeout as sleep } from 'node:timers/promises'
import { startEmbeddedPostgres, startProxy, type EmbeddedPostgres, type Proxy } from '@convoke/postgres/embedded'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { go } from './workers/flows.ts'
import { openScene, type Scene } from './workers/scene.ts'

// The network between worker and database is cut while runs are under way.

const runs = Array.from({ length: 20 }, (_, i) => `r${i}`)
const effects = Object.fromEntries(runs.flatMap((run) => ['a', 'b', 'c'].map((step) => [`${run}-${step}`, 1])))
const steps = runs.flatMap((run) => ['a', 'b', 'c', 'd'].map((step) => `${run}/${step}`))

let server: EmbeddedPostgres
let proxy: Proxy
let scene: Scene
beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false })
}, 60_000)
afterAll(() => server.close())
afterEach(async () => {
  proxy.heal()
  await scene.end()
  await proxy.close()
})

/** The store's URL for the client, and by way of the proxy for workers. */
async function cuttable(): Promise<string> {
  const url = new URL(await server.newDatabase())
  proxy = await startProxy(server.port)
  scene = await openScene(url.href)
  url.port = String(proxy.port)
  return url.href
}

async function begin(ms: number): Promise<void> {
  for (const id of runs) await scene.client.start(scene.flows.parcel, { ms }, { id })
}

async function signalAll(): Promise<void> {
  for (const id of runs) await (await scene.client.run(id)).signal(go, 'go')
}

const some = async (share: number): Promise<boolean> =>
  Object.keys((await scene.audit()).ran).length >= steps.length * share

async function allDone(): Promise<void> {
  await scene.until('every run to end', async () =>
    (await scene.client.runs()).every(({ status }) => status === 'done'),
  )
}

test('R1 R2 R5: a network that is cut, slow and cut again stalls all runs; they go on and nothing is done twice', async () => {
  const throughProxy = await cuttable()
  const worker = await scene.worker({ url: throughProxy })
  proxy.delay(5)
  await begin(50)
  await scene.until('the first steps', () => some(0.1))
  proxy.cut('swallow')
  await sleep(1_000)
  // What had left before the cut may have arrived; then it stands still.
  const during = await scene.audit()
  await sleep(700)
  expect(await scene.audit()).toEqual(during)
  proxy.heal()
  await scene.until('more steps', () => some(0.4))
  proxy.cut('reset')
  await sleep(1_500)
  proxy.delay(20)
  proxy.heal()
  await signalAll()
  await allDone()
  expect(await scene.audit()).toEqual({ effects, ran: Object.fromEntries(steps.map((step) => [step, 1])) })
  expect(worker.troubles.filter(({ run }) => run !== undefined)).toEqual([])
}, 120_000)

test('R4 R7: a worker that is cut off past its lease is replaced; when it is back it is refused and repeats nothing', async () => {
  const throughProxy = await cuttable()
  const cutOff = await scene.worker({ url: throughProxy, leaseMs: 2_000 })
  proxy.delay(10)
  await begin(50)
  await scene.until('the first steps', () => some(0.1))
  proxy.cut('swallow')
  const from = Date.now()
  const heir = await scene.worker({ leaseMs: 2_000 })
  const ready = Date.now()
  const before = (await scene.audit()).ran
  await scene.until('the other worker to go on', async () => {
    const { ran } = await scene.audit()
    return Object.values(ran).reduce((sum, n) => sum + n, 0) > Object.values(before).reduce((sum, n) => sum + n, 0)
  })
  const now = Date.now()
  process.stdout.write(
    `network cut: another worker went on ${now - from} ms later, ${now - ready} ms after its start\n`,
  )
  await signalAll()
  await allDone()
  const ended = await scene.audit()
  proxy.heal()
  await scene.until('the worker that was cut off to be refused', () =>
    Promise.resolve(cutOff.troubles.some(({ code }) => code === 'EPOCH_STALE' || code === 'LEASE_EXPIRED')),
  )
  expect(ended.effects).toEqual(effects)
  // A step that was in flight at the cut ran again in the other worker; no run had more than one.
  for (const run of runs) {
    const its = steps.filter((step) => step.startsWith(`${run}/`)).map((step) => ended.ran[step] ?? 0)
    expect(Math.min(...its)).toBe(1)
    expect(its.reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(5)
  }
  await heir.leave()
  await scene.client.start(scene.flows.hold, { ms: 0 }, { id: 'next' }).then((run) => run.result())
  const after = await scene.audit()
  for (const [step, times] of Object.entries(ended.ran)) expect([step, after.ran[step]]).toEqual([step, times])
  expect(after.effects).toEqual({ ...effects, next: 1 })
}, 120_000)
