/** One child process of one measurement; owns every child that runs, and ends them when this process ends. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { bytesOf } from './install.ts'
import type { Figure } from './lib.ts'

export interface Task {
  readonly program: string
  readonly system: string
  readonly workload: string
  readonly size: number
  readonly dir: string
  readonly env: Record<string, string>
  /** A command that runs the program, such as strace with its options; empty for none. */
  readonly tracer: readonly string[]
  readonly timeoutMs: number
  readonly diskBytes: number
}

export interface Outcome {
  readonly figures: readonly Figure[]
  /** Why there are no figures, or not all. */
  readonly failure?: string
  readonly ms: number
}

const running = new Set<ChildProcess>()
process.on('exit', () => running.forEach(endGroup))

/** Starts the peer's program for one workload and waits for its end, its time-out, or a full disk. */
export async function runChild(task: Task): Promise<Outcome> {
  const { program, system, workload, size, dir, env, tracer, timeoutMs, diskBytes } = task
  mkdirSync(dir, { recursive: true })
  const spawnedAt = Date.now()
  const order = JSON.stringify({ workload, system, dir, size, spawnedAt })
  const node = [process.execPath, '--expose-gc', '--max-old-space-size=6144', join(import.meta.dirname, program)]
  const [command = process.execPath, ...args] = [...tracer, ...node, order]
  const started = performance.now()
  // Its own process group, so that a tracer and what it traces end together.
  const process_ = spawn(command, args, {
    detached: true,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  })
  running.add(process_)
  let failure: string | undefined
  const timer = setTimeout(() => {
    failure = `over ${timeoutMs / 1000} s`
    endGroup(process_)
  }, timeoutMs)
  const disk = setInterval(() => {
    if (bytesOf(dir) <= diskBytes) return
    failure = `over ${diskBytes / 1e9} GB on disk after ${Math.round((performance.now() - started) / 1000)} s`
    endGroup(process_)
  }, 1000)
  const [, errorStream, figureStream] = process_.stdio.slice(1) as [
    unknown,
    NodeJS.ReadableStream,
    NodeJS.ReadableStream,
  ]
  const [errors, lines, { code, signal, ms }] = await Promise.all([
    text(errorStream),
    text(figureStream),
    ended(process_, started),
  ])
  clearTimeout(timer)
  clearInterval(disk)
  running.delete(process_)
  const figures = lines
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Figure)
  if (failure === undefined && signal === 'SIGKILL' && workload === 'recovery-crash') failure = 'killed itself'
  if (failure === undefined && code !== 0) failure = `exit ${code ?? signal}: ${reason(errors)}`
  return { figures, ms, ...(failure === undefined ? {} : { failure }) }
}

function ended(
  process_: ChildProcess,
  started: number,
): Promise<{ code: number | null; signal: string | null; ms: number }> {
  return new Promise((resolve, reject) => {
    process_.once('error', reject)
    process_.once('exit', (code, signal) => resolve({ code, signal, ms: performance.now() - started }))
  })
}

/** The line of a failed child's errors that says most, kept short. */
function reason(errors: string): string {
  const lines = errors.split('\n').map((line) => line.trim())
  const telling = lines.find((line) => /error|fatal|assert/i.test(line) && !line.startsWith('at '))
  return (telling ?? lines.findLast((line) => line !== '') ?? 'no message').slice(0, 160)
}

function endGroup(process_: ChildProcess): void {
  if (process_.pid === undefined || process_.exitCode !== null || process_.signalCode !== null) return
  try {
    process.kill(-process_.pid, 'SIGKILL')
  } catch {
    process_.kill('SIGKILL')
  }
}
