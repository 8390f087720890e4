/**
 * Convoke on Postgres, and DBOS on the same server: steps a second with 1, 2 and 4 workers, what a step takes beside the
 * database's own commit in the same run, 500 runs of ten steps, 10,000 parked runs that are signalled, and what goes
 * over the wire for a step. The server is one of its own, with the default durability.
 *
 *     node --conditions=convoke-source bench/postgres.ts [--json] [--small] [--source] [--peers] [--only NAME]...
 *
 * `--peers` adds the rows of DBOS, which need `npm ci` in bench/peers. NAME: chain,
 * concurrent, wake, workers, parked, wire.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { startEmbeddedPostgres, startProxy } from '@convoke/postgres/embedded'
import { createBench, runProgram, type Bench, type Figure, type Outcome } from './harness.ts'

interface Line extends Figure {
  readonly workload: string
  readonly system: string
  readonly size: number
}

const names = ['chain', 'concurrent', 'wake', 'workers', 'parked', 'wire']
const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    small: { type: 'boolean', default: false },
    source: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
  },
})
const chosen = names.filter((name) => options.only === undefined || options.only.includes(name))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
if (!options.source) execFileSync('npm', ['run', '--silent', 'build'], { cwd: resolve(import.meta.dirname, '..') })

const bench = createBench(options, () => undefined)
const server = await startEmbeddedPostgres({ collation: 'C', settings: { max_connections: '200' } })
try {
  await main(bench)
} finally {
  await server.close()
}

async function main({ small }: Bench): Promise<void> {
  const sizes = { chain: small ? 20 : 200, concurrent: small ? 10 : 500, parked: small ? 20 : 10_000 }
  for (const workload of ['chain', 'concurrent', 'parked'] as const) {
    if (!chosen.includes(workload)) continue
    await ours(workload, workload, sizes[workload])
    if (options.peers) await dbos(workload, sizes[workload])
  }
  if (chosen.includes('wake')) await ours('wake', 'wake', small ? 5 : 100)
  if (chosen.includes('workers'))
    for (const count of [1, 2, 4]) {
      process.env['BENCH_WORKERS'] = String(count)
      await ours(`workers: ${count}`, 'spread', sizes.concurrent)
    }
  if (chosen.includes('wire')) await wire(small ? [5, 25] : [20, 220])
}

async function ours(workload: string, scene: string, size: number): Promise<void> {
  process.env['BENCH_POSTGRES_URL'] = await server.newDatabase()
  const outcome = await bench.inFolder((dir) => bench.scene('postgres-scenes', scene, size, dir))
  show(workload, 'convoke', size, outcome)
}

/** The same workload as the peers' side measures it (bench/peers/lib.ts), on this server. */
async function dbos(workload: string, size: number): Promise<void> {
  const program = join(import.meta.dirname, 'peers/dbos.ts')
  if (!existsSync(join(import.meta.dirname, 'peers/node_modules/@dbos-inc'))) {
    show(workload, 'dbos', size, { figures: [], failure: 'not installed: npm ci in bench/peers', ms: 0 })
    return
  }
  process.env['BENCH_POSTGRES_URL'] = await server.newDatabase()
  await bench.inFolder(async (dir) => {
    const order = JSON.stringify({ workload, system: 'dbos', dir, size, spawnedAt: Date.now() })
    const figures: Figure[] = []
    const ended = await runProgram([process.execPath, '--expose-gc', program, order], (line) =>
      figures.push(JSON.parse(line) as Figure),
    )
    show(workload, 'dbos', size, { figures, ...ended })
  })
}

/** What a chain of many steps sends and receives beyond one of few, over the difference: the steps alone. */
async function wire([few, many]: readonly [number, number]): Promise<void> {
  const proxy = await startProxy(server.port)
  const counts = []
  for (const size of [few, many]) {
    const url = new URL(await server.newDatabase())
    url.port = String(proxy.port)
    process.env['BENCH_POSTGRES_URL'] = url.href
    proxy.resetCounts()
    const outcome = await bench.inFolder((dir) => bench.scene('postgres-scenes', 'wire', size, dir))
    if (outcome.failure !== undefined) show('wire', 'convoke', size, outcome)
    counts.push(proxy.counts())
  }
  await proxy.close()
  const [before, after] = counts as [(typeof counts)[0], (typeof counts)[0]]
  const per = (name: 'roundTrips' | 'sent' | 'received'): number =>
    ((after?.[name] ?? NaN) - (before?.[name] ?? NaN)) / (many - few)
  const note = 'with heartbeats and notices that fell in the same time; results of 1 KB'
  const figures = [
    { metric: 'round_trips_per_step', value: per('roundTrips'), unit: '', note },
    { metric: 'bytes_sent_per_step', value: per('sent'), unit: 'B', note },
    { metric: 'bytes_received_per_step', value: per('received'), unit: 'B', note },
  ]
  show('wire', 'convoke', many - few, { figures, ms: 0 })
}

function show(workload: string, system: string, size: number, outcome: Outcome): void {
  const none = { metric: 'none', value: null, unit: '', note: outcome.failure ?? 'no figure' }
  for (const figure of outcome.figures.length > 0 ? outcome.figures : [none]) {
    const line: Line = { workload, system, size, ...figure }
    process.stdout.write(`${options.json ? JSON.stringify(line) : text(line)}\n`)
  }
  if (!options.json)
    process.stderr.write(
      `  load average ${loadavg()
        .map((n) => n.toFixed(1))
        .join(' ')}\n`,
    )
}

function text({ workload, system, size, metric, value, unit, ratio, against, note }: Line): string {
  const shown = value === null ? '-' : value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
  const ratioText = ratio === undefined ? '' : `  ${ratio.toFixed(2)} of ${against ?? '?'}`
  return `${workload.padEnd(12)} ${system.padEnd(8)} ${String(size).padStart(6)}  ${metric.padEnd(24)} ${shown.padStart(8)} ${unit}${ratioText}${note === undefined ? '' : `  (${note})`}`
}
