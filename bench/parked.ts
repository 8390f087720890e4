/** Runs that wait for a signal: what they hold in memory, and how long it takes to wake all of them. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { convoke } from 'convoke'
import { go, resultOf, waitOf } from './flows.ts'
import { eachOf, report, type Bench, type Scenes } from './harness.ts'

/** Started and signalled so many at a time, as the peers are. */
const lanes = 100

export async function measure(bench: Bench): Promise<void> {
  const size = bench.small ? 50 : 10_000
  await bench.inFolder(async (dir) => {
    const outcome = await bench.scene('parked', 'parked', size, dir, { flags: ['--expose-gc'] })
    report(bench, { workload: 'parked', size }, ['ms_to_wake_all', 'ms'], outcome)
  })
}

export const scenes: Scenes = {
  async parked({ dir, size }, tell) {
    const app = convoke({ store: join(dir, 'store'), workflows: { wait: waitOf(() => resultOf(0, 1024)) } })
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
    const idle = await settledMb()
    const runs = Array.from({ length: size }, (_, i) => `run-${i}`)
    const from = performance.now()
    await eachOf(runs, lanes, park)
    tell({ metric: 'ms_to_park_all', value: performance.now() - from, unit: 'ms' })
    tell({ metric: 'mb_above_idle', value: (await settledMb()) - idle, unit: 'MB', note: 'resident, after collection' })
    const before = performance.now()
    await eachOf(runs, lanes, wake)
    tell({ metric: 'ms_to_wake_all', value: performance.now() - before, unit: 'ms' })
    await app.close()
  },
}

/** Resident memory after the garbage is gone, in MB. */
async function settledMb(): Promise<number> {
  const { gc } = globalThis as { gc?: () => void }
  for (let i = 0; i < 5; i++) {
    gc?.()
    await sleep(100)
  }
  return process.memoryUsage.rss() / 1e6
}
