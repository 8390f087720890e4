/**
 * Measures what the simulation is told of Postgres and of our ledger on it: CPU of the server for each kind of call (from
 * the kernel's accounts, not from latency), the log's sync, bytes, notifications, memory of a connection. One Postgres,
 * a few seconds. What the machine's other work takes away shows in times, hardly in CPU.
 */
import { randomBytes } from 'node:crypto'
import { openPostgresLedger } from '@convoke/postgres'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@convoke/postgres/embedded'
import { createChain } from 'convoke/testing'
import { median } from '../quantile.ts'
import { payload } from '../report.ts'
import { fitLine } from './fit.ts'
import { documented, type Calibration, type CallCosts } from './params.ts'
import { connectTo, memoryMb, serverCpuMs, type Client } from './postgres.ts'
import { openWriter, type Ledger, type Writer } from './writers.ts'

export interface Calibrated extends Calibration {
  /** Growth of all tables and indexes for each step. */
  readonly storedBytesPerStep: number
  /** A query that does nothing, there and back on loopback. */
  readonly roundTripMs: number
  /** Proportional memory of an idle connection that has appended. */
  readonly connectionMb: number | undefined
}

const text = payload(1000, 7)

export async function calibrate(small: boolean): Promise<Calibrated> {
  const postgres = await startEmbeddedPostgres()
  const times = small ? 10 : 200
  try {
    const ledger = await openPostgresLedger({ url: postgres.url, lanes: 1, leaseMs: 60_000 })
    const sql = await connectTo(postgres.url)
    try {
      await ledger.register('bench')
      const log = await measureLog(sql, times)
      const appends = await measureAppends(postgres, ledger, sql, times)
      const reads = await measureReads(postgres, ledger, sql, times)
      const costs: CallCosts = {
        ...appends.costs,
        ...(await measureOwning(postgres, appends.writers, times)),
        ...reads.costs,
        ...(await measureLeases(postgres, sql, times)),
        ...(await measureNotices(postgres, sql, small)),
        // The queue's own statements are the library's; assumed, not measured.
        jobMs: documented.costs.jobMs,
      }
      return {
        costs,
        ...log,
        walBytesPerStep: appends.walBytesPerStep,
        walBytesPerWrite: await measureSmallWrites(sql, appends.writers[0] as Writer, times),
        stepCpuMs: appends.recordCpuMs,
        callCpuMs: appends.callCpuMs,
        queryCpuMs: reads.queryCpuMs,
        storedBytesPerStep: appends.storedBytesPerStep,
        connectionMb: await measureConnections(sql),
      }
    } finally {
      await sql.end()
      await ledger.close()
    }
  } finally {
    await postgres.close()
  }
}

/** CPU of the server for one of `times` calls, one after the other. */
async function cpuOf(
  postgres: EmbeddedPostgres,
  times: number,
  call: (at: number) => Promise<unknown>,
): Promise<number> {
  await call(0)
  const before = serverCpuMs(postgres.data) ?? NaN
  for (let at = 1; at <= times; at++) await call(at)
  return Math.max(0, (serverCpuMs(postgres.data) ?? NaN) - before) / times
}

async function medianMs(times: number, call: () => Promise<unknown>): Promise<number> {
  const all: number[] = []
  for (let at = 0; at < times; at++) {
    const from = performance.now()
    await call()
    all.push(performance.now() - from)
  }
  return median(all)
}

/** A commit that is synced against one that is not, small and large. */
async function measureLog(
  sql: Client,
  times: number,
): Promise<Pick<Calibrated, 'flushMs' | 'flushMsPerKb' | 'roundTripMs'>> {
  await sql.query('CREATE TABLE synced(bytes bytea)')
  await sql.query('ALTER TABLE synced ALTER COLUMN bytes SET STORAGE EXTERNAL')
  const sync = async (bytes: Buffer, rounds: number): Promise<number> => {
    const differences: number[] = []
    for (let round = 0; round < rounds; round++) {
      const one = async (commit: string): Promise<number> => {
        await sql.query(`SET synchronous_commit = ${commit}`)
        return await medianMs(Math.ceil(times / rounds), () => sql.query('INSERT INTO synced VALUES ($1)', [bytes]))
      }
      differences.push((await one('on')) - (await one('off')))
    }
    await sql.query('SET synchronous_commit = on')
    return median(differences)
  }
  const small = await sync(randomBytes(100), 5)
  const large = await sync(randomBytes(256 * 1024), 3)
  const roundTripMs = await medianMs(times, () => sql.query('SELECT 1'))
  await sql.query('DROP TABLE synced')
  return { flushMs: Math.max(0.01, small), flushMsPerKb: Math.max(0, large - small) / 256, roundTripMs }
}

async function measureAppends(postgres: EmbeddedPostgres, ledger: Ledger, sql: Client, times: number) {
  const writers = await Promise.all(
    Array.from({ length: 100 }, (_, n) => openWriter(ledger, `calibrate-${n}`, 'bench')),
  )
  const server: [number, number][] = []
  const own: [number, number][] = []
  let steps = 0
  const round = async (size: number): Promise<void> => {
    steps += size
    await Promise.all(writers.slice(0, size).map((writer) => writer.step()))
  }
  for (let n = 0; n < 20; n++) await round(100)
  const walBefore = await logPosition(sql)
  const storedBefore = await storedBytes(sql)
  steps = 0
  for (const size of [1, 5, 20, 50, 100]) {
    const rounds = Math.ceil((times * 2) / Math.sqrt(size))
    const used = process.cpuUsage()
    server.push([size, await cpuOf(postgres, rounds, () => round(size))])
    const { user, system } = process.cpuUsage(used)
    own.push([size, (user + system) / 1000 / (rounds + 1)])
  }
  const [appendMs, recordMs] = fitLine(server)
  const [callCpuMs, recordCpuMs] = fitLine(own)
  return {
    writers,
    costs: { appendMs, recordMs },
    callCpuMs,
    recordCpuMs,
    walBytesPerStep: ((await logPosition(sql)) - walBefore) / steps,
    storedBytesPerStep: ((await storedBytes(sql)) - storedBefore) / steps,
  }
}

