/**
 * A ledger that grows: what each thing that is done again and again takes at ten thousand, a hundred thousand and a
 * million records, on SQLite and on Postgres. Filled by the ledger's own appends, as runs of ten records that have ended;
 * what is in hand (runs that are due, wait for a time, wait for a person) stays the same, so that only the history grows.
 * `ratio` is against the first size.
 */
import { statfsSync } from 'node:fs'
import { join } from 'node:path'
import { openPostgresLedger } from '@convoke/postgres'
import { startEmbeddedPostgres } from '@convoke/postgres/embedded'
import { archiveFolder, archiveRuns, restoreRuns, type Ledger } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { createChain, type Chain } from 'convoke/testing'
import pg from 'pg'
import { bytesOf, eachOf, type Bench, type Figure, type Order, type Scenes } from './harness.ts'
import { median, quantile } from './quantile.ts'
import { payload } from './report.ts'

const tenant = 'bench'
const [perRun, longRun, inHand] = [10, 100, 300]
/** Of a finished step: results are small more often than not. */
const resultBytes = 400
/** Filling a million takes a minute or two on an idle machine. */
const limitMs = 1_500_000

const sizesOf = ({ small }: Bench): readonly number[] => (small ? [200, 400] : [10_000, 100_000, 1_000_000])

interface Store {
  readonly ledger: Ledger
  /** What a database that has been running for long has done by itself. */
  readonly settle: () => Promise<void>
  readonly bytes: () => Promise<number>
}

export const scenes: Scenes = {
  sqlite: async (order, tell) => {
    const dir = join(order.dir, 'store')
    const ledger = await openSqliteLedger({ dir })
    await measureStore({ ledger, settle: async () => {}, bytes: async () => bytesOf(dir) }, order, tell)
    await ledger.close()
  },
  postgres: async (order, tell) => {
    const server = await startEmbeddedPostgres({ collation: 'C' })
    const url = await server.newDatabase()
    const ledger = await openPostgresLedger({ url, stallMs: 60_000 })
    const client = new pg.Client(url)
    await client.connect()
    const store: Store = {
      ledger,
      settle: async () => {
        await client.query('VACUUM ANALYZE')
        await client.query('CHECKPOINT')
      },
      bytes: async () =>
        Number((await client.query<{ n: string }>('SELECT pg_database_size(current_database()) AS n')).rows[0]?.n),
    }
    await measureStore(store, order, tell)
    await client.end()
    await ledger.close()
    await server.close()
  },
}

export async function measure(bench: Bench): Promise<void> {
  const sizes = sizesOf(bench)
  for (const system of ['sqlite', 'postgres']) {
    const first = new Map<string, number>()
    const print = ({ metric, value, unit, note }: Figure): void => {
      const [name = metric, size = '0'] = metric.split('@')
      const before = first.get(name)
      if (value !== null && before === undefined) first.set(name, value)
      bench.print({
        workload: 'growth',
        system,
        metric: name,
        size: Number(size),
        value,
        unit,
        ...(value === null || before === undefined
          ? {}
          : { ratio: value / before, against: `${sizes[0] ?? 0} records` }),
        ...(note === undefined ? {} : { note }),
      })
    }
    await bench.inFolder(async (dir) => {
      process.env['BENCH_GROWTH'] = sizes.join(',')
      const outcome = await bench.scene('growth', system, sizes.at(-1) ?? 0, dir, { limitMs, onFigure: print })
      if (outcome.failure !== undefined) print({ metric: 'append', value: null, unit: 'ms', note: outcome.failure })
    })
  }
}

