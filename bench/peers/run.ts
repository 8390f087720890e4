/**
 * The parent: for each system and workload, a fresh folder, a fresh child process, its figures printed as one JSON
 * object a line, and everything ended and removed afterwards.
 *
 *     node run.ts [--only WORKLOAD] [--system NAME] [--small] [--timeout SECONDS] [--disk-gb N] [--no-sync-check] [--table]
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { measureFsyncRate, measureSqliteCommitRate } from '../limits.ts'
import { median } from '../quantile.ts'
import { type Measure, WORKLOADS, type Workload, printMeasures } from '../report.ts'
import { type Outcome, runChild } from './child.ts'
import { bytesOf, weigh } from './install.ts'
import type { Figure } from './lib.ts'
import { startPostgres } from './postgres.ts'

interface System {
  readonly name: string
  readonly program: string
  readonly packages: readonly string[]
  /** Where a variant is about one workload only. */
  readonly only?: Workload
}

const langgraph = ['@langchain/langgraph', '@langchain/langgraph-checkpoint-sqlite', '@langchain/core']
const systems: readonly System[] = [
  { name: 'langgraph', program: 'langgraph.ts', packages: langgraph },
  { name: 'langgraph-full', program: 'langgraph.ts', packages: langgraph },
  { name: 'langgraph-tasks-full', program: 'langgraph.ts', packages: langgraph },
  { name: 'langgraph-last-full', program: 'langgraph.ts', packages: langgraph, only: 'chain' },
  { name: 'mastra', program: 'mastra.ts', packages: ['@mastra/core', '@mastra/libsql'] },
  { name: 'mastra-full', program: 'mastra.ts', packages: ['@mastra/core', '@mastra/libsql'] },
  { name: 'openworkflow', program: 'openworkflow.ts', packages: ['openworkflow'] },
  { name: 'dbos', program: 'dbos.ts', packages: ['@dbos-inc/dbos-sdk'] },
]

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    system: { type: 'string', multiple: true },
    small: { type: 'boolean', default: false },
    timeout: { type: 'string', default: '120' },
    'disk-gb': { type: 'string', default: '8' },
    'no-sync-check': { type: 'boolean', default: false },
    table: { type: 'boolean', default: false },
  },
})
const timeoutMs = Number(options.timeout) * 1000
const diskBytes = Number(options['disk-gb']) * 1e9
const small = options.small

const SIZES: Record<Exclude<Workload, 'install'>, readonly number[]> = small
  ? { chain: [200], conversation: [50], concurrent: [50], fanout: [20], recovery: [200], parked: [200], coldstart: [3] }
  : {
      chain: [1000, 10_000],
      conversation: [500],
      concurrent: [500],
      fanout: [100],
      recovery: [1000, 10_000],
      parked: [10_000],
      coldstart: [3],
    }

/** The metric that stands for the workload where there is no figure at all. */
const HEADLINE: Record<Exclude<Workload, 'install'>, readonly [string, string]> = {
  chain: ['steps_per_s', 'steps/s'],
  conversation: ['disk_over_content', 'ratio'],
  concurrent: ['steps_per_s', 'steps/s'],
  fanout: ['ms', 'ms'],
  recovery: ['ms_to_first_new_step', 'ms'],
  parked: ['ms_to_wake_all', 'ms'],
  coldstart: ['ms', 'ms'],
}

/** Two messages a turn. */
const TURN_BYTES = 2 * 2048

const collected: Measure[] = []
// A killed parent must not leave children: an ending process ends them (child.ts) and its Postgres (postgres.ts).
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

await main()

async function main(): Promise<void> {
  const chosen = systems.filter(({ name }) => options.system === undefined || options.system.includes(name))
  const workloads = WORKLOADS.filter((workload) => options.only === undefined || options.only.includes(workload))
  if (chosen.length === 0 || workloads.length === 0) {
    const names = systems.map(({ name }) => name).join(', ')
    throw new Error(`nothing to measure; systems: ${names}; workloads: ${WORKLOADS.join(', ')}`)
  }
  printLimits()
  const weighed = new Set<string>()
  for (const system of chosen) {
    const own = workloads.filter((workload) => system.only === undefined || system.only === workload)
    const timed = own.some((workload) => workload !== 'install')
    const synced = timed && !options['no-sync-check'] ? await syncCheck(system) : undefined
    for (const workload of own) {
      if (workload === 'install') {
        // Variants of one program weigh the same.
        if (!weighed.has(system.program)) printInstall(system)
        weighed.add(system.program)
      } else for (const size of SIZES[workload]) await measure(system, workload, size, synced)
    }
  }
  if (options.table) printMeasures(collected, false)
}