async function measureOwning(postgres: EmbeddedPostgres, writers: readonly Writer[], times: number) {
  const claims: [number, number][] = []
  const releases: [number, number][] = []
  for (const size of [1, 50]) {
    const some = writers.slice(0, size)
    const claim = async (): Promise<void> => {
      await Promise.all(some.map((writer) => writer.claim()))
    }
    const rounds = Math.ceil(times / Math.sqrt(size))
    const alone = await cpuOf(postgres, rounds, claim)
    const both = await cpuOf(postgres, rounds, async () => {
      await claim()
      await Promise.all(some.map((writer) => writer.release()))
    })
    claims.push([size, alone])
    releases.push([size, Math.max(0, both - alone)])
    await claim()
  }
  const [claimMs, claimEachMs] = fitLine(claims)
  const [releaseMs, releaseEachMs] = fitLine(releases)
  return { claimMs, claimEachMs, releaseMs, releaseEachMs }
}

async function measureReads(postgres: EmbeddedPostgres, ledger: Ledger, sql: Client, times: number) {
  const run = createChain({ tenant: 'local', stream: 'run/read' })
  const records = Array.from({ length: 12 }, (_, n) =>
    n === 0
      ? run.next({ type: 'run.started', payload: { workflow: 'bench', version: '1' } })
      : run.next({ type: 'step.completed', path: `step-${n}`, payload: { value: text } }),
  )
  await ledger.append([{ ref: run.ref, epoch: 0, records }])
  const historyMs = await cpuOf(postgres, times, () => ledger.read(run.ref))
  const used = process.cpuUsage()
  const inboxMs = await cpuOf(postgres, times * 3, () => ledger.read({ tenant: 'local', stream: 'inbox/read' }))
  const { user, system } = process.cpuUsage(used)
  const queryCpuMs = (user + system) / 1000 / (times * 3 + 1)
  const now = Date.now()
  const look = (limit: number) => (): Promise<unknown> => ledger.ready({ now, limit })
  await sql.query('UPDATE convoke.runs SET due = NULL')
  const nextDueMs = await cpuOf(postgres, times, () => ledger.nextDue(now))
  const none = await cpuOf(postgres, times, look(400))
  await sql.query(`INSERT INTO convoke.runs(tenant, run, stream, workflow, status, due, priority, started, doc)
    SELECT 'local', 'due-' || n, -n, 'bench', 'queued', n, 0, n, '{}' FROM generate_series(1, 400) AS n`)
  const full = await cpuOf(postgres, times, look(400))
  await sql.query("DELETE FROM convoke.runs WHERE run LIKE 'due-%'")
  const costs = { historyMs, inboxMs, nextDueMs, readyMs: none, readyRowMs: Math.max(0, full - none) / 400 }
  return { costs, queryCpuMs }
}

/** With a thousand workers' rows, as the plan has them on one server at worst. */
async function measureLeases(postgres: EmbeddedPostgres, sql: Client, times: number) {
  await sql.query(`INSERT INTO convoke.workers(id, nonce, host, pid, since, lease, expires, gone)
    SELECT 'other-' || n, '', '', 1, 0, 60000, now() + interval '1 hour', true FROM generate_series(1, 1000) AS n`)
  const renewMs = await cpuOf(postgres, times, () => sql.query("SELECT convoke.renew_1('{other-1}', '{}')"))
  const lookAfterMs = await cpuOf(postgres, times, () => sql.query('SELECT convoke.look_after_1(500)'))
  await sql.query("DELETE FROM convoke.workers WHERE id LIKE 'other-%'")
  return { renewMs, lookAfterMs }
}

async function measureNotices(postgres: EmbeddedPostgres, sql: Client, small: boolean) {
  const times = small ? 20 : 1_000
  const costs: [number, number][] = []
  const listeners: Client[] = []
  try {
    for (const count of small ? [0, 4] : [0, 20, 60]) {
      while (listeners.length < count) {
        const listener = await connectTo(postgres.url)
        listeners.push(listener)
        await listener.query('LISTEN bell')
      }
      costs.push([count, await cpuOf(postgres, times, () => sql.query("SELECT pg_notify('bell', 'x')"))])
    }
  } finally {
    await Promise.all(listeners.map((listener) => listener.end()))
  }
  const [notifyMs, listenerMs] = fitLine(costs)
  return { notifyMs, listenerMs }
}

/** Bytes of log of a claim or release. */
async function measureSmallWrites(sql: Client, writer: Writer, times: number): Promise<number> {
  const before = await logPosition(sql)
  for (let n = 0; n < times; n++) {
    await writer.claim()
    await writer.release()
  }
  return ((await logPosition(sql)) - before) / times / 2
}

async function measureConnections(sql: Client): Promise<number | undefined> {
  const { rows } = await sql.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'convoke'")
  const all = rows.map(({ pid }) => memoryMb(Number(pid))).filter((mb) => mb !== undefined)
  return all.length === 0 ? undefined : median(all)
}

async function logPosition(sql: Client): Promise<number> {
  const { rows } = await sql.query("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS bytes")
  return Number(rows[0]?.['bytes'])
}

async function storedBytes(sql: Client): Promise<number> {
  const { rows } = await sql.query(`SELECT sum(pg_total_relation_size(c.oid)) AS bytes FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'convoke' AND c.relkind = 'r'`)
  return Number(rows[0]?.['bytes'])
}
