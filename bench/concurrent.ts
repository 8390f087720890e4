/** 500 runs of ten steps with results of 1 KB, started at once in one process. */
import { join } from 'node:path'
import { convoke } from 'convoke'
import { chainOf, resultOf } from './flows.ts'
import { report, type Bench, type Scenes } from './harness.ts'
import { measureSqliteCommitRate, peakRss } from './limits.ts'

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
    const before = measureSqliteCommitRate(dir, budget)
    const cpu = process.cpuUsage()
    const loop = performance.eventLoopUtilization()
    const from = performance.now()
    await Promise.all(Array.from({ length: size }, (_, i) => chain(`run-${i}`)))
    const ms = performance.now() - from
    const busy = performance.eventLoopUtilization(loop).utilization
    const used = process.cpuUsage(cpu)
    const commits = (before + measureSqliteCommitRate(dir, budget)) / 2
    const value = ((size * steps) / ms) * 1000
    const against = `node:sqlite FULL commits (${Math.round(commits)}/s)`
    tell({ metric: 'steps_per_s', value, unit: 'steps/s', ratio: value / commits, against })
    tell({ metric: 'peak_mb', value: peakRss(), unit: 'MB' })
    tell({ metric: 'user_us_per_step', value: used.user / (size * steps), unit: 'µs', note: 'CPU of all threads' })
    tell({ metric: 'main_thread_busy', value: busy * 100, unit: '%' })
    await app.close()
  },
}
