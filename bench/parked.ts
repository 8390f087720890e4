/**
 * Runs that wait for a signal: what they hold in memory, and how long it takes to wake all of them. The process that
 * started them also keeps what starting cost (the engine's young generation, of 134 MB then); what the waiting itself
 * holds is seen in the live objects, and in a worker that opens a store full of them, beside one that opens an empty store.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { convoke, type App } from 'convoke'
import { go, waitOf } from './flows.ts'
import { eachOf, report, type Bench, type Scenes } from './harness.ts'
import { resultOf } from './results.ts'

/** Started and signalled so many at a time, as the peers are. */
const lanes = 100

export async function measure(bench: Bench): Promise<void> {
  const size = bench.small ? 50 : 10_000
  await bench.inFolder(async (dir) => {
    const outcome = await bench.scene('parked', 'parked', size, dir, { flags: ['--expose-gc'] })
    report(bench, { workload: 'parked', size }, ['ms_to_wake_all', 'ms'], outcome)
  })
  const worker = async (runs: number): Promise<number> =>
    await bench.inFolder(async (dir) => {
      await bench.scene('parked', 'fill', runs, dir)
      const { figures } = await bench.scene('parked', 'hold', runs, dir, { flags: ['--expose-gc'] })
      return figures.find(({ metric }) => metric === 'mb')?.value ?? NaN
    })
  const [full, empty] = [await worker(size), await worker(0)]
  bench.print({
    workload: 'parked',
    system: 'convoke',
    size,
    metric: 'mb_of_a_worker_above_idle',
    value: Number.isNaN(full - empty) ? null : full - empty,
    unit: 'MB',
    note: `${full.toFixed(0)} MB resident with them, ${empty.toFixed(0)} MB without`,
  })
}

export const scenes: Scenes = {
  async parked({ dir, size }, tell) {
    const app = open(dir)
    const park = async (run: string): Promise<void> => {
      const handle = await app.start('wait', null, { id: run })
      await handle.settled()
    }
    const wake = async (run: string): Promise<void> => {
      const handle = await app.run(run)
      await handle.signal(go, { sent: 0 })
      await handle.result()
    }
    await park('warm-up')
    await wake('warm-up')
    const idle = await settled()
    const runs = Array.from({ length: size }, (_, i) => `run-${i}`)
    const from = performance.now()
    await eachOf(runs, lanes, park)
    tell({ metric: 'ms_to_park_all', value: performance.now() - from, unit: 'ms' })
    const parked = await settled()
    const note = 'resident, after collection; what the engine keeps of its young generation counts'
    tell({ metric: 'mb_above_idle', value: parked.resident - idle.resident, unit: 'MB', note })
    tell({ metric: 'heap_mb_above_idle', value: parked.heap - idle.heap, unit: 'MB', note: 'live objects' })
    const before = performance.now()
    await eachOf(runs, lanes, wake)
    tell({ metric: 'ms_to_wake_all', value: performance.now() - before, unit: 'ms' })
    await app.close()
  },

  async fill({ dir, size }) {
    const app = open(dir)
    const runs = Array.from({ length: size }, (_, i) => `run-${i}`)
    await eachOf(runs, lanes, async (run) => await (await app.start('wait', null, { id: run })).settled())
    await app.ledger()
    await app.close()
  },

  async hold({ dir }, tell) {
    const app = open(dir)
    await app.work()
    await app.idle()
    tell({ metric: 'mb', value: (await settled()).resident, unit: 'MB' })
    await app.close()
  },
}

function open(dir: string): App {
  return convoke({ store: join(dir, 'store'), workflows: { wait: waitOf(() => resultOf(0, 1024)) } })
}

/** Memory after the garbage is gone, in MB: resident, and of live objects. */
async function settled(): Promise<{ readonly resident: number; readonly heap: number }> {
  const { gc } = globalThis as { gc?: () => void }
  for (let i = 0; i < 5; i++) {
    gc?.()
    await sleep(100)
  }
  const { rss, heapUsed } = process.memoryUsage()
  return { resident: rss / 1e6, heap: heapUsed / 1e6 }
}
