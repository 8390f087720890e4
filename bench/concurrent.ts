/**
 * 500 runs of ten steps with results of 1 KB, started at once in one process; then the same again and again, by code that
 * has run before, as in a process that has been up for a while.
 */
import { join } from 'node:path'
import { convoke } from 'convoke'
import { chainOf } from './flows.ts'
import { report, type Bench, type Scenes } from './harness.ts'
import { measureSqliteCommitRate, peakRss } from './limits.ts'
import { resultOf } from './results.ts'
import { ratesOf, rounds } from './rounds.ts'

const steps = 10

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
    const times: number[] = []
    const before = measureSqliteCommitRate(dir, budget)
    const cpu = process.cpuUsage()
    let busy = 0
    for (let round = 0; round < rounds; round++) {
      const loop = performance.eventLoopUtilization()
      const from = performance.now()
      await Promise.all(Array.from({ length: size }, (_, i) => chain(`run-${round}-${i}`)))
      times.push(performance.now() - from)
      busy = performance.eventLoopUtilization(loop).utilization
    }
    const used = process.cpuUsage(cpu)
    const commits = (before + measureSqliteCommitRate(dir, budget)) / 2
    const against = `node:sqlite FULL commits (${Math.round(commits)}/s)`
    for (const { metric, note, value } of ratesOf(times, size * steps))
      tell({ metric, value, unit: 'steps/s', ratio: value / commits, against, ...(note === undefined ? {} : { note }) })
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
