/**
 * All benchmarks, each in fresh processes and folders, with the limits of the machine measured in the same run.
 *
 *     npm run bench -- [--json] [--only WORKLOAD]... [--peers] [--small] [--source]
 *
 * `--peers` adds the peers' side (installs it into bench/peers first) and the ratios against it; `--small` shows that
 * all of it works, not how fast it is; `--source` measures the sources in place of the built package.
 */
import { execFileSync } from 'node:child_process'
import { loadavg } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { measure as chain } from './chain.ts'
import { measure as coldstart } from './coldstart.ts'
import { measure as concurrent } from './concurrent.ts'
import { measure as conversation } from './conversation.ts'
import { measure as fanout } from './fanout.ts'
import { createBench, type Bench } from './harness.ts'
import { measure as gateway } from './gateway.ts'
import { measure as growth } from './growth.ts'
import { measure as install } from './install.ts'
import { measure as isolation } from './isolation.ts'
import { measureLedger } from './ledger-lines.ts'
import { measureFsyncRate, measureSqliteCommitRate } from './limits.ts'
import { measure as parked } from './parked.ts'
import { comparePeers } from './peers.ts'
import { measure as recovery } from './recovery.ts'
import { OWN_WORKLOADS, printMeasures, WORKLOADS, type Measure, type OwnWorkload, type Workload } from './report.ts'
import { measure as scale } from './scale.ts'
import { measure as specs } from './specs.ts'
import { measure as wake } from './wake.ts'

interface Options {
  readonly json: boolean
  readonly only?: string[]
  readonly peers: boolean
  readonly small: boolean
  readonly source: boolean
}

const workloads: Readonly<Record<Workload | OwnWorkload, (bench: Bench) => Promise<void>>> = {
  chain,
  conversation,
  concurrent,
  fanout,
  recovery,
  parked,
  coldstart,
  install,
  wake,
  ledger: measureLedger,
  scale,
  gateway,
  specs,
  isolation,
  growth,
}

const usage = `npm run bench -- [--only WORKLOAD]... [--json] [--peers] [--small] [--source]

  --only WORKLOAD  one of ${Object.keys(workloads).join(', ')}
  --json           one object a line instead of tables
  --peers          measures the peers as well (npm ci in bench/peers first)
  --small          a few seconds, to see that it works
  --source         without building first
`
const options = optionsOf()

function optionsOf(): Options {
  try {
    const { values } = parseArgs({
      options: {
        help: { type: 'boolean', short: 'h' },
        json: { type: 'boolean', default: false },
        only: { type: 'string', multiple: true },
        peers: { type: 'boolean', default: false },
        small: { type: 'boolean', default: false },
        source: { type: 'boolean', default: false },
      },
    })
    if (values.help !== true) return values
    process.stdout.write(usage)
    process.exit(0)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`)
    process.exit(2)
  }
}

const collected: Measure[] = []
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
await main()

async function main(): Promise<void> {
  const all = [...WORKLOADS, ...OWN_WORKLOADS]
  const unknown = options.only?.find((name) => !(all as readonly string[]).includes(name))
  if (unknown !== undefined) {
    process.stderr.write(`no workload ${unknown}; there are ${all.join(', ')}\n`)
    process.exitCode = 2
    return
  }
  const chosen = all.filter((workload) => options.only === undefined || options.only.includes(workload))
  if (!options.source) execFileSync('npm', ['run', '--silent', 'build'], { cwd: resolve(import.meta.dirname, '..') })
  const bench = createBench(options, print)
  await limits(bench)
  for (const workload of chosen) {
    if (!options.json) process.stderr.write(`${workload} …\n`)
    await workloads[workload](bench)
  }
  if (options.peers) await comparePeers(bench, chosen, collected)
  if (!options.json) printMeasures(collected, false)
}

function print(measure: Measure): void {
  collected.push(measure)
  if (options.json) printMeasures([measure], true)
}

async function limits(bench: Bench): Promise<void> {
  const budget = bench.small ? { warmupMs: 5, measureMs: 20 } : {}
  const load = `load average ${loadavg()
    .map((n) => n.toFixed(1))
    .join(' ')}`
  await bench.inFolder(async (dir) => {
    const { append1k, append4k, overwrite4k } = measureFsyncRate(dir, budget)
    const rates = { fdatasync_append_1k: append1k, fdatasync_append_4k: append4k, fdatasync_overwrite_4k: overwrite4k }
    const all = { ...rates, sqlite_full_commits: measureSqliteCommitRate(dir, budget) }
    for (const [metric, value] of Object.entries(all))
      bench.print({ workload: 'limits', system: 'machine', metric, value, unit: '1/s', note: load })
  })
}
