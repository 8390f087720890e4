import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { convoke, workflow, type App, type JsonObject, type Workflow } from 'convoke'
import type { ConvokeError } from 'convoke/adapter'
import { z } from 'zod'
import {
  mcpTools,
  type HttpServer,
  type McpOptions,
  type McpServer,
  type McpTools,
  type StdioServer,
} from '../../src/index.ts'
import type { Behaviour } from './notes.ts'

// A folder for one test, with the servers, apps and stores in it. Owns the processes and apps that it started.

const conditions = '--conditions=convoke-source'

export interface Place {
  readonly dir: string
  /** A server's folder. */
  at(name: string): string
  behave(name: string, behaviour: Behaviour): void
  /** Lines that a server has written: of `calls` unless said. */
  lines(name: string, file?: string): readonly string[]
  stdio(name: string, more?: Partial<StdioServer> & { readonly how?: string }): StdioServer
  http(
    name: string,
    kind: 'sessions' | 'stateless',
    more?: { readonly port?: number; readonly token?: string },
  ): Promise<{ readonly server: HttpServer; readonly port: number; readonly child: ChildProcess }>
  open(servers: readonly McpServer[], more?: Partial<McpOptions>): Promise<McpTools>
  /** Opened again after a person accepted whatever there was. */
  accepted(servers: readonly McpServer[], more?: Partial<McpOptions>): Promise<McpTools>
  /** How a run with one call ends, in a store of its own: it waits for retries, not for people. */
  ends(mcp: McpTools, call: Call, more?: Partial<Parameters<typeof convoke>[0]>): Promise<Ended>
  /** An app whose workflow makes one call. */
  caller(mcp: McpTools, more?: Partial<Parameters<typeof convoke>[0]>): { readonly app: App; readonly one: One }
  /** Another process that makes the same call in the run. */
  worker(servers: readonly McpServer[], run: string, call: Call): Worker
  close(): Promise<void>
}

export interface Ended {
  readonly status: string
  readonly value?: unknown
  /** The run's own error, as it is on record. */
  readonly error?: JsonObject
  /** What waits for a person. */
  readonly held: readonly { readonly kind: string; readonly path: string }[]
  /** All that is on record, as text. */
  readonly records: string
}

export interface Worker {
  readonly child: ChildProcess
  /** What it printed, once it has ended: nothing when it was killed. */
  readonly done: Promise<string>
}

export interface Call {
  readonly tool: string
  readonly input: JsonObject
}

export type One = Workflow<Call, unknown>

/** Calls one tool of those that were accepted. */
export function one(mcp: McpTools): One {
  return workflow(
    { name: 'one', version: '1', input: z.any(), output: z.any() },
    async (run, { tool, input }: Call) => {
      const its = mcp.tools.find(({ name }) => name === tool)
      if (its === undefined) throw new Error(`${tool} is not there`)
      return run.call(its, input)
    },
  ) as unknown as One
}

export function place(): Place {
  const dir = mkdtempSync(join(tmpdir(), 'convoke-mcp-'))
  const children = new Set<ChildProcess>()
  const opened: McpTools[] = []
  const apps: App[] = []
  const at = (name: string): string => {
    mkdirSync(join(dir, name), { recursive: true })
    return join(dir, name)
  }
  const open: Place['open'] = async (servers, more = {}) => {
    const mcp = await mcpTools({ servers, pins: join(dir, 'pins.json'), ...more })
    opened.push(mcp)
    return mcp
  }
  return {
    dir,
    at,
    open,
    behave: (name, behaviour) => writeFileSync(join(at(name), 'behaviour.json'), JSON.stringify(behaviour)),
    lines(name, file = 'calls') {
      const path = join(at(name), file)
      return existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n') : []
    },
    stdio: (name, { how = 'well', ...more } = {}) => ({
      name,
      command: process.execPath,
      args: [conditions, join(import.meta.dirname, 'stdio-server.ts'), at(name), how],
      ...more,
    }),
    async http(name, kind, { port = 0, token = '' } = {}) {
      const args = [conditions, join(import.meta.dirname, 'http-server.ts'), at(name), kind, String(port), token]
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      children.add(child)
      const got = await new Promise<number>((resolve, reject) => {
        child.stdout.once('data', (piece: Buffer) => resolve(Number(piece.toString())))
        child.once('exit', () => reject(new Error('the server ended')))
      })
      const server = { name, url: `http://127.0.0.1:${got}/mcp`, network: { inside: ['loopback'] } }
      return { server, port: got, child }
    },
    async accepted(servers, more) {
      const first = await open(servers, more)
      for (const { tool, hash } of first.quarantined) await first.accept({ tool, hash, by: 'ada' })
      await first.close()
      return open(servers, more)
    },
    async ends(mcp, call, more) {
      const { app, one: flow } = this.caller(mcp, { store: join(dir, `store${apps.length}`), ...more })
      const handle = await app.start(flow, call)
      let row = await handle.settled()
      for (let i = 0; i < 1_200 && row.status === 'parked' && row.parkedOn !== 'person'; i++) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        row = await handle.settled()
      }
      const ledger = await app.ledger()
      const held = await ledger.approvals({ tenant: 'local', run: handle.id })
      const records = JSON.stringify(await ledger.read({ tenant: 'local', stream: `run/${handle.id}` }))
      const ended = { status: row.status, held: held.map(({ kind, path }) => ({ kind, path })), records }
      if (row.status === 'done') return { ...ended, value: await handle.result() }
      if (row.status !== 'failed') return ended
      const thrown = (await handle.result().catch((error: unknown) => error)) as ConvokeError
      return { ...ended, error: (thrown.details?.['error'] ?? {}) as JsonObject }
    },
    caller(mcp, more = {}) {
      const flow = one(mcp)
      const app = convoke({ store: join(dir, 'store'), workflows: { flow }, ...more })
      apps.push(app)
      return { app, one: flow }
    },
    worker(servers, run, call) {
      const child = spawn(
        process.execPath,
        [conditions, join(import.meta.dirname, 'worker.ts'), dir, JSON.stringify(servers), run, JSON.stringify(call)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      children.add(child)
      let out = ''
      child.stdout.on('data', (piece: Buffer) => (out += piece.toString()))
      return { child, done: new Promise((resolve) => child.on('close', () => resolve(out))) }
    },
    async close() {
      for (const app of apps) await app.close()
      for (const mcp of opened) await mcp.close()
      for (const child of children) child.kill('SIGKILL')
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** Waits for what another process does; generous, since the machine may be busy. */
export async function until(done: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 1_200; i++) {
    if (done()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`a minute has passed without ${what}`)
}
