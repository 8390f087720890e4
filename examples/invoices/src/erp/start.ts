import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { ErpError } from './error.ts'

export interface StartErpOptions {
  /** The ERP's folder; made where absent. Never two ERPs on one: a second waits for the first to end. */
  dataDir: string
  /** Absent: a free one. */
  port?: number
  /** Where the ERP writes its port once it listens. */
  portFile?: string
  /** How long to wait for another ERP to let go of the folder, in milliseconds (10,000). */
  waitLockMs?: number
  /** Serve POST and DELETE /__faults (see faults.ts). */
  allowFaults?: boolean
  /** A JSON file with faults that are due from the start. */
  faultsFile?: string
}

export interface Erp {
  url: string
  port: number
  pid: number
  /** Resolves when the process has ended, for whatever reason. */
  exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  /** Ends the process and waits for that. May be called again. */
  stop(): Promise<void>
}

const startTimeoutMs = 30_000
const stopTimeoutMs = 5_000

/**
 * Starts the ERP as a child that ends with this process, and resolves when it listens.
 * Throws ErpError with the child's code: `DATA_IN_USE`, `DATA_VERSION`, `PORT_IN_USE`, `USAGE`, `ERP_FAILED`; or
 * `START_TIMEOUT`.
 */
export async function startErp(options: StartErpOptions): Promise<Erp> {
  const child = spawn(
    process.execPath,
    [...conditions(), fileURLToPath(new URL('./main.ts', import.meta.url)), ...flags(options)],
    {
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  )
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
    child.once('error', () => resolve({ code: null, signal: null }))
  })
  const { port, url } = await listening(child, exited)
  return {
    url,
    port,
    pid: child.pid ?? 0,
    exited,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
      await exited
      clearTimeout(timer)
    },
  }
}

function flags(options: StartErpOptions): string[] {
  const { dataDir, port, portFile, waitLockMs, allowFaults = false, faultsFile } = options
  const given = (flag: string, value: string | number | undefined): string[] =>
    value === undefined ? [] : [`--${flag}`, String(value)]
  return [
    ...given('data', dataDir),
    ...given('port', port),
    ...given('port-file', portFile),
    ...given('wait-lock', waitLockMs),
    ...given('faults', faultsFile),
    ...(allowFaults ? ['--allow-faults'] : []),
    '--parent',
    String(process.pid),
    '--watch-stdin',
  ]
}

/** Only the export conditions: a debugger's port or a test runner's loader are not the child's. */
function conditions(): string[] {
  return process.execArgv.flatMap((arg, index, all) => {
    if (/^(--conditions|-C)=/.test(arg)) return [arg]
    return arg === '--conditions' || arg === '-C' ? [arg, all[index + 1] ?? ''] : []
  })
}

async function listening(
  child: ChildProcessWithoutNullStreams,
  exited: Erp['exited'],
): Promise<{ port: number; url: string }> {
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-4096)
  })
  child.stdin.on('error', () => {})
  const lines = createInterface({ input: child.stdout })
  let timer: NodeJS.Timeout | undefined
  try {
    return await Promise.race([
      new Promise<{ port: number; url: string }>((resolve) => {
        lines.on('line', (line) => resolve(JSON.parse(line) as { port: number; url: string }))
      }),
      exited.then(({ code, signal }) => {
        const [, name = 'ERP_FAILED', message = stderr] = /^([A-Z_]+): (.*)$/m.exec(stderr) ?? []
        throw new ErpError(name, message || `the ERP ended with ${signal ?? `code ${String(code)}`} before it listened`)
      }),
      new Promise<never>((_, reject) => {
        const late = new ErpError('START_TIMEOUT', `the ERP does not listen after ${startTimeoutMs} ms; ${stderr}`)
        timer = setTimeout(() => reject(late), startTimeoutMs)
      }),
    ])
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    clearTimeout(timer)
  }
}
