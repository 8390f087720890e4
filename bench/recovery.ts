/**
 * A chain whose process kills itself with SIGKILL half-way; then the time from just before the second process starts to
 * the first new step, and, inside a process that is up already, how long 10,000 records take to be read, proved and
 * replayed.
 */
import { cp } from 'node:fs/promises'
import { join } from 'node:path'
import { convoke, type App } from 'convoke'
import { chainOf, resultOf } from './flows.ts'
import { median, report, type Bench, type Order, type Outcome, type Scenes } from './harness.ts'

export async function measure(bench: Bench): Promise<void> {
  for (const size of bench.small ? [200] : [1_000, 10_000]) {
    const recovered = await afterCrash(bench, 'recover', size, size / 2)
    report(bench, { workload: 'recovery', size }, ['ms_to_first_new_step', 'ms'], recovered)
  }
  const size = bench.small ? 200 : 10_000
  const replayed = await afterCrash(bench, 'replay', size, size)
  report(bench, { workload: 'recovery', size }, ['ms_to_replay', 'ms'], replayed)
}

/** `steps` are on disk when the first process ends. */
async function afterCrash(bench: Bench, scene: string, size: number, steps: number): Promise<Outcome> {
  return await bench.inFolder(async (dir) => {
    const crash = await bench.scene('recovery', 'crash', steps, dir)
    if (crash.killed !== 'SIGKILL')
      return { ...crash, failure: `first half: ${crash.failure ?? 'ended without a kill'}` }
    return await bench.scene('recovery', scene, size, dir)
  })
}

/** Opens the store with a chain of which `done` steps are there; `reached` hears of the first one that is not. */
function open({ dir }: Order, done: number, reached: () => void): { readonly app: App; readonly again: Set<number> } {
  const again = new Set<number>()
  const flow = chainOf((run, i) => {
    if (run !== 'chain') return resultOf(i, 1024)
    if (i < done) again.add(i)
    // The next one adds a record to none of what is measured here.
    else {
      if (i === done) reached()
      return new Promise(() => undefined)
    }
    return resultOf(i, 1024)
  })
  return { app: convoke({ store: join(dir, 'store'), workflows: { chain: flow } }), again }
}

export const scenes: Scenes = {
  async crash({ dir, size }) {
    const flow = chainOf((_run, i) => {
      if (i === size) process.kill(process.pid, 'SIGKILL')
      return resultOf(i, 1024)
    })
    const app = convoke({ store: join(dir, 'store'), workflows: { chain: flow } })
    await (await app.start('chain', size + 1, { id: 'chain' })).result()
  },

  async recover(order, tell) {
    const half = order.size / 2
    const first = Promise.withResolvers<number>()
    const { app, again } = open(order, half, () =>
      first.resolve(Number(process.hrtime.bigint() - BigInt(order.spawnedAt)) / 1e6),
    )
    await app.work()
    const value = await first.promise
    const note = again.size === 0 ? {} : { note: `${again.size} finished steps ran again` }
    tell({ metric: 'ms_to_first_new_step', value, unit: 'ms', ...note })
  },

  async replay(order, tell) {
    const times: number[] = []
    const users: number[] = []
    const rounds = 5
    // Code that has run, as in a process that is up.
    const warm = open({ ...order, dir: join(order.dir, 'warm') }, 0, () => undefined).app
    await (await warm.start('chain', 100, { id: 'warm-up' })).result()
    await warm.close()
    for (let round = 0; round < rounds; round++) {
      // Each round finds the store as the crash left it: an incarnation that wrote nothing makes the next one wait.
      const dir = join(order.dir, `copy-${round}`)
      await cp(join(order.dir, 'store'), join(dir, 'store'), { recursive: true })
      const first = Promise.withResolvers<undefined>()
      const { app } = open({ ...order, dir }, order.size, () => first.resolve(undefined))
      const ledger = await app.ledger()
      await ledger.heads('local')
      const cpu = process.cpuUsage()
      const from = performance.now()
      await app.work()
      await first.promise
      times.push(performance.now() - from)
      users.push(process.cpuUsage(cpu).user / 1000)
      await app.close()
    }
    tell({ metric: 'ms_to_replay', value: median(times), unit: 'ms', note: `median of ${rounds}: ${list(times)}` })
    tell({ metric: 'user_ms_to_replay', value: median(users), unit: 'ms', note: 'CPU of all threads' })
  },
}

function list(times: readonly number[]): string {
  return times.map((ms) => ms.toFixed(0)).join(', ')
}
