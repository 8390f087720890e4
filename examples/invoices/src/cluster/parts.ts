import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@convoke/postgres/embedded'
import { startEmbeddedRestate, type EmbeddedRestate } from '@convoke/restate/embedded'
import { startErp, type Erp } from '../erp/start.ts'

// A cluster on one machine: Postgres and an engine, the ERP and workers, each a process of its own on loopback. Owns all
// of them and the folder they lie in, until `close`.

export type Engine = 'restate' | 'postgres'

export interface ServersOptions {
  /** What hands out runs. */
  readonly engine: Engine
  /** Servers of the engine: 3 replicate everything twice. 1 unless said. */
  readonly nodes?: 1 | 3
}

export interface Servers {
  readonly postgres: EmbeddedPostgres
  readonly restate: EmbeddedRestate | undefined
  close(): Promise<void>
}

export interface ClusterOptions {
  /** Shared with other clusters: each has a database and a tenant of its own. */
  readonly servers: Servers
  readonly tenant: string
  readonly workers: number
  /** More environment for the n-th worker's first incarnation, such as where it is to crash. */
  readonly env?: (worker: number) => Readonly<Record<string, string>>
  readonly leaseMs?: number
}

export interface ClusterWorker {
  readonly pid: number
  /** Resolves with the signal that ended it. */
  readonly ended: Promise<NodeJS.Signals | null>
  kill(signal: NodeJS.Signals): void
}

export interface Cluster {
  readonly store: string
  readonly engine: string
  readonly tenant: string
  readonly erp: Erp
  readonly erpData: string
  readonly servers: Servers
  readonly workers: ClusterWorker[]
  /** Starts one more worker and waits until it drives. */
  addWorker(env?: Readonly<Record<string, string>>): Promise<ClusterWorker>
  /** Ends workers and ERP; the servers stay. */
  close(): Promise<void>
}

const readyMs = 60_000

/** Closes what was opened, last first, whatever fails on the way. */
function closer(): { readonly ends: (() => Promise<void>)[]; readonly close: () => Promise<void> } {
  const ends: (() => Promise<void>)[] = []
  return {
    ends,
    close: async () => {
      for (const end of ends.splice(0).toReversed()) await end().catch(() => undefined)
    },
  }
}

export async function startServers(options: ServersOptions): Promise<Servers> {
  const { ends, close } = closer()
  try {
    const [postgres, restate] = await Promise.all([
      startEmbeddedPostgres().then((started) => (ends.push(() => started.close()), started)),
      options.engine === 'restate'
        ? startEmbeddedRestate({ nodes: options.nodes ?? 1 }).then((its) => (ends.push(() => its.close()), its))
        : undefined,
    ])
    return { postgres, restate, close }
  } catch (error) {
    await close()
    throw error
  }
}

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { servers, tenant } = options
  const { ends, close } = closer()
  try {
    const folder = await mkdtemp(join(tmpdir(), 'convoke-cluster-'))
    ends.push(() => rm(folder, { recursive: true, force: true }))
    const erpData = join(folder, 'erp')
    const outbox = join(folder, 'outbox')
    await mkdir(outbox, { recursive: true })
    const erp = await startErp({ dataDir: erpData })
    ends.push(() => erp.stop())
    const store = await servers.postgres.newDatabase()
    const engine = servers.restate?.url ?? 'postgres'
    const workers: ClusterWorker[] = []
    const addWorker = async (env: Readonly<Record<string, string>> = {}): Promise<ClusterWorker> => {
      const worker = await startWorker({
        CONVOKE_STORE: store,
        CONVOKE_ENGINE: engine,
        CONVOKE_TENANT: tenant,
        CLUSTER_ERP: erp.url,
        CLUSTER_OUTBOX: outbox,
        ...(options.leaseMs === undefined ? {} : { CLUSTER_LEASE_MS: String(options.leaseMs) }),
        ...env,
      })
      workers.push(worker)
      ends.push(async () => {
        worker.kill('SIGKILL')
        await worker.ended
      })
      return worker
    }
    // The first prepares the database; the others find it prepared.
    for (let n = 0; n < options.workers; n++) await addWorker(options.env?.(n))
    return { store, engine, tenant, erp, erpData, servers, workers, addWorker, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function startWorker(env: Readonly<Record<string, string>>): Promise<ClusterWorker> {
  const program = fileURLToPath(new URL('./worker.ts', import.meta.url))
  const child = spawn(process.execPath, [program], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (said = (said + chunk).slice(-4_000)))
  const ended = once(child, 'close').then(([, signal]) => signal as NodeJS.Signals | null)
  await isReady(child, ended, () => said)
  return { pid: child.pid ?? 0, ended, kill: (signal) => void child.kill(signal) }
}

/** A worker that is to crash while it starts is ready by having crashed. */
async function isReady(child: ChildProcess, ended: Promise<NodeJS.Signals | null>, said: () => string): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`a worker was not ready after ${readyMs / 1_000} s: ${said()}`))
    }, readyMs)
  })
  const ready = new Promise<void>((resolve) => {
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => chunk.includes('ready') && resolve())
  })
  const over = ended.then((signal) => {
    if (signal !== 'SIGKILL') throw new Error(`a worker ended before it was ready: ${said()}`)
  })
  try {
    await Promise.race([ready, over, late])
  } finally {
    clearTimeout(timer)
    over.catch(() => undefined)
  }
}
