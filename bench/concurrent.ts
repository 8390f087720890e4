/**
 * 500 runs of ten steps with results of 1 KB, started at once in one process; then the same again, by code that has run
 * before, as in a process that has been up for a while.
 */
import { join } from 'node:path'
import { convoke } from 'convoke'
import { chainOf } from './flows.ts'
import { median, report, type Bench, type Scenes } from './harness.ts'
import { measureSqliteCommitRate, peakRss } from './limits.ts'
import { resultOf } from './results.ts'

const steps = 10
const rounds = 4

export async function measure(bench: Bench): Promise<void> {
  const size = bench.small ? 20 : 500
  await bench.inFolder(async (dir) => {
    const outcome = await bench.scene('concurrent', 'concurrent', size, dir)
    report(bench, { workload: 'concurrent', size }, ['steps_per_s', 'steps/s'], outcome)
  })
}

export const scenes: Scenes = {
  async concurrent({ dir, size, small }, tell) {
    const budget = small ? { warmupMs: 5, measureMs: 20 } : { warmupMs: 50, measureMs: 300 }
    const workflows = { chain: chainOf((_run, i) => resultOf(i, 1024)) }
    const app = convoke({ store: join(dir, 'store'), workflows, concurrency: size })
    const chain = async (run: string): Promise<unknown> => (await app.start('chain', steps, { id: run })).result()
    await chain('warm-up')
    const rates: number[] = []
    const ratios: number[] = []
    const cpu = process.cpuUsage()
    let before = measureSqliteCommitRate(dir, budget)
    let against = ''
    let busy = 0
    for (let round = 0; round < rounds; round++) {
      const loop = performance.eventLoopUtilization()
      const from = performance.now()
      await Promise.all(Array.from({ length: size }, (_, i) => chain(`run-${round}-${i}`)))
      const ms = performance.now() - from
      busy = performance.eventLoopUtilization(loop).utilization
      const after = measureSqliteCommitRate(dir, budget)
      const commits = (before + after) / 2
      before = after
      rates.push(((size * steps) / ms) * 1000)
      ratios.push(((size * steps) / ms / commits) * 1000)
      against = `node:sqlite FULL commits (${Math.round(commits)}/s)`
    }
    const used = process.cpuUsage(cpu)
    const [first = NaN, ...later] = rates
    const [ratio = NaN, ...ratiosLater] = ratios
    tell({ metric: 'steps_per_s', value: first, unit: 'steps/s', ratio, against })
    const note = `median of rounds 2 to ${rounds}`
    tell({
      metric: 'steps_per_s_warm',
      value: median(later),
      unit: 'steps/s',
      ratio: median(ratiosLater),
      against,
      note,
    })
    tell({ metric: 'peak_mb', value: peakRss(), unit: 'MB' })
    tell({
      metric: 'user_us_per_step',
      value: used.user / (size * steps * rounds),
      unit: 'µs',
      note: 'CPU of all threads',
    })
    tell({ metric: 'main_thread_busy', value: busy * 100, unit: '%', note: 'in the last round' })
    await app.close()
  },
}
