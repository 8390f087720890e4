/**
 * The simulation against the real thing: processes that append on one embedded Postgres, all on this machine, beside
 * what the simulation says of the same with the same costs. The error is the answer; nothing is tuned to it.
 */
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { openPostgresLedger } from '@convoke/postgres'
import { startEmbeddedPostgres } from '@convoke/postgres/embedded'
import { type Bench, type Outcome, type Scene } from '../harness.ts'
import { median, quantile } from '../quantile.ts'
import type { Calibrated } from './calibrate.ts'
import { simulate, type Result } from './model.ts'
import { paramsOf } from './params.ts'
import { connectTo, type Client } from './postgres.ts'
import { openWriter } from './writers.ts'

export interface Validation {
  readonly workers: number
  /** Runs that each worker drives, without any time between two steps. */
  readonly runs: number
  readonly measured: { readonly stepsPerS: number; readonly p50: number; readonly p99: number }
  readonly simulated: Result
  /** What the machine was during the measurement, and the simulation is told: cores that others left, mean sync. */
  readonly cores: number
  readonly flushMs: number
}

const waitMs = 30_000

/** One worker: `size` runs that append one record after the other for some seconds. */
export const appender: Scene = async ({ dir, size, small }, tell) => {
  const ledger = await openPostgresLedger({ url: readFileSync(join(dirname(dir), 'url'), 'utf8'), leaseMs: 60_000 })
  try {
    const worker = `worker-${process.pid}`
    await ledger.register(worker)
    const writers = await Promise.all(
      Array.from({ length: size }, (_, n) => openWriter(ledger, `${worker}-${n}`, worker)),
    )
    for (let n = 0; n < 20; n++) await Promise.all(writers.map((writer) => writer.step()))
    tell({ metric: 'ready', value: 1, unit: '' })
    const until = performance.now() + waitMs
    while (!existsSync(join(dirname(dir), 'go')) && performance.now() < until) await sleep(5)
    const times: number[] = []
    const from = performance.now()
    const end = from + (small ? 300 : 2_000)
    await Promise.all(
      writers.map(async (writer) => {
        while (performance.now() < end) {
          const began = performance.now()
          await writer.step()
          times.push(performance.now() - began)
        }
      }),
    )
    tell({ metric: 'steps_per_s', value: (times.length / (performance.now() - from)) * 1000, unit: 'steps/s' })
    tell({ metric: 'p50', value: median(times), unit: 'ms' })
    tell({ metric: 'p99', value: quantile(times, 0.99), unit: 'ms' })
  } finally {
    await ledger.close()
  }
}

export async function validate(bench: Bench, calibrated: Calibrated): Promise<Validation[]> {
  const cases = bench.small ? [[1, 4]] : [1, 50].flatMap((runs) => [1, 2, 4].map((workers) => [workers, runs]))
  const all: Validation[] = []
  for (const [workers = 1, runs = 1] of cases) all.push(await compare(bench, calibrated, workers, runs))
  return all
}

async function compare(bench: Bench, calibrated: Calibrated, workers: number, runs: number): Promise<Validation> {
  const postgres = await startEmbeddedPostgres({ settings: { track_wal_io_timing: 'on' } })
  const sql = await connectTo(postgres.url)
  try {
    return await bench.inFolder(async (dir) => {
      writeFileSync(join(dir, 'url'), postgres.url)
      let began: Promise<Marks> | undefined
      let waiting = workers
      const before = await coresLeft()
      const outcomes = await Promise.all(
        Array.from({ length: workers }, (_, n) =>
          bench.scene('scale', 'appender', runs, join(dir, String(n)), {
            onFigure({ metric }) {
              if (metric !== 'ready' || --waiting > 0) return
              began = marks(sql)
              void began.then(() => writeFileSync(join(dir, 'go'), ''))
            },
          }),
        ),
      )
      const ended = await marks(sql)
      const from = (await began) ?? ended
      const values = (metric: string): number[] => outcomes.map((outcome) => valueOf(outcome, metric))
      const total = availableParallelism()
      const syncs = ended.syncs - from.syncs
      const flushMs = syncs > 0 ? (ended.syncMs - from.syncMs) / syncs : calibrated.flushMs
      const cores = (before + (await coresLeft())) / 2
      const speed = cores / total
      const { stepCpuMs, callCpuMs } = calibrated
      const simulated = simulate(
        paramsOf(
          { ...calibrated, flushMs, flushMsPerKb: 0, stepCpuMs: stepCpuMs / speed, callCpuMs: callCpuMs / speed },
          {
            workers,
            runs: workers * runs,
            concurrency: runs,
            thinkMs: 0,
            stepsPerDrive: Infinity,
            // Loopback has no way of its own; what a query costs both sides is counted as CPU.
            rttMs: calibrated.roundTripMs / 2,
            sharedCores: total,
            coreSpeed: speed,
            warmMs: 500,
            measureMs: bench.small ? 300 : 3_000,
          },
        ),
      )
      const measured = {
        stepsPerS: values('steps_per_s').reduce((sum, one) => sum + one, 0),
        p50: median(values('p50')),
        p99: Math.max(...values('p99')),
      }
      return { workers, runs, measured, simulated, cores, flushMs }
    })
  } finally {
    await sql.end()
    await postgres.close()
  }
}

function valueOf(outcome: Outcome, metric: string): number {
  const value = outcome.figures.find((figure) => figure.metric === metric)?.value
  if (typeof value !== 'number') throw new Error(`a worker gave no ${metric}: ${outcome.failure ?? 'no reason'}`)
  return value
}

/** Syncs of the log, and their time with the writes before them in ms, as Postgres counts them. */
interface Marks {
  readonly syncs: number
  readonly syncMs: number
}

async function marks(sql: Client): Promise<Marks> {
  const { rows } = await sql.query(
    "SELECT sum(fsyncs) AS syncs, sum(fsync_time + write_time) AS ms FROM pg_stat_io WHERE object = 'wal'",
  )
  return { syncs: Number(rows[0]?.['syncs'] ?? 0), syncMs: Number(rows[0]?.['ms'] ?? 0) }
}

/** Cores that this program gets when it asks for all, beside whatever else runs here. */
async function coresLeft(): Promise<number> {
  const spin = 'const end = performance.now() + 200; while (performance.now() < end);'
  const cpu = process.cpuUsage()
  const from = performance.now()
  await Promise.all(
    Array.from({ length: availableParallelism() }, async () => once(new Worker(spin, { eval: true }), 'exit')),
  )
  const { user, system } = process.cpuUsage(cpu)
  return Math.min(availableParallelism(), (user + system) / 1000 / (performance.now() - from))
}
