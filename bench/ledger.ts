/**
 * The embedded ledger against the database under it, in slices that take turns, because the machine drifts: a chain of
 * single appends against raw commits, 500 appenders at once, reading with proof, and the bytes that a record takes.
 * Run: node --conditions=convoke-source bench/ledger.ts [--json]
 */
import { hash } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { openSqliteLedger } from 'convoke/sqlite'
import { createChain, type Chain } from 'convoke/testing'
import { median } from './quantile.ts'
import { payload } from './report.ts'

type Ledger = Awaited<ReturnType<typeof openSqliteLedger>>

const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'ledger-bench-'))
const text = payload(1000, 7)
const lines: { metric: string; value: number; unit: string; ratio?: number; against?: string }[] = []

function say(metric: string, value: number, unit: string, more: { ratio?: number; against?: string } = {}): void {
  lines.push({ metric, value: Number(value.toPrecision(4)), unit, ...more })
}

function openRaw(): DatabaseSync {
  const db = new DatabaseSync(join(folder, 'raw.db'))
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL')
  db.exec('CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, text TEXT NOT NULL)')
  return db
}

async function started(ledger: Ledger, id: string): Promise<Chain> {
  const chain = createChain({ tenant: 'local', stream: `run/${id}` })
  const record = chain.next({ type: 'run.started', payload: { workflow: 'bench', version: '1' } })
  await ledger.append([{ ref: chain.ref, epoch: 0, records: [record] }])
  chain.follow(await ledger.claim(chain.ref, 'bench'))
  return chain
}

async function step(ledger: Ledger, chain: Chain, n: number): Promise<void> {
  const record = chain.next({
    type: 'step.completed',
    path: `step-${n}`,
    causes: [{ kind: 'control', ref: `${chain.ref.stream}@${chain.head.seq}` }],
    payload: { value: text },
  })
  await ledger.append([{ ref: chain.ref, epoch: 1, records: [record] }])
}

async function chainAgainstRaw(ledger: Ledger): Promise<void> {
  const raw = openRaw()
  const insert = raw.prepare('INSERT INTO row (text) VALUES (?)')
  const chain = await started(ledger, 'chain')
  const rates = { raw: [] as number[], ledger: [] as number[], ratio: [] as number[] }
  const slice = 250
  for (let round = 0; round < 14; round++) {
    let from = performance.now()
    for (let i = 0; i < slice; i++) insert.run(text)
    const rawRate = (slice / (performance.now() - from)) * 1000
    from = performance.now()
    for (let i = 0; i < slice; i++) await step(ledger, chain, round * slice + i)
    const ledgerRate = (slice / (performance.now() - from)) * 1000
    if (round < 2) continue
    rates.raw.push(rawRate)
    rates.ledger.push(ledgerRate)
    rates.ratio.push(ledgerRate / rawRate)
  }
  raw.close()
  say('raw commits', median(rates.raw), '1/s')
  say('chain of appends', median(rates.ledger), '1/s', {
    ratio: Number(median(rates.ratio).toFixed(3)),
    against: 'raw commits',
  })
}

async function many(ledger: Ledger): Promise<void> {
  const runs = await Promise.all(Array.from({ length: 500 }, async (_, i) => await started(ledger, `many-${i}`)))
  const rates: number[] = []
  const ratios: number[] = []
  for (let round = 0; round < 5; round++) {
    const bare = sealedGroups()
    const from = performance.now()
    const busy = performance.eventLoopUtilization()
    await Promise.all(
      runs.map(async (chain) => {
        for (let n = 0; n < 40; n++) await step(ledger, chain, round * 40 + n)
      }),
    )
    const rate = (500 * 40 * 1000) / (performance.now() - from)
    rates.push(rate)
    ratios.push(rate / bare)
    if (round === 4) say('main thread busy', performance.eventLoopUtilization(busy).utilization * 100, '%')
  }
  say('500 appenders', median(rates), 'records/s', {
    ratio: Number(median(ratios).toFixed(2)),
    against: 'sealing and raw commits of 500 on one blocked thread',
  })
}

/** Records a second when one thread seals 500, commits them, and does nothing else. */
function sealedGroups(): number {
  const raw = openRaw()
  const insert = raw.prepare('INSERT INTO row (text) VALUES (?)')
  const chain = createChain({ tenant: 'local', stream: 'run/bare' })
  const from = performance.now()
  for (let group = 0; group < 20; group++) {
    raw.exec('BEGIN IMMEDIATE')
    for (let n = 0; n < 500; n++) {
      const path = `step-${n}`
      insert.run(JSON.stringify(chain.next({ type: 'step.completed', path, payload: { value: text } })))
    }
    raw.exec('COMMIT')
  }
  const rate = (20 * 500 * 1000) / (performance.now() - from)
  raw.close()
  return rate
}

async function reading(ledger: Ledger): Promise<void> {
  const chain = await started(ledger, 'read')
  for (let part = 0; part < 20; part++) {
    const records = Array.from({ length: 500 }, (_, n) =>
      chain.next({ type: 'step.completed', path: `step-${part * 500 + n}`, payload: { value: text } }),
    )
    await ledger.append([{ ref: chain.ref, epoch: 1, records }])
  }
  const times: number[] = []
  for (let round = 0; round < 7; round++) {
    const from = performance.now()
    const records = await ledger.read(chain.ref, { limit: 20_000 })
    times.push(performance.now() - from)
    if (records.length !== 10_001) throw new Error(`read ${records.length} records`)
  }
  const hashing: number[] = []
  for (let round = 0; round < 7; round++) {
    const from = performance.now()
    for (let n = 0; n < 10_000; n++) hash('sha256', text, 'hex')
    hashing.push(performance.now() - from)
  }
  say('sha-256 of 10,000 texts of 1 KB', median(hashing), 'ms')
  say('read and prove 10,000 records of 1 KB', median(times), 'ms', {
    ratio: Number((median(times) / median(hashing)).toFixed(2)),
    against: 'sha-256 of 10,000 texts of 1 KB',
  })
}

/** What a record takes when the store has many: between 1,000 and 3,000 of them. */
async function size(): Promise<void> {
  const dir = join(folder, 'size')
  const sizes: number[] = []
  for (const [part, count] of [1_000, 2_000].entries()) {
    const ledger = await openSqliteLedger({ dir, durability: 'process-crash-only' })
    await ledger.register('bench')
    const chain = await started(ledger, `size-${part}`)
    for (let n = 0; n < count; n++) await step(ledger, chain, n)
    await ledger.close()
    sizes.push(statSync(join(dir, 'ledger.db')).size)
  }
  const [first = 0, second = 0] = sizes
  say('bytes a record beyond its payload', (second - first) / 2_000 - text.length - 12, 'bytes')
}

const ledger = await openSqliteLedger({ dir: join(folder, 'store') })
try {
  await ledger.register('bench')
  await chainAgainstRaw(ledger)
  await many(ledger)
  await reading(ledger)
  await size()
} finally {
  await ledger.close()
  rmSync(folder, { recursive: true, force: true })
}
if (process.argv.includes('--json')) for (const line of lines) process.stdout.write(JSON.stringify(line) + '\n')
else
  for (const { metric, value, unit, ratio, against } of lines)
    process.stdout.write(
      `${metric.padEnd(42)} ${value} ${unit}${ratio === undefined ? '' : `  (${ratio} of ${against ?? ''})`}\n`,
    )