async function measureStore(store: Store, order: Order, tell: (figure: Figure) => void): Promise<void> {
  const { ledger } = store
  const times = order.small ? 10 : 300
  const sizes = (process.env['BENCH_GROWTH'] ?? String(order.size)).split(',').map(Number)
  await ledger.register('w')
  const long = await oneLongRun(ledger)
  let records = longRun
  let runs = 0
  for (const size of sizes) {
    const from = performance.now()
    const count = Math.max(0, Math.ceil((size - records) / perRun))
    const free = statfsSync(order.dir)
    if (free.bavail * free.bsize < (size - records) * 8_000)
      return tell({ metric: `append@${size}`, value: null, unit: 'ms', note: 'not enough room on this disk' })
    await eachOf(
      Array.from({ length: count }, (_, i) => runs + i),
      128,
      (i) => fill(ledger, i),
    )
    const seconds = (performance.now() - from) / 1_000
    tell({ metric: `filled@${size}`, value: (count * perRun) / seconds, unit: 'records/s' })
    runs += count
    records += count * perRun
    const settling = performance.now()
    await store.settle()
    const settled = (performance.now() - settling) / 1_000
    if (settled > 0.001)
      tell({ metric: `vacuum_all@${size}`, value: settled, unit: 's', note: 'VACUUM ANALYZE of all' })
    const at = (metric: string): string => `${metric}@${size}`
    tell({ metric: at('bytes_per_record'), value: (await store.bytes()) / records, unit: 'B' })
    const one = await claimed(ledger, `at-${size}`)
    records += 1
    for (const [name, act] of Object.entries(actsOf(ledger, { runs, long, one, size }))) {
      const took: number[] = []
      for (let i = -Math.ceil(times / 10); i < times; i++) {
        const begun = performance.now()
        await act(i)
        if (i >= 0) took.push(performance.now() - begun)
      }
      const note = `p99 ${quantile(took, 0.99).toFixed(2)} ms`
      tell({ metric: at(name), value: median(took), unit: 'ms', note })
    }
    records += 2 * (times + Math.ceil(times / 10))
    await archiveSome(store, size, order, tell)
  }
}

/** The oldest runs go, as a nightly `convoke store archive` takes them, and one comes back. */
async function archiveSome(store: Store, size: number, order: Order, tell: (figure: Figure) => void): Promise<void> {
  const { ledger } = store
  const folder = archiveFolder(join(order.dir, `archive-${size}`))
  const limit = order.small ? 5 : 200
  const from = performance.now()
  const before = 3_000_000
  const { files } = await archiveRuns(ledger, folder, { tenant, before, at: before, limit, quietMs: 0 })
  const took = performance.now() - from
  const records = files.reduce((sum, file) => sum + file.records, 0)
  const note = `${files.length} runs, ${records} records`
  tell({ metric: `archive_run@${size}`, value: took / Math.max(1, files.length), unit: 'ms', note })
  const back = performance.now()
  for (const { name } of files) await restoreRuns(ledger, folder.read(name))
  const took2 = performance.now() - back
  tell({ metric: `restore_run@${size}`, value: took2 / Math.max(1, files.length), unit: 'ms', note })
}

/** What is done again and again, each against the whole store. */
function actsOf(
  ledger: Ledger,
  at: { readonly runs: number; readonly long: Chain; readonly one: Driven; readonly size: number },
): Readonly<Record<string, (i: number) => Promise<unknown>>> {
  const { runs, long, one, size } = at
  // Spread over the whole history, the same ones each time.
  const some = (i: number): string => `r${(Math.abs(i) * 7_919) % runs}`
  const now = 2_000_000
  return {
    append: (i) => one.append(payload(resultBytes, Math.abs(i))),
    post: (i) =>
      ledger.post(
        { tenant, stream: 'inbox/none' },
        { id: `m${size}-${i}`, type: 'signal', at: 1, actor: { kind: 'person', id: 'ann' }, payload: i },
      ),
    [`replay_${longRun}`]: () => ledger.read(long.ref, { outline: true }),
    read_run: (i) => ledger.read({ tenant, stream: `run/${some(i)}` }),
    run: (i) => ledger.run({ tenant, stream: `run/${some(i)}` }),
    runs_newest: () => ledger.runs({ tenant, limit: 50 }),
    runs_parked: () => ledger.runs({ tenant, status: ['parked'], limit: 50 }),
    runs_unfinished: () => ledger.runs({ tenant, status: ['queued', 'running', 'parked', 'stopped'], limit: 50 }),
    runs_workflow: () => ledger.runs({ tenant, workflow: 'w7', limit: 50 }),
    runs_tag: () => ledger.runs({ tenant, tag: 'customer 7', limit: 50 }),
    runs_page: (i) => ledger.runs({ tenant, before: some(i), limit: 50 }),
    approvals_open: () => ledger.approvals({ tenant, status: 'pending', limit: 50 }),
    approvals_run: (i) => ledger.approvals({ tenant, run: some(i) }),
    ready: () => ledger.ready({ now, limit: 50 }),
    ready_tenant: () => ledger.ready({ now, limit: 50, tenant }),
    next_due: () => ledger.nextDue(now),
    dependents: (i) => ledger.dependents(tenant, `run/${some(i)}@1`),
  }
}

