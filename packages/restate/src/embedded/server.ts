import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConvokeError } from 'convoke/adapter'
import { serverBinary } from './binary.ts'
import { configuration, type NodePorts } from './configuration.ts'
import { guard } from './guardian.ts'

// A real Restate of one program's own, for tests, examples and first steps. Owns: its folder (data, logs) until `close`,
// and the servers' processes.
//
// 1. Servers listen on 127.0.0.1 only and never outlive this process: a guardian shell ends them when our end of a pipe
//    is gone.
// 2. Ports and data stay the same from the first start to `close`, whatever happens to a server in between.
// 3. Every wait is bounded; what failed says what the server's log says.

const startMs = 60_000

export interface EmbeddedRestateOptions {
  /** 1 (unless said), or 3: a cluster that writes everything to two of its nodes and goes on without any one of them. */
  readonly nodes?: 1 | 3
  /** Of the log; 4 unless said. */
  readonly partitions?: number
  /** `false` loses data when the machine loses power (a killed server loses nothing), and is faster. True unless said. */
  readonly fsync?: boolean
  /** Appended to each node's configuration, as TOML. */
  readonly settings?: string
}

export interface EmbeddedNode {
  /** `http://127.0.0.1:port` of what takes messages, and of what takes registrations. */
  readonly ingress: string
  readonly admin: string
  /** Of its process while it runs. */
  readonly pid: number | undefined
  /** SIGKILL. Data and ports stay. */
  kill(): Promise<void>
  /** Starts it again if it does not run. */
  start(): Promise<void>
  /** What it has written to its log so far. */
  log(): Promise<string>
}

export interface EmbeddedRestate {
  /** `restate://127.0.0.1:port?admin=…` of the first node: what `--engine` takes. */
  readonly url: string
  readonly ingress: string
  readonly admin: string
  readonly nodes: readonly EmbeddedNode[]
  /** SIGKILL to all nodes. */
  kill(): Promise<void>
  /** Starts all nodes that do not run. */
  start(): Promise<void>
  /** Ends all and removes everything. */
  close(): Promise<void>
}

/**
 * Starts a Restate from the program that `@restatedev/restate-server` brings, in a temporary folder, on free ports of
 * 127.0.0.1. One node takes half a second, three a few seconds.
 * @throws ENGINE_UNREACHABLE when the program is not installed or does not start
 */
export async function startEmbeddedRestate(options: EmbeddedRestateOptions = {}): Promise<EmbeddedRestate> {
  const binary = serverBinary()
  const count = options.nodes ?? 1
  const dir = await mkdtemp(join(tmpdir(), 'convoke-restate-'))
  const guardian = guard(dir)
  const nodes: EmbeddedNode[] = []

  async function close(): Promise<void> {
    try {
      await Promise.all(nodes.map((node) => node.kill()))
      await rm(dir, { recursive: true, force: true, maxRetries: 5 })
    } finally {
      guardian.leave()
    }
  }

  try {
    const ports = await freePorts(count * 3)
    const all: NodePorts[] = Array.from({ length: count }, (_, i) => ({
      fabric: ports[3 * i] as number,
      ingress: ports[3 * i + 1] as number,
      admin: ports[3 * i + 2] as number,
    }))
    for (let i = 0; i < count; i++) {
      const folder = join(dir, `node${i + 1}`)
      await mkdir(folder)
      await writeFile(join(folder, 'restate.toml'), configuration(i, all, options))
      nodes.push(createNode(binary, folder, all[i] as NodePorts, (pid) => guardian.watch(pid)))
    }
    // The first makes the cluster, the others join it.
    await Promise.all(nodes.map((node) => node.start()))
  } catch (error) {
    await close()
    throw error
  }
  const { ingress, admin } = nodes[0] as EmbeddedNode
  return {
    url: `restate://${new URL(ingress).host}?admin=${new URL(admin).host}`,
    ingress,
    admin,
    nodes,
    kill: async () => void (await Promise.all(nodes.map((node) => node.kill()))),
    start: async () => void (await Promise.all(nodes.map((node) => node.start()))),
    close,
  }
}

function createNode(binary: string, folder: string, ports: NodePorts, watch: (pid: number) => void): EmbeddedNode {
  const ingress = `http://127.0.0.1:${ports.ingress}`
  const admin = `http://127.0.0.1:${ports.admin}`
  const file = join(folder, 'log')
  const log = (): Promise<string> => readFile(file, 'utf8').catch(() => '')
  let server: ChildProcess | undefined
  let ended: Promise<void> = Promise.resolve()

  async function kill(): Promise<void> {
    // What is waited for has to keep the process alive.
    server?.ref()
    server?.kill('SIGKILL')
    await ended
  }

  return {
    ingress,
    admin,
    get pid() {
      return server?.pid
    },
    log,
    kill,
    async start() {
      if (server !== undefined) return
      const out = openSync(file, 'a', 0o600)
      try {
        server = spawn(binary, ['--config-file', join(folder, 'restate.toml'), '--base-dir', join(folder, 'data')], {
          cwd: folder,
          // Settings in the environment are for the user's own server.
          env: { PATH: process.env['PATH'], HOME: folder },
          stdio: ['ignore', out, out],
          detached: true,
        })
      } finally {
        closeSync(out)
      }
      const its = server
      ended = new Promise((resolve) => {
        const over = (): void => {
          if (server === its) server = undefined
          resolve()
        }
        its.once('exit', over)
        its.once('error', over)
      })
      if (its.pid !== undefined) watch(its.pid)
      its.unref()
      const until = performance.now() + startMs
      while (server === its && performance.now() < until) {
        if ((await answers(`${admin}/health`)) && (await answers(`${ingress}/restate/health`))) return
        await sleep(25)
      }
      await kill()
      throw new ConvokeError('ENGINE_UNREACHABLE', 'the embedded Restate did not start', {
        details: { ports: { ...ports }, log: (await log()).slice(-2_000) },
        next: 'read the end of its log in the details',
      })
    },
  }
}

async function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(2_000) }).then(
    async (response) => {
      await response.arrayBuffer()
      return response.ok
    },
    () => false,
  )
}

/** Below what systems hand out to clients, so that they are still free when a killed server comes back. */
async function freePorts(count: number): Promise<number[]> {
  const found = new Set<number>()
  for (let tries = 0; tries < 200 && found.size < count; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    if (!found.has(port) && (await isFree(port))) found.add(port)
  }
  if (found.size === count) return [...found]
  throw new ConvokeError('ENGINE_UNREACHABLE', 'no free ports between 20000 and 32000 on 127.0.0.1')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
