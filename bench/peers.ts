/** Runs the peers' side (its own folder, its own lockfile) and sets our figures against theirs. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Bench } from './harness.ts'
import { runProgram } from './harness.ts'
import { WORKLOADS, type Measure, type OwnWorkload, type Workload } from './report.ts'

/** All of them, each workload up to its own time-out. */
const hoursMs = 3 * 3_600_000
const folder = join(import.meta.dirname, 'peers')

export async function comparePeers(
  bench: Bench,
  chosen: readonly (Workload | OwnWorkload)[],
  ours: readonly Measure[],
): Promise<void> {
  const shared = WORKLOADS.filter((workload) => chosen.includes(workload))
  if (shared.length === 0) return
  if (!existsSync(join(folder, 'node_modules'))) execFileSync('npm', ['ci'], { cwd: folder, stdio: 'ignore' })
  const theirs: Measure[] = []
  const program = [
    join(folder, 'run.ts'),
    ...shared.flatMap((name) => ['--only', name]),
    ...(bench.small ? ['--small'] : []),
  ]
  // Standard output becomes descriptor 3, which is read line by line as it comes.
  const command = ['sh', '-c', 'exec "$@" >&3', 'sh', process.execPath, ...program]
  const { failure } = await runProgram(
    command,
    (line) => {
      const measure = JSON.parse(line) as Measure
      if (measure.workload === 'limits') return
      theirs.push(measure)
      bench.print(measure)
    },
    hoursMs,
  )
  if (failure !== undefined) process.stderr.write(`peers: ${failure}\n`)
  for (const their of theirs) compare(bench, ours, their)
}

/** One line for each of their figures that we have as well. */
function compare(bench: Bench, ours: readonly Measure[], their: Measure): void {
  const our = ours.find(
    (one) =>
      one.system === 'convoke' &&
      one.workload === their.workload &&
      one.metric === their.metric &&
      one.size === their.size,
  )
  if (our === undefined || our.value === null || their.value === null || their.value === 0) return
  const { ratio: _, against: __, ...plain } = our
  const durable = their.synced === undefined ? '' : their.synced ? ', synced' : ', not synced'
  bench.print({ ...plain, ratio: our.value / their.value, against: `${their.system}${durable}` })
}
