/**
 * One run of steps in sequence with results of 1 KB: what a durable step costs, and whether it costs more as the run
 * grows. The disk's own rates are measured inside the run, between slices of steps: on a shared machine they may change
 * tenfold within seconds, and a slice is compared with what was measured right before and after it.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { convoke } from 'convoke'
import { chainOf, resultOf } from './flows.ts'
import { countSyncs, hasStrace, median, report, type Bench, type Scenes } from './harness.ts'
import { measureAppendRate, measureSqliteCommitRate, peakRss } from './limits.ts'

export async function measure(bench: Bench): Promise<void> {
  const synced = await syncCheck(bench)
  for (const size of bench.small ? [200] : [1_000, 10_000])
    await bench.inFolder(async (dir) => {
      const outcome = await bench.scene('chain', 'chain', size, dir)
      const common = { workload: 'chain', size, ...(synced === undefined ? {} : { synced }) } as const
      report(bench, common, ['steps_per_s', 'steps/s'], outcome)
    })
}

interface Limits {
  readonly fsync: number
  readonly commits: number
}

export const scenes: Scenes = {
  async chain({ dir, size, small }, tell) {
    const budget = small ? { warmupMs: 5, measureMs: 20 } : { warmupMs: 10, measureMs: 50 }
    const limits: Limits[] = []
    let usedByLimits = 0
    const measured = (): Limits => {
      const before = process.cpuUsage()
      const found = { fsync: measureAppendRate(dir, budget), commits: measureSqliteCommitRate(dir, budget) }
      usedByLimits += process.cpuUsage(before).user
      return found
    }
    for (let i = 0; i <= size; i++) resultOf(i, 1024)
    const slice = Math.min(100, size / 8)
    const slices = size / slice
    // When step i began, and when it went on: between the two the limits are measured.
    const began: number[] = []
    const went: number[] = []
    const app = convoke({
      store: join(dir, 'store'),
      workflows: {
        chain: chainOf((run, i) => {
          if (run !== 'chain') return resultOf(i, 1024)
          began[i] = performance.now()
          if (i % slice === 0 && i < size) limits.push(measured())
          went[i] = performance.now()
          return resultOf(i, 1024)
        }),
      },
    })
    const chain = async (run: string, steps: number): Promise<unknown> =>
      (await app.start('chain', steps, { id: run })).result()
    await chain('warm-up', 100)
    usedByLimits = 0
    const cpu = process.cpuUsage()
    // One step more, which begins when the last that counts is on disk: the end of the run is not a step.
    await chain('chain', size + 1)
    const used = process.cpuUsage(cpu).user - usedByLimits
    limits.push(measured())

    const time = (from: number, to: number): number => (began[to] ?? NaN) - (went[from] ?? NaN)
    const rates: { rate: number; ofFsync: number; ofCommits: number }[] = []
    let total = 0
    for (let n = 0; n < slices; n++) {
      const ms = time(n * slice, (n + 1) * slice)
      total += ms
      const rate = (slice / ms) * 1000
      const [before, after] = [limits[n] as Limits, limits[n + 1] as Limits]
      rates.push({
        rate,
        ofFsync: (2 * rate) / (before.fsync + after.fsync),
        ofCommits: (2 * rate) / (before.commits + after.commits),
      })
    }
    const value = (size / total) * 1000
    const note = 'ratio: median of slices, each against the rate measured before and after it'
    const fsync = median(limits.map((limit) => limit.fsync))
    const commits = median(limits.map((limit) => limit.commits))
    tell({
      metric: 'steps_per_s',
      value,
      unit: 'steps/s',
      ratio: median(rates.map((r) => r.ofFsync)),
      against: `fdatasync of 1 KB appends (${Math.round(fsync)}/s)`,
      note,
    })
    tell({
      metric: 'steps_per_s_of_commits',
      value,
      unit: 'steps/s',
      ratio: median(rates.map((r) => r.ofCommits)),
      against: `node:sqlite FULL commits (${Math.round(commits)}/s)`,
      note,
    })
    // The limits are also measured inside; no slice boundary lies within the first or the last hundred but at its edge.
    const span = Math.min(100, slice)
    const first = time(0, span)
    const last = time(size - slice, size) - ((began[size - span] ?? NaN) - (went[size - slice] ?? NaN))
    tell({ metric: 'last100_over_first100', value: last / first, unit: 'ratio' })
    const steps = (from: number): number =>
      median(Array.from({ length: span - 1 }, (_, n) => (began[from + n + 1] ?? NaN) - (went[from + n] ?? NaN)))
    tell({
      metric: 'last100_over_first100_median',
      value: steps(size - span) / steps(0),
      unit: 'ratio',
      note: 'of the median step of each hundred: a stall of the disk does not count',
    })
    tell({ metric: 'user_us_per_step', value: used / size, unit: 'µs', note: 'CPU of all threads' })
    tell({ metric: 'peak_mb', value: peakRss(), unit: 'MB' })
    await app.close()
  },

  async syncs({ dir, size }) {
    const app = convoke({ store: join(dir, 'store'), workflows: { chain: chainOf((_run, i) => resultOf(i, 1024)) } })
    await (await app.start('chain', size, { id: 'chain' })).result()
    await app.close()
  },
}

/** Counts the syncs of a chain of 20 and of one of 120 steps: the difference is what the steps alone cost. */
async function syncCheck(bench: Bench): Promise<boolean | undefined> {
  const common = {
    workload: 'chain',
    system: 'convoke',
    metric: 'syncs_per_step',
    unit: 'syncs/step',
    size: 100,
  } as const
  if (!hasStrace()) {
    bench.print({ ...common, value: null, note: 'unknown (no strace)' })
    return undefined
  }
  const counts: number[] = []
  for (const size of [20, 120])
    await bench.inFolder(async (dir) => {
      mkdirSync(join(dir, 'store'), { recursive: true })
      const file = join(dir, 'strace.txt')
      const under = ['strace', '-f', '-c', '-e', 'trace=fsync,fdatasync,msync', '-o', file]
      const { failure } = await bench.scene('chain', 'syncs', size, dir, { under })
      if (failure === undefined) counts.push(countSyncs(file))
    })
  const [few, many] = counts
  const value = few === undefined || many === undefined ? null : (many - few) / 100
  // Nine in ten: the end of the run may share its commit with the last step.
  const synced = value === null ? undefined : value >= 0.9
  const note = value === null ? 'strace could not trace' : 'by strace'
  bench.print({ ...common, value, note, ...(synced === undefined ? {} : { synced }) })
  return synced
}
