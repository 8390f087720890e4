import { startEmbeddedPostgres, type EmbeddedPostgres } from '@convoke/postgres/embedded'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { startEmbeddedRestate, type EmbeddedRestate } from '../src/embedded.ts'
import { openWorld, type Worker, type World } from './world.ts'

// Workers that are killed and stopped in the middle of a step. Safety is asserted; times are printed. A process that is
// stopped while it writes keeps SQLite's lock, so that nobody can go on: stopping is for a database of its own.

const isLong = process.env['CONVOKE_TEST_LONG'] === '1'
let postgres: EmbeddedPostgres
let restate: EmbeddedRestate
const worlds: World[] = []
beforeAll(async () => {
  ;[restate, postgres] = await Promise.all([
    startEmbeddedRestate({ fsync: false }),
    startEmbeddedPostgres({ fsync: false }),
  ])
}, 60_000)
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close()
})
afterAll(async () => {
  await Promise.all([restate.close(), postgres.close()])
})

async function withWorkers(count: number, store?: string): Promise<{ world: World; workers: Worker[] }> {
  const world = await openWorld({ engine: restate.url, ...(store === undefined ? {} : { store }) })
  worlds.push(world)
  const workers: Worker[] = []
  for (let i = 0; i < count; i++) workers.push(await world.worker())
  return { world, workers }
}

/** Starts a run that hangs in its second step, and finds who drives it. */
async function midStep(world: World, workers: readonly Worker[], id: string): Promise<Worker> {
  await world.hold(1)
  await (workers[0] as Worker).start(id, { steps: 4 })
  const effect = await world.until('the second step', async () =>
    (await world.effects()).find(({ run, step }) => run === id && step === 1),
  )
  return workers.find(({ pid }) => pid === effect.worker) as Worker
}

async function takenOver(world: World, id: string, from: Worker): Promise<number> {
  const effect = await world.until('another worker', async () =>
    (await world.effects()).find(({ run, step, worker }) => run === id && step === 1 && worker !== from.pid),
  )
  return effect.at
}

const kills = [
  [2, 'SQLite'],
  [3, 'Postgres'],
  [2, 'Postgres'],
  [3, 'SQLite'],
] as const
for (const [count, kind] of isLong ? kills : kills.slice(0, 2))
  test(`a killed worker's run goes on with another of ${count - 1} on ${kind}, and every effect is had once`, async () => {
    const store = kind === 'SQLite' ? undefined : await postgres.newDatabase()
    const { world, workers } = await withWorkers(count, store)
    for (const id of count === 2 ? ['a', 'b'] : ['a']) {
      const alive = workers.filter(({ pid }) => isAlive(pid))
      if (alive.length < 2) workers.push(await world.worker())
      const driver = await midStep(
        world,
        workers.filter(({ pid }) => isAlive(pid)),
        id,
      )
      const killedAt = Date.now()
      driver.kill('SIGKILL')
      console.log(
        `${kind}, killed, of ${count}: taken over after ${(await takenOver(world, id, driver)) - killedAt} ms`,
      )
      await world.release()
      expect(await world.settle(id === 'a' ? ['a'] : ['a', 'b'], 4)).toBe(id === 'a' ? 4 : 8)
    }
  }, 120_000)

for (const count of isLong ? [2, 3] : [3])
  test(`a stopped worker's run goes on with another of ${count - 1}; what it writes later is refused`, async () => {
    const { world, workers } = await withWorkers(count, await postgres.newDatabase())
    const driver = await midStep(world, workers, 'a')
    const stoppedAt = Date.now()
    driver.kill('SIGSTOP')
    console.log(`stopped, of ${count}: taken over after ${(await takenOver(world, 'a', driver)) - stoppedAt} ms`)
    // Answers both: what the zombie gets is for a run that is no longer its own.
    await world.release()
    await world.settle(['a'], 4)
    driver.kill('SIGCONT')
    const refused = await world.until('the refusal', () => driver.troubles.find((text) => text.startsWith('run/a ')))
    expect(refused).toMatch(/POSITION_STALE|EPOCH_STALE|LEASE_EXPIRED/)
    await world.settle(['a'], 4)
    // As a worker anew it is as good as any.
    await world.hold(99)
    await driver.start('b', { steps: 2 })
    await world.until('b', async () => (await world.run('b'))?.status === 'done')
  }, 120_000)

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