function print(measure: Measure): void {
  if (options.table) collected.push(measure)
  else printMeasures([measure], true)
}

function printLimits(): void {
  const dir = mkdtempSync(join(tmpdir(), 'convoke-limits-'))
  try {
    const { append1k, append4k, overwrite4k } = measureFsyncRate(dir)
    const rates = { fdatasync_append_1k: append1k, fdatasync_append_4k: append4k, fdatasync_overwrite_4k: overwrite4k }
    const all = { ...rates, sqlite_full_commits: measureSqliteCommitRate(dir) }
    for (const [metric, value] of Object.entries(all)) {
      print({ workload: 'limits', system: 'machine', metric, value, unit: '1/s' })
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

function printInstall({ name, packages }: System): void {
  const { packages: count, mb } = weigh(packages)
  const note = name === 'dbos' ? 'without the Postgres server' : undefined
  const common = { workload: 'install', system: name, ...(note === undefined ? {} : { note }) } as const
  print({ ...common, metric: 'packages', value: count, unit: 'packages' })
  print({ ...common, metric: 'mb', value: mb, unit: 'MB' })
}

/** Runs one workload once (cold start five times) and prints its figures. */
async function measure(system: System, workload: Exclude<Workload, 'install'>, size: number, synced?: boolean) {
  const common = { workload, system: system.name, size, ...(synced === undefined ? {} : { synced }) }
  await inFreshPlace(system, async (dir, env) => {
    if (workload === 'coldstart') {
      const times: number[] = []
      let failure: string | undefined
      for (let round = 0; round < 5 && failure === undefined; round++) {
        const outcome = await child(system, workload, size, join(dir, String(round)), env)
        failure = outcome.failure
        times.push(outcome.ms)
      }
      const note = `median of 5, empty store${system.name === 'dbos' ? ' at first only; Postgres is up already' : ''}`
      if (failure === undefined) print({ ...common, metric: 'ms', value: median(times), unit: 'ms', note })
      else print({ ...common, metric: 'ms', value: null, unit: 'ms', note: failure })
      return
    }
    if (workload === 'recovery') {
      const crash = await child(system, 'recovery-crash', size, dir, env)
      const unfit = crash.figures.find(({ metric }) => metric === 'cannot')?.note ?? crash.failure
      if (unfit !== 'killed itself') {
        const [metric, unit] = HEADLINE.recovery
        print({ ...common, metric, value: null, unit, note: `first half: ${unfit ?? 'ended without a kill'}` })
        return
      }
    }
    const before = diskRate()
    const { figures, failure } = await child(system, workload, size, dir, env)
    const disk = `disk ${before} to ${diskRate()} fdatasync/s`
    const all = workload === 'conversation' && failure === undefined ? withDisk(figures, dir, size) : figures
    const limit = all.find(({ metric }) => metric === 'fdatasync_per_s')
    for (const { metric, value, unit, note } of all) {
      if (metric === 'cannot' || metric === 'fdatasync_per_s') continue
      const compared = workload === 'chain' && metric === 'steps_per_s' && value !== null && limit?.value
      const ratio = compared ? { ratio: value / limit.value, against: `fdatasync/s (${limit.note ?? ''})` } : {}
      const notes = [note, workload === 'chain' ? undefined : disk].filter((part) => part !== undefined)
      print({ ...common, metric, value, unit, ...ratio, ...(notes.length === 0 ? {} : { note: notes.join('; ') }) })
    }
    const cannot = all.find(({ metric }) => metric === 'cannot')?.note
    const [metric, unit] = HEADLINE[workload]
    if (!all.some((figure) => figure.metric === metric)) {
      print({ ...common, metric, value: null, unit, note: cannot ?? failure ?? 'no figure' })
    }
  })
}

/** What the disk gives right now: on a shared machine it may change by ten between two measurements. */
function diskRate(): number {
  return Math.round(measureFsyncRate(tmpdir(), { warmupMs: 50, measureMs: 200 }).append1k)
}

function withDisk(figures: readonly Figure[], dir: string, turns: number): readonly Figure[] {
  if (figures.some(({ metric }) => metric === 'cannot')) return figures
  const stored = figures.find(({ metric }) => metric === 'bytes_on_disk')
  const bytes = stored?.value ?? bytesOf(dir)
  const rest = figures.filter((figure) => figure !== stored)
  // A folder also holds the warm-up's 20 turns; a database server's figure is without them.
  const content = TURN_BYTES * (stored === undefined ? turns + 20 : turns)
  const disk = { metric: 'bytes_on_disk', value: bytes, unit: 'bytes' }
  return [...rest, disk, { metric: 'disk_over_content', value: bytes / content, unit: 'ratio' }]
}

/**
 * Counts the syncs of a chain of 120 steps and of one of 20 and gives the difference a step: strace sees the child's
 * own, a server tells its own. Undefined where neither can be had; the note then has what the store says of itself.
 */
async function syncCheck(system: System): Promise<boolean | undefined> {
  const strace = hasStrace()
  const counts: number[] = []
  let note: string | undefined
  for (const size of [20, 120]) {
    await inFreshPlace(system, async (dir, env) => {
      const table = join(dir, 'strace.txt')
      const tracer = strace ? ['strace', '-f', '-c', '-e', 'trace=fsync,fdatasync,msync', '-o', table] : []
      const { figures, failure } = await child(system, 'syncs', size, join(dir, 'store'), env, tracer)
      const told = figures.find(({ metric }) => metric === 'syncs')?.value
      if (typeof told === 'number') counts.push(told)
      else if (strace && failure === undefined) counts.push(countSyncs(readFileSync(table, 'utf8')))
      note = failure ?? figures.find(({ metric }) => metric === 'durability')?.note
    })
  }
  const [few, many] = counts
  const perStep = few === undefined || many === undefined ? null : (many - few) / 100
  const means = perStep === null ? 'unknown (no strace)' : system.name === 'dbos' ? 'by pg_stat_io' : 'by strace'
  // Nine in ten: a sync may serve two steps now and then without any step being acknowledged early.
  const synced = perStep === null ? undefined : perStep >= 0.9
  print({
    workload: 'chain',
    system: system.name,
    metric: 'syncs_per_step',
    value: perStep,
    unit: 'syncs/step',
    size: 100,
    ...(synced === undefined ? {} : { synced }),
    note: `${means}; ${note ?? ''}`,
  })
  return synced
}

function hasStrace(): boolean {
  try {
    execFileSync('strace', ['-V'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Sums the column `calls` of what `strace -c` writes. */
function countSyncs(table: string): number {
  const rows = table.split('\n').filter((row) => /\b(fsync|fdatasync|msync)$/.test(row.trim()))
  return rows.reduce((sum, row) => sum + Number(row.trim().split(/\s+/)[3] ?? 0), 0)
}

async function inFreshPlace(
  system: System,
  use: (dir: string, env: Record<string, string>) => Promise<void>,
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'convoke-peer-'))
  const remove = (): void => rmSync(dir, { recursive: true, force: true })
  process.on('exit', remove)
  const server = system.name === 'dbos' ? await startPostgres() : undefined
  try {
    await use(dir, server === undefined ? {} : { BENCH_POSTGRES_URL: server.url })
  } finally {
    await server?.stop()
    remove()
    process.off('exit', remove)
  }
}

function child(
  system: System,
  workload: string,
  size: number,
  dir: string,
  env: Record<string, string>,
  tracer: readonly string[] = [],
): Promise<Outcome> {
  return runChild({
    program: system.program,
    system: system.name,
    workload,
    size,
    dir,
    env,
    tracer,
    timeoutMs,
    diskBytes,
  })
}
