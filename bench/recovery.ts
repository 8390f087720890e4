/**
 * A chain whose process kills itself with SIGKILL half-way; then the time from just before the second process starts to
 * the first new step, and, inside a process that is up already and takes over several such runs one after the other, how
 * long 10,000 records take to be read, proved and replayed.
 */
import { join } from 'node:path'
import { convoke, type App } from 'convoke'
import { chainOf } from './flows.ts'
import { report, type Bench, type Order, type Outcome, type Scenes } from './harness.ts'
import { median } from './quantile.ts'
import { resultOf } from './results.ts'

export async function measure(bench: Bench): Promise<void> {
  for (const size of bench.small ? [200] : [1_000, 10_000]) {
    const recovered = await afterCrash(bench, 'recover', size, size / 2)
    report(bench, { workload: 'recovery', size }, ['ms_to_first_new_step', 'ms'], recovered)
  }
  const size = bench.small ? 200 : 10_000
  const replayed = await afterCrash(bench, 'replay', size, size, 'crashOfSeveral')
  report(bench, { workload: 'recovery', size }, ['ms_to_replay', 'ms'], replayed)
}

/** Runs that one process takes over in turn. */
const takenOver = 6

/** `steps` are on disk when the first process ends. */
async function afterCrash(bench: Bench, scene: string, size: number, steps: number, how = 'crash'): Promise<Outcome> {
  return await bench.inFolder(async (dir) => {
    const crash = await bench.scene('recovery', how, steps, dir)
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

  async crashOfSeveral({ dir, size }) {
    let arrived = 0
    const flow = chainOf((_run, i) => {
      if (i < size) return resultOf(i, 1024)
      if (++arrived === takenOver) process.kill(process.pid, 'SIGKILL')
      return new Promise(() => undefined)
    })
    const app = convoke({ store: join(dir, 'store'), workflows: { chain: flow } })
    for (let n = 0; n < takenOver; n++) await app.start('chain', size + 1, { id: `chain-${n}` })
    await new Promise(() => undefined)
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
    let from = 0
    let cpu = process.cpuUsage()
    const begin = (): void => {
      cpu = process.cpuUsage()
      from = performance.now()
    }
    const flow = chainOf((_run, i) => {
      if (i === order.size) {
        times.push(performance.now() - from)
        users.push(process.cpuUsage(cpu).user / 1000)
        // The end of this run counts for the next one, which is taken over right after it.
        begin()
      }
      return resultOf(i, 1024)
    })
    const app = convoke({ store: join(order.dir, 'store'), workflows: { chain: flow }, concurrency: 1 })
    await app.runs()
    begin()
    await app.work()
    await app.idle()
    await app.close()
    const [first = NaN, ...later] = times
    tell({ metric: 'ms_to_replay', value: median(later), unit: 'ms', note: `median of ${list(later)}` })
    tell({ metric: 'user_ms_to_replay', value: median(users.slice(1)), unit: 'ms', note: 'CPU of all threads' })
    tell({ metric: 'ms_to_replay_cold', value: first, unit: 'ms', note: 'the first, by code that has never run' })
  },
}

function list(times: readonly number[]): string {
  return times.map((ms) => ms.toFixed(0)).join(', ')
}
