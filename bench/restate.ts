/**
 * Convoke on Restate, with its ledger on SQLite and on Postgres, and Restate without Convoke: 200 sequential steps, 500
 * runs of ten steps, 10,000 parked runs that are signalled. All servers are of their own and sync what they write.
 *
 *     node --conditions=convoke-source bench/restate.ts [--json] [--small] [--source] [--only chain|concurrent|parked]...
 *
 * The rows of Restate alone need `npm ci` in bench/peers.
 */
import { startEmbeddedPostgres } from '@convoke/postgres/embedded'
import { startEmbeddedRestate } from '@convoke/restate/embedded'
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { createBench, runProgram, type Figure, type Outcome } from './harness.ts'

const names = ['chain', 'concurrent', 'parked'] as const
const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    small: { type: 'boolean', default: false },
    source: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
  },
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
if (!options.source) execFileSync('npm', ['run', '--silent', 'build'], { cwd: resolve(import.meta.dirname, '..') })

const bench = createBench(options, () => undefined)
const sizes = options.small
  ? { chain: 20, concurrent: 10, parked: 20 }
  : { chain: 200, concurrent: 500, parked: 10_000 }
const postgres = await startEmbeddedPostgres({ collation: 'C', settings: { max_connections: '200' } })
try {
  for (const workload of names.filter((name) => options.only?.includes(name) ?? true)) {
    // A fresh engine for each figure: what it remembers of the one before is no part of the next.
    await onEngine(() => ours(workload, 'on SQLite', undefined))
    await onEngine(async () => ours(workload, 'on Postgres', await postgres.newDatabase()))
    await onEngine(() => bare(workload))
  }
} finally {
  await postgres.close()
}

async function onEngine(measure: () => Promise<void>): Promise<void> {
  const engine = await startEmbeddedRestate({ partitions: 24 })
  process.env['BENCH_RESTATE_INGRESS'] = engine.ingress
  process.env['BENCH_RESTATE_ADMIN'] = engine.admin
  try {
    await measure()
  } finally {
    await engine.close()
  }
}

async function ours(workload: (typeof names)[number], system: string, url: string | undefined): Promise<void> {
  if (url === undefined) delete process.env['BENCH_POSTGRES_URL']
  else process.env['BENCH_POSTGRES_URL'] = url
  const outcome = await bench.inFolder((dir) => bench.scene('restate-scenes', workload, sizes[workload], dir))
  show(workload, `convoke ${system}`, outcome)
}

/** The same workload as the peers' side measures it (bench/peers/lib.ts). */
async function bare(workload: (typeof names)[number]): Promise<void> {
  const peers = join(import.meta.dirname, 'peers')
  if (!existsSync(join(peers, 'node_modules/@restatedev/restate-sdk'))) {
    show(workload, 'restate alone', { figures: [], failure: 'not installed: npm ci in bench/peers', ms: 0 })
    return
  }
  await bench.inFolder(async (dir) => {
    const order = { workload, system: 'restate', dir, size: sizes[workload], spawnedAt: Date.now() }
    const figures: Figure[] = []
    const program = [process.execPath, '--expose-gc', join(peers, 'restate.ts'), JSON.stringify(order)]
    const ended = await runProgram(program, (line) => figures.push(JSON.parse(line) as Figure))
    show(workload, 'restate alone', { figures, ...ended })
  })
}

function show(workload: (typeof names)[number], system: string, outcome: Outcome): void {
  const none = { metric: 'none', value: null, unit: '', note: outcome.failure ?? 'no figure' }
  const load = Number((loadavg()[0] as number).toFixed(1))
  for (const figure of outcome.figures.length > 0 ? outcome.figures : [none]) {
    const line = { workload, system, size: sizes[workload], ...figure, load }
    process.stdout.write(`${options.json ? JSON.stringify(line) : text(line)}\n`)
  }
}

function text(line: Figure & { workload: string; system: string; size: number; load: number }): string {
  const { workload, system, size, metric, value, unit, note, load } = line
  const shown = value === null ? '-' : value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)))
  const said = note === undefined ? '' : `, ${note}`
  return `${workload.padEnd(11)} ${system.padEnd(20)} ${String(size).padStart(6)}  ${metric.padEnd(22)} ${shown.padStart(8)} ${unit}  (load ${load}${said})`
}
