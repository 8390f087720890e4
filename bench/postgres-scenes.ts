/** The child's half of postgres.ts: an app whose ledger and queue are on the Postgres that BENCH_POSTGRES_URL names. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { openPostgresLedger, postgresDispatcher } from '@convoke/postgres'
import { setTimeout as sleep } from 'node:timers/promises'
import { convoke, workflow, type App } from 'convoke'
import pg from 'pg'
import { chainOf, go, waitOf } from './flows.ts'
import { eachOf, type Order, type Scenes } from './harness.ts'
import { peakRss } from './limits.ts'
import { median, quantile } from './quantile.ts'
import { payload } from './report.ts'
import { resultOf } from './results.ts'

const lanes = 100
const stepsOfRun = 10

function urlOfRun(): string {
  const url = process.env['BENCH_POSTGRES_URL'] ?? ''
  if (url === '') throw new Error('BENCH_POSTGRES_URL is not set: postgres.ts starts Postgres and sets it')
  return url
}

function open(
  concurrency: number,
  options: { readonly drives?: boolean; readonly began?: (i: number) => void } = {},
): App {
  const url = urlOfRun()
  return convoke({
    store: () => openPostgresLedger({ url }),
    dispatcher: (ledger, clock) =>
      postgresDispatcher({ ledger, clock, concurrency, config: { connectionString: url } }),
    workflows: {
      chain: chainOf((_run, i) => {
        options.began?.(i)
        return resultOf(i, 1024)
      }),
      wait: waitOf(() => resultOf(0, 1024)),
      stamp,
    },
    drives: options.drives ?? true,
  })
}

/** Tells when its first step began, wherever that was. */
const stamp = workflow({ name: 'stamp' }, (run) => run.step('now', () => Date.now()))

const chain = async (app: App, run: string, steps: number): Promise<unknown> =>
  (await app.start('chain', steps, { id: run })).result()

/** Milliseconds that the database itself takes for one row of 1 KB, committed, over a connection of its own. */
async function commits(count: number): Promise<number[]> {
  const client = new pg.Client(urlOfRun())
  await client.connect()
  await client.query('CREATE TABLE IF NOT EXISTS bench_commits(id bigserial PRIMARY KEY, text text NOT NULL)')
  const took: number[] = []
  for (let i = 0; i < count; i++) {
    const from = performance.now()
    await client.query({ name: 'one', text: 'INSERT INTO bench_commits(text) VALUES ($1)', values: [payload(1024, i)] })
    took.push(performance.now() - from)
  }
  await client.end()
  return took
}

