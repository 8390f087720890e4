import { spawn } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { FromChild, ToChild } from './protocol.ts'

/** How a thread or process ended that nobody ended. */
export interface Fall {
  readonly reason: 'exit' | 'signal' | 'memory' | 'uncaught'
  readonly exitCode?: number
  readonly signal?: string
  readonly message?: string
  readonly stderr?: string
}

export interface Vessel {
  post(message: ToChild): void
  /** Ends it at once, whatever it is doing; resolves when it is gone. */
  kill(): Promise<void>
}

export interface VesselOptions {
  readonly memoryMb: number
  /** Of one message. What is longer ends the vessel. */
  readonly maxBytes: number
  readonly onMessage: (message: FromChild) => void
  readonly onFall: (fall: Fall) => void
  readonly onFlood: () => void
}

const keptOfStderr = 4_000
/** What Node itself holds before a tool's first line. */
const nodeMb = 96

/** The built one, for sources too, as the ledger's thread is (ledger-sqlite/thread.ts). */
function entryUrl(): URL {
  const here = import.meta.url
  return new URL(here.endsWith('.ts') ? '../../dist/isolate-worker.js' : './isolate-worker.js', here)
}

/** Conditions and loaders of this process hold for a tool's module as well; inspectors and memory limits do not. */
function ownArgs(): string[] {
  return process.execArgv.filter((arg) =>
    /^(--conditions=|-C=|--import=|--experimental-|--enable-source-maps)/.test(arg),
  )
}

export function openThread(o: VesselOptions): Vessel {
  const thread = new Worker(entryUrl(), {
    name: 'convoke-tool',
    workerData: 'convoke-isolated',
    env: {},
    execArgv: ownArgs(),
    stdin: true,
    stdout: true,
    stderr: true,
    resourceLimits: {
      maxOldGenerationSizeMb: o.memoryMb,
      maxYoungGenerationSizeMb: Math.max(4, Math.ceil(o.memoryMb / 8)),
    },
  })
  let over = false
  thread.stdout.resume()
  thread.stderr.resume()
  const fall = (what: Fall): void => {
    if (over) return
    over = true
    o.onFall(what)
  }
  thread.on('message', (text: unknown) => {
    if (over || typeof text !== 'string') return
    if (text.length > o.maxBytes) o.onFlood()
    else o.onMessage(JSON.parse(text) as FromChild)
  })
  thread.on('error', (error: unknown) => {
    const code = (error as { code?: unknown } | null)?.code
    const message = error instanceof Error ? error.message : String(error)
    fall({ reason: code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'memory' : 'uncaught', message })
  })
  thread.on('exit', (exitCode) => fall({ reason: 'exit', exitCode }))
  return {
    post: (message) => thread.postMessage(JSON.stringify(message)),
    async kill() {
      over = true
      await thread.terminate()
    },
  }
}

export function openProcess(o: VesselOptions): Vessel {
  const child = spawn(
    process.execPath,
    [
      ...ownArgs(),
      `--max-old-space-size=${o.memoryMb}`,
      fileURLToPath(entryUrl()),
      'convoke-isolated',
      String((o.memoryMb + nodeMb) * 1024 * 1024),
      String(process.pid),
    ],
    // A group of its own, so that what it started ends with it.
    { env: {}, detached: true, stdio: ['ignore', 'ignore', 'pipe', 'pipe'] },
  )
  let over = false
  let stderr = ''
  let rest = ''
  const pipe = child.stdio[3] as Duplex
  const gone = new Promise<void>((resolve) => {
    child.once('close', () => resolve())
    child.once('error', () => resolve())
  })
  const fall = (what: Fall): void => {
    if (over) return
    over = true
    const last = stderr.trim().toWellFormed()
    o.onFall({ ...what, ...(last === '' ? {} : { stderr: last }) })
  }
  child.stderr?.on('data', (piece: Buffer) => (stderr = (stderr + piece.toString()).slice(-keptOfStderr)))
  pipe.setEncoding('utf8')
  pipe.on('error', () => undefined)
  pipe.on('data', (piece: string) => {
    if (over) return
    const lines = (rest + piece).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > o.maxBytes || lines.some((line) => line.length > o.maxBytes)) {
      o.onFlood()
      return
    }
    try {
      for (const line of lines) if (!over) o.onMessage(JSON.parse(line) as FromChild)
    } catch {
      o.onFlood()
    }
  })
  child.once('error', (error) => fall({ reason: 'uncaught', message: error.message }))
  child.once('close', (exitCode, signal) => {
    if (/convoke: out of memory|JavaScript heap out of memory/.test(stderr)) fall({ reason: 'memory' })
    else if (signal !== null) fall({ reason: 'signal', signal })
    else
      fall({ reason: exitCode === 1 && stderr.includes('\nNode.js v') ? 'uncaught' : 'exit', exitCode: exitCode ?? -1 })
  })
  return {
    post: (message) => void pipe.write(`${JSON.stringify(message)}\n`),
    async kill() {
      over = true
      if (child.pid !== undefined)
        try {
          process.kill(-child.pid, 'SIGKILL')
        } catch {
          child.kill('SIGKILL')
        }
      pipe.destroy()
      child.stderr?.destroy()
      await gone
    },
  }
}
