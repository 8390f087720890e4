/**
 * Which job library a dispatcher on Postgres should stand on: how soon a waiting worker has a new job, how many jobs go
 * through, and how soon another worker takes over from one that was killed or stopped while it held a job.
 *
 *     node queues.ts [seconds to wait for a take-over; 60 unless said]
 *
 * A worker is a process of its own (this file with `worker`). Times are read on one machine's one clock.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeWorkerUtils, run as graphileRun } from 'graphile-worker'
import pg from 'pg'
import { PgBoss } from 'pg-boss'
import { startPostgres } from './postgres.ts'

interface Library {
  /** Makes tables and queue; once. */
  prepare(): Promise<void>
  /** Takes jobs and calls `on` for each until the process ends. */
  work(on: (job: Job) => Promise<void>): Promise<void>
  add(jobs: readonly Job[]): Promise<void>
  close(): Promise<void>
}

interface Job {
  readonly id: string
  /** The worker holds it for ever. */
  readonly hold?: boolean
}

/** Everything at the shortest time that the library accepts. */
function pgBoss(url: string): Library {
  const boss = new PgBoss({
    connectionString: url,
    useListenNotify: true,
    superviseIntervalSeconds: 1,
    monitorIntervalSeconds: 1,
    maintenanceIntervalSeconds: 1,
    schedule: false,
  })
  boss.on('error', () => undefined)
  let started: Promise<unknown> | undefined
  const start = (): Promise<unknown> => (started ??= boss.start())
  return {
    async prepare() {
      await start()
      await boss.createQueue('runs', { notify: true, heartbeatSeconds: 10, retryLimit: 100, deleteAfterSeconds: 1 })
    },
    async work(on) {
      await start()
      const options = { batchSize: 1, localConcurrency: 32, pollingIntervalSeconds: 0.5, heartbeatRefreshSeconds: 2 }
      await boss.work<Job>('runs', { ...options, burstWhenReadyExceeds: 1 }, async ([job]) => {
        if (job !== undefined) await on(job.data)
      })
    },
    async add(jobs) {
      await start()
      await boss.insert('runs', jobs.map((data) => ({ data })))
    },
    close: () => boss.stop({ graceful: false }),
  }
}

/** Jobs are taken in batches through `fetch` and deleted at once; a notification of our own says that there are some. */
function pgBossFetch(url: string): Library {
  const boss = new PgBoss({ connectionString: url, schedule: false })
  boss.on('error', () => undefined)
  let started: Promise<unknown> | undefined
  const start = (): Promise<unknown> => (started ??= boss.start())
  return {
    async prepare() {
      await start()
      await boss.createQueue('runs', { policy: 'short', retryLimit: 0, expireInSeconds: 1, deleteAfterSeconds: 1 })
    },
    async work(on) {
      await start()
      const client = new pg.Client(url)
      await client.connect()
      let taking = false
      let again = false
      const take = async (): Promise<void> => {
        again = true
        if (taking) return
        taking = true
        while (again) {
          again = false
          const jobs = await boss.fetch<Job>('runs', { batchSize: 32 })
          if (jobs.length === 0) break
          again = true
          await boss.deleteJob('runs', jobs.map(({ id }) => id))
          for (const { data } of jobs) void on(data)
        }
        taking = false
      }
      client.on('notification', () => void take())
      await client.query('LISTEN runs')
      void take()
    },
    async add(jobs) {
      await start()
      await boss.insert('runs', jobs.map((data) => ({ data, singletonKey: data.id })))
      await boss.getDb().executeSql("SELECT pg_notify('runs', '')")
    },
    close: () => boss.stop({ graceful: false }),
  }
}

function graphile(url: string): Library {
  const utils = makeWorkerUtils({ connectionString: url, logger: undefined as never })
  return {
    prepare: async () => (await utils).migrate(),
    async work(on) {
      await graphileRun({
        connectionString: url,
        concurrency: 32,
        pollInterval: 500,
        noHandleSignals: true,
        taskList: { runs: (job) => on(job as Job) },
      })
    },
    async add(jobs) {
      await (await utils).addJobs(jobs.map((payload) => ({ identifier: 'runs', payload })))
    },
    close: async () => (await utils).release(),
  }
}

const libraries: Record<string, (url: string) => Library> = { 'pg-boss 12.35.0': pgBoss, 'pg-boss 12.35.0, fetch': pgBossFetch, 'graphile-worker 0.18.0': graphile }
const [mode = '60', name = '', url = ''] = process.argv.slice(2)

if (mode === 'worker') {
  await libraries[name]?.(url).work(async ({ id, hold }) => {
    process.send?.({ id, at: Date.now() })
    if (hold === true) await new Promise(() => undefined)
  })
  process.send?.({ ready: true })
} else {
  process.env['GRAPHILE_LOGGER_DEBUG'] = ''
  for (const one of Object.keys(libraries)) await measure(one, Number(mode) * 1000)
}

async function measure(library: string, patience: number): Promise<void> {
  const server = await startPostgres()
  const queue = (libraries[library] as (url: string) => Library)(server.url)
  const workers = new Set<ChildProcess>()
  const taken: { id: string; at: number; by: ChildProcess }[] = []
  const worker = async (): Promise<ChildProcess> => {
    const child = fork(import.meta.filename, ['worker', library, server.url], { silent: true })
    workers.add(child)
    child.on('message', (message: { id?: string; at?: number }) => {
      if (message.id !== undefined) taken.push({ id: message.id, at: message.at ?? NaN, by: child })
    })
    for (;;) if (((await once(child, 'message'))[0] as { ready?: true }).ready === true) return child
  }
  const whenTaken = async (id: string, not: ChildProcess | undefined, ms: number) => {
    for (const end = Date.now() + ms; Date.now() < end; await sleep(1)) {
      const found = taken.find((one) => one.id === id && one.by !== not)
      if (found !== undefined) return found
    }
    return undefined
  }
  try {
    await queue.prepare()
    await worker()
    const latencies: number[] = []
    for (let i = 0; i < 110; i++) {
      const from = Date.now()
      await queue.add([{ id: `wake-${i}` }])
      const found = await whenTaken(`wake-${i}`, undefined, 10_000)
      if (i >= 10) latencies.push((found?.at ?? NaN) - from)
      await sleep(20 + (i % 7) * 10)
    }
    latencies.sort((a, b) => a - b)
    console.log(`${library}: wake p50 ${latencies[49]} ms, p99 ${latencies[98]} ms`)
    const many = Array.from({ length: 2000 }, (_, i) => ({ id: `many-${i}` }))
    const from = Date.now()
    await queue.add(many)
    while (taken.filter(({ id }) => id.startsWith('many-')).length < many.length && Date.now() < from + 60_000) await sleep(5)
    console.log(`${library}: ${Math.round((2000 / (Date.now() - from)) * 1000)} jobs/s, one worker of 32 places`)
    for (const [how, signal] of [['killed', 'SIGKILL'], ['stopped', 'SIGSTOP']] as const) {
      await queue.add([{ id: how, hold: true }])
      const first = await whenTaken(how, undefined, 10_000)
      await worker()
      const at = Date.now()
      first?.by.kill(signal)
      const second = await whenTaken(how, first?.by, patience)
      const took = second === undefined ? `not within ${patience / 1000} s` : `${((second.at - at) / 1000).toFixed(1)} s`
      console.log(`${library}: taken over from a ${how} worker: ${took}`)
    }
  } finally {
    for (const child of workers) child.kill('SIGKILL')
    await queue.close().catch(() => undefined)
    await server.stop()
  }
}