export const scenes: Scenes = {
  /** One run of steps in sequence; the database's own commit time is measured inside it, between slices. */
  async chain({ size }, tell) {
    const began: number[] = []
    let current = false
    const app = open(64, { began: (i) => current && (began[i] = performance.now()) })
    await chain(app, 'warm-up', 50)
    const own: number[] = []
    const steps: number[] = []
    const slices = 4
    let total = 0
    for (let n = 0; n < slices; n++) {
      own.push(...(await commits(25)))
      current = true
      began.length = 0
      // One step more, which begins when the last that counts is on disk.
      await chain(app, `chain-${n}`, size / slices + 1)
      current = false
      for (let i = 1; i < began.length; i++) steps.push((began[i] as number) - (began[i - 1] as number))
      total += (began.at(-1) as number) - (began[0] as number)
    }
    own.push(...(await commits(25)))
    const against = `one commit of 1 KB (p50 ${median(own).toFixed(2)} ms, p99 ${quantile(own, 0.99).toFixed(2)} ms)`
    tell({ metric: 'steps_per_s', value: (size / total) * 1000, unit: 'steps/s' })
    tell({ metric: 'step_p50', value: median(steps), unit: 'ms', ratio: median(steps) / median(own), against })
    const [p99, own99] = [quantile(steps, 0.99), quantile(own, 0.99)]
    tell({ metric: 'step_p99', value: p99, unit: 'ms', ratio: p99 / own99, against })
    await app.close()
  },

  /** A chain and nothing else, for counting what goes over the wire. */
  async wire({ size }) {
    const app = open(64)
    await chain(app, 'warm-up', 5)
    await chain(app, 'chain', size)
    await app.close()
  },

  async concurrent({ size }, tell) {
    const app = open(size)
    await chain(app, 'warm-up', stepsOfRun)
    const cpu = process.cpuUsage()
    const from = performance.now()
    await Promise.all(Array.from({ length: size }, (_, i) => chain(app, `run-${i}`, stepsOfRun)))
    const ms = performance.now() - from
    const used = process.cpuUsage(cpu).user / (size * stepsOfRun)
    tell({ metric: 'user_us_per_step', value: used, unit: 'µs', note: 'CPU of all threads' })
    tell({ metric: 'steps_per_s', value: ((size * stepsOfRun) / ms) * 1000, unit: 'steps/s' })
    tell({ metric: 'peak_mb', value: peakRss(), unit: 'MB' })
    await app.close()
  },

  /** Drives until its input ends. */
  async worker(_order, tell) {
    const app = open(64)
    await app.work()
    tell({ metric: 'ready', value: 1, unit: '' })
    await once(process.stdin.resume(), 'end')
    await app.close()
  },

  /** This process starts the runs and waits for them; workers in other processes drive them. */
  async spread(order, tell) {
    const count = Number(process.env['BENCH_WORKERS'])
    const workers = await Promise.all(Array.from({ length: count }, () => startWorker(order)))
    const app = open(1, { drives: false })
    await eachOf(
      Array.from({ length: 2 * count }, (_, i) => i),
      lanes,
      (i) => chain(app, `warm-up-${i}`, 2),
    )
    const from = performance.now()
    await eachOf(
      Array.from({ length: order.size }, (_, i) => i),
      order.size,
      (i) => chain(app, `run-${i}`, stepsOfRun),
    )
    const ms = performance.now() - from
    const note = 'from the first start to the last result, seen by a process that drives nothing'
    tell({ metric: 'steps_per_s', value: ((order.size * stepsOfRun) / ms) * 1000, unit: 'steps/s', note })
    for (const worker of workers) worker.stdin?.end()
    await Promise.all(workers.map((worker) => once(worker, 'exit')))
    await app.close()
  },

  /** From before a run is started here until its first step begins in a worker that had nothing to do. */
  async wake(order, tell) {
    const worker = await startWorker(order)
    const app = open(1, { drives: false })
    const took: number[] = []
    for (let i = 0; i < order.size + 10; i++) {
      const from = Date.now()
      const handle = await app.start(stamp, undefined, { id: `stamp-${i}` })
      const began = (await handle.result()) as number
      if (i >= 10) took.push(began - from)
      await sleep(20 + (i % 7) * 10)
    }
    const note = 'the commit of its start and the claim included'
    tell({ metric: 'ms_p50', value: median(took), unit: 'ms', note })
    tell({ metric: 'ms_p99', value: quantile(took, 0.99), unit: 'ms', note })
    worker.stdin?.end()
    await once(worker, 'exit')
    await app.close()
  },

  async parked({ size }, tell) {
    const app = open(64)
    const park = async (run: string): Promise<unknown> => (await app.start('wait', null, { id: run })).settled()
    const wake = async (run: string): Promise<void> => {
      const handle = await app.run(run)
      await handle.signal(go, { sent: 0 })
      await handle.result()
    }
    await park('warm-up')
    await wake('warm-up')
    const runs = Array.from({ length: size }, (_, i) => `run-${i}`)
    const from = performance.now()
    await eachOf(runs, lanes, park)
    tell({ metric: 'ms_to_park_all', value: performance.now() - from, unit: 'ms' })
    const before = performance.now()
    await eachOf(runs, lanes, wake)
    tell({ metric: 'ms_to_wake_all', value: performance.now() - before, unit: 'ms' })
    await app.close()
  },
}

async function startWorker(order: Order): Promise<ReturnType<typeof spawnWorker>> {
  const worker = spawnWorker(order)
  await once(worker.stdio[3] as NodeJS.ReadableStream, 'data')
  return worker
}

function spawnWorker(order: Order) {
  const told = JSON.stringify({ ...order, scene: 'worker' })
  const program = [...process.execArgv, join(import.meta.dirname, 'child.ts'), told]
  return spawn(process.execPath, program, { stdio: ['pipe', 'ignore', 'inherit', 'pipe'] })
}
