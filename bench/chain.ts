/**
 * One run of steps in sequence with results of 1 KB: what a durable step costs, and whether it costs more as the run
 * grows. The disk's own rates are measured inside a run, between slices of steps: on a shared machine they may change
 * tenfold within seconds, and a slice is compared with what was measured right before and after it. Whether steps
 * slow down is seen on a run that nothing interrupts.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { convoke } from 'convoke'
import { chainOf } from './flows.ts'
import { countSyncs, hasStrace, report, type Bench, type Scenes } from './harness.ts'
import { measureAppendRate, measureSqliteCommitRate, peakRss } from './limits.ts'
import { median } from './quantile.ts'
import { resultOf } from './results.ts'

export async function measure(bench: Bench): Promise<void> {
  const synced = await syncCheck(bench)
  for (const size of bench.small ? [200] : [1_000, 10_000])
    await bench.inFolder(async (dir) => {
      const common = { workload: 'chain', size, ...(synced === undefined ? {} : { synced }) } as const
      const sliced = await bench.scene('chain', 'sliced', size, join(dir, 'sliced'))
      report(bench, common, ['steps_per_s', 'steps/s'], sliced)
      const whole = await bench.scene('chain', 'whole', size, join(dir, 'whole'))
      report(bench, common, ['last100_over_first100', 'ratio'], whole)
      const computed = await bench.scene('chain', 'computed', size, join(dir, 'computed'))
      report(bench, { workload: 'chain', size }, ['computed_steps_per_s', 'steps/s'], computed)
    })
  if (hasStrace()) await onSlowerDisks(bench)
}

/**
 * The same on disks that take longer: every sync of the process, those of the limit as well, begins so much later
 * (strace's fault injection). What a step costs beside its sync stays the same, so its share of the disk's rate rises.
 */
async function onSlowerDisks(bench: Bench): Promise<void> {
  const size = bench.small ? 80 : 1_000
  for (const ms of bench.small ? [1] : [0.5, 1, 2])
    await bench.inFolder(async (dir) => {
      const inject = `inject=fsync,fdatasync:delay_enter=${ms * 1_000}`
      const under = ['strace', '-f', '-qq', '--seccomp-bpf', '-e', 'trace=fsync,fdatasync', '-e', inject]
      const traced = [...under, '-o', '/dev/null']
      const { figures, ...ended } = await bench.scene('chain', 'sliced', size, dir, { under: traced })
      const metric = `steps_per_s_syncs_${ms}ms_later`
      const found = figures.filter((figure) => figure.metric === 'steps_per_s').map((it) => ({ ...it, metric }))
      report(bench, { workload: 'chain', size }, [metric, 'steps/s'], { figures: found, ...ended })
    })
}

interface Limits {
  readonly fsync: number
  readonly commits: number
}

export const scenes: Scenes = {
  async sliced({ dir, size, small }, tell) {
    const budget = small ? { warmupMs: 5, measureMs: 20 } : { warmupMs: 10, measureMs: 50 }
    const limits: Limits[] = []
    const measured = (): Limits => ({
      fsync: measureAppendRate(dir, budget),
      commits: measureSqliteCommitRate(dir, budget),
    })
    for (let i = 0; i <= size; i++) resultOf(i, 1024)
    // A measurement makes and removes files, which the next steps pay for: slices are long enough for that not to count.
    const slice = size / 10
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
    // One step more, which begins when the last that counts is on disk: the end of the run is not a step.
    await chain('chain', size + 1)
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
    await app.close()
  },

  async whole({ dir, size }, tell) {
    const began: number[] = []
    for (let i = 0; i <= size; i++) resultOf(i, 1024)
    const app = convoke({
      store: join(dir, 'store'),
      workflows: {
        chain: chainOf((run, i) => {
          if (run === 'chain') began[i] = performance.now()
          return resultOf(i, 1024)
        }),
      },
    })
    const chain = async (run: string, steps: number): Promise<unknown> =>
      (await app.start('chain', steps, { id: run })).result()
    await chain('warm-up', 100)
    const cpu = process.cpuUsage()
    await chain('chain', size + 1)
    const used = process.cpuUsage(cpu)
    const time = (from: number, to: number): number => (began[to] ?? NaN) - (began[from] ?? NaN)
    const span = Math.min(100, size / 2)
    const medianOf = (from: number): number =>
      median(Array.from({ length: span }, (_, n) => time(from + n, from + n + 1)))
    tell({ metric: 'steps_per_s_undisturbed', value: (size / time(0, size)) * 1000, unit: 'steps/s' })
    tell({ metric: 'last100_over_first100', value: time(size - span, size) / time(0, span), unit: 'ratio' })
    tell({
      metric: 'last100_over_first100_median',
      value: medianOf(size - span) / medianOf(0),
      unit: 'ratio',
      note: 'of the median step of each hundred: a stall of the disk does not count',
    })
    tell({ metric: 'user_us_per_step', value: used.user / size, unit: 'µs', note: 'CPU of all threads' })
    tell({ metric: 'system_us_per_step', value: used.system / size, unit: 'µs', note: 'in the kernel' })
    tell({ metric: 'peak_mb', value: peakRss(), unit: 'MB' })
    await app.close()
  },

  /** Steps that only compute: they share commits, so a run is timed whole, until its end is on disk. */
  async computed({ dir, size, small }, tell) {
    const budget = small ? { warmupMs: 5, measureMs: 20 } : { warmupMs: 10, measureMs: 100 }
    for (let i = 0; i < size; i++) resultOf(i, 1024)
    const workflows = { chain: chainOf((_run, i) => resultOf(i, 1024), { pure: true }) }
    const app = convoke({ store: join(dir, 'store'), workflows })
    const chain = async (run: string, steps: number): Promise<unknown> =>
      (await app.start('chain', steps, { id: run })).result()
    await chain('warm-up', 100)
    const rates: number[] = []
    const ratios: number[] = []
    let before = measureAppendRate(dir, budget)
    for (let round = 0; round < 5; round++) {
      const from = performance.now()
      await chain(`chain-${round}`, size)
      const rate = (size / (performance.now() - from)) * 1000
      const after = measureAppendRate(dir, budget)
      rates.push(rate)
      ratios.push((2 * rate) / (before + after))
      before = after
    }
    tell({
      metric: 'computed_steps_per_s',
      value: median(rates),
      unit: 'steps/s',
      ratio: median(ratios),
      against: `fdatasync of 1 KB appends (${Math.round(before)}/s)`,
      note: `median of ${list(rates)}`,
    })
    await app.close()
  },

  async syncs({ dir, size }) {
    const app = convoke({ store: join(dir, 'store'), workflows: { chain: chainOf((_run, i) => resultOf(i, 1024)) } })
    await (await app.start('chain', size, { id: 'chain' })).result()
    await app.close()
  },
}

function list(rates: readonly number[]): string {
  return rates.map((rate) => rate.toFixed(0)).join(', ')
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
