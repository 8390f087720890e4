import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startProxy } from '@convoke/postgres/embedded'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { startEmbeddedRestate, type EmbeddedRestate } from '../src/embedded.ts'
import { freePort } from './ports.ts'
import { openWorld, type World } from './world.ts'

// The engine is killed, cut off and absent. Runs stall or go on without it; nothing repeats. Times are printed.

let restate: EmbeddedRestate
const closing: (() => Promise<unknown>)[] = []
beforeAll(async () => {
  restate = await startEmbeddedRestate({ fsync: false })
}, 60_000)
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})
afterAll(async () => {
  await restate.close()
})

async function open(engine: string): Promise<World> {
  const world = await openWorld({ engine })
  closing.push(() => world.close())
  return world
}
const effectsOf = async (world: World, id: string): Promise<number> =>
  (await world.effects()).filter(({ run }) => run === id).length

describe('the engine is killed', () => {
  test('in the middle of runs: they go on without it, and with it once it is back', async () => {
    const world = await open(restate.url)
    const [first] = [await world.worker(), await world.worker()]
    await world.hold(2)
    await first.start('a', { steps: 5, sleepMs: 50 })
    await world.until('step 2', async () => (await effectsOf(world, 'a')) === 3)
    await restate.kill()
    closing.push(() => restate.start())
    const killedAt = Date.now()
    await world.release()
    await world.settle(['a'], 5)
    console.log(`run in flight done ${Date.now() - killedAt} ms after the engine was killed`)
    const startedAt = Date.now()
    await first.start('b', { steps: 2 })
    await world.until('b', async () => (await world.run('b'))?.status === 'done')
    console.log(`run begun and done without the engine in ${Date.now() - startedAt} ms`)
    await restate.start()
    const backAt = Date.now()
    await first.start('c', { steps: 2, sleepMs: 30 })
    await world.until('c', async () => (await world.run('c'))?.status === 'done')
    console.log(`run with the engine back in ${Date.now() - backAt} ms`)
    expect((await world.effects()).filter(({ repeated }) => repeated)).toEqual([])
  }, 120_000)

  test('together with the worker that drives: another takes over before the engine is back', async () => {
    const world = await open(restate.url)
    const workers = [await world.worker(), await world.worker()]
    await world.hold(1)
    await workers[0]?.start('a', { steps: 4 })
    const { worker } = await world.until('step 1', async () => (await world.effects()).find(({ step }) => step === 1))
    await restate.kill()
    closing.push(() => restate.start())
    const killedAt = Date.now()
    workers.find(({ pid }) => pid === worker)?.kill('SIGKILL')
    const other = await world.until('another', async () => (await world.effects()).find((its) => its.worker !== worker))
    console.log(`engine and worker killed: taken over after ${other.at - killedAt} ms`)
    await world.release()
    expect(await world.settle(['a'], 4)).toBe(4)
  }, 120_000)
})

describe('the network is cut', () => {
  for (const how of ['swallow', 'reset'] as const)
    test(`between workers and engine, both ways (${how}): runs go on, nothing repeats`, async () => {
      const port = await freePort()
      const [ingress, admin] = [Number(new URL(restate.ingress).port), Number(new URL(restate.admin).port)]
      const out = await startProxy(ingress)
      const back = await startProxy(port)
      closing.push(
        () => out.close(),
        () => back.close(),
      )
      const engine = `restate://127.0.0.1:${out.port}?admin=127.0.0.1:${admin}&advertise=http://127.0.0.1:${back.port}`
      const world = await open(engine)
      const workers = [await world.worker({ port }), await world.worker({ port })]
      out.delay(20)
      back.delay(20)
      await workers[0]?.start('a', { steps: 6, waitAt: 3 })
      await world.until('three steps', async () => (await effectsOf(world, 'a')) === 3)
      await world.until('parked', async () => (await world.run('a'))?.status === 'parked')
      out.cut(how)
      back.cut(how)
      const cutAt = Date.now()
      await workers[1]?.signal('a')
      await workers[1]?.start('b', { steps: 6 })
      await world.settle(['a', 'b'], 6)
      console.log(`cut (${how}): a signal and a new run were dealt with after ${Date.now() - cutAt} ms`)
      out.heal()
      back.heal()
      await workers[0]?.start('c', { steps: 6 })
      await world.settle(['a', 'b', 'c'], 6)
      expect((await world.effects()).filter(({ repeated }) => repeated)).toEqual([])
    }, 120_000)
})

describe('the engine does not answer at the start', () => {
  const code = 'ENGINE_UNREACHABLE'

  test('ENGINE_UNREACHABLE: nobody listens', async () => {
    const world = await open(`restate://127.0.0.1:${await freePort()}?admin=127.0.0.1:${await freePort()}`)
    await expect(world.worker()).rejects.toMatchObject({ code })
  }, 60_000)

  test('ENGINE_UNREACHABLE: somebody listens and says nothing', async () => {
    const silent = await startProxy(await freePort())
    silent.cut('swallow')
    closing.push(() => silent.close())
    const world = await open(`restate://127.0.0.1:${silent.port}?admin=127.0.0.1:${silent.port}`)
    await expect(world.worker()).rejects.toMatchObject({ code })
  }, 60_000)

  test('ENGINE_UNREACHABLE: something else listens, or is where the workers should be', async () => {
    const strange = createServer((_, response) => response.end('hello'))
    await new Promise<void>((resolve) => void strange.listen(0, '127.0.0.1', resolve))
    closing.push(() => new Promise((resolve) => strange.close(resolve)))
    const { port } = strange.address() as AddressInfo
    const world = await open(`restate://127.0.0.1:${port}?admin=127.0.0.1:${port}`)
    await expect(world.worker()).rejects.toMatchObject({ code })
    const other = await open(restate.url)
    await expect(other.worker({ port })).rejects.toMatchObject({ code })
  }, 60_000)
})

describe('two versions of an app on one engine', () => {
  test('R8: runs stay with the version that they are pinned to while it is there, and newer code adopts them after', async () => {
    const world = await open(restate.url)
    const one = await world.worker({ version: '1' })
    await one.start('old', { steps: 2, waitAt: 1 })
    await one.start('later', { steps: 2, waitAt: 1 })
    const isParked = async (id: string): Promise<boolean> => (await world.run(id))?.status === 'parked'
    await world.until('parked', async () => (await isParked('old')) && (await isParked('later')))
    const two = await world.worker({ version: '2' })
    await two.start('new', { steps: 2 })
    await two.signal('old')
    await world.until(
      'old and new',
      async () => (await world.run('old'))?.status === 'done' && (await world.run('new'))?.status === 'done',
    )
    const by = async (id: string): Promise<Set<number>> =>
      new Set((await world.effects()).filter(({ run }) => run === id).map(({ worker }) => worker))
    expect(await by('old')).toEqual(new Set([one.pid]))
    expect(await by('new')).toEqual(new Set([two.pid]))
    await one.stop()
    await two.signal('later')
    await world.settle(['old', 'new', 'later'], 2)
    expect(await by('later')).toEqual(new Set([one.pid, two.pid]))
    expect([...one.troubles, ...two.troubles]).toEqual([])
  }, 120_000)
})