interface Driven {
  append(text: string): Promise<void>
}

async function claimed(ledger: Ledger, id: string): Promise<Driven> {
  const chain = createChain({ tenant, stream: `run/${id}` })
  const started = { type: 'run.started', at: 1, payload: { workflow: 'driven', version: '1', notBefore: 9e12 } }
  await ledger.append([{ ref: chain.ref, epoch: 0, records: [chain.next(started)] }])
  const claim = await ledger.claim(chain.ref, 'w')
  chain.follow(claim)
  return {
    append: async (text) => {
      const record = chain.next({ type: 'step.completed', path: `s${chain.head.seq}`, payload: { text } })
      await ledger.append([{ ref: chain.ref, epoch: claim.epoch, records: [record] }])
    },
  }
}

async function oneLongRun(ledger: Ledger): Promise<Chain> {
  const chain = createChain({ tenant, stream: 'run/long' })
  const records = [chain.next({ type: 'run.started', at: 0, payload: { workflow: 'long', version: '1' } })]
  for (let i = 1; i < longRun - 1; i++) records.push(stepOf(chain, i))
  records.push(chain.next({ type: 'run.completed', payload: {} }))
  await ledger.append([{ ref: chain.ref, epoch: 0, records }])
  return chain
}

function stepOf(chain: Chain, i: number): ReturnType<Chain['next']> {
  return chain.next({ type: 'step.completed', path: `s${i}`, payload: { text: payload(resultBytes, i) } })
}

/** The first ones stay in hand: a third each is due, waits for a time, waits for a person. All others have ended. */
async function fill(ledger: Ledger, i: number): Promise<void> {
  const ref = { tenant, stream: `run/r${i}` }
  const chain = createChain(ref)
  const at = 1_000 + i
  const open = i < inHand
  const tags = [`customer ${i % 20}`]
  const payload = { workflow: `w${i % 20}`, version: '1', tags, priority: i % 3, notBefore: open ? 1_000_000 + i : at }
  const records = [chain.next({ type: 'run.started', at, payload })]
  if (i % 10 === 0 || open) {
    const request = { id: `a${i}`, kind: 'call', title: 'pay', action: { amount: '1.00' }, actionHash: 'h' }
    records.push(chain.next({ type: 'approval.requested', at, payload: request }))
    if (!open || i % 3 !== 0) records.push(chain.next({ type: 'approval.withdrawn', at, payload: { id: `a${i}` } }))
  }
  while (records.length < perRun - 1) records.push(stepOf(chain, records.length))
  if (!open) records.push(chain.next({ type: 'run.completed', at, payload: {} }))
  else if (i % 3 === 0) records.push(chain.next({ type: 'run.parked', payload: { kind: 'person' } }))
  else if (i % 3 === 1)
    records.push(chain.next({ type: 'run.parked', payload: { kind: 'timer', next: 3_000_000 + i } }))
  else records.push(stepOf(chain, records.length))
  await ledger.append([{ ref, epoch: 0, records }])
}
