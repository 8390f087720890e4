/**
 * The parent's half of a measurement: a fresh folder and a fresh child for each, its figures read from file descriptor
 * 3, and everything ended and removed afterwards. A workload's file gives `measure` for the parent, and for the child
 * `scenes`, of which one runs in each process.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import type { Measure } from './report.ts'

/** What a child is told, as JSON in its first argument. */
export interface Order {
  /** The file in this folder whose scenes are meant, without its extension. */
  readonly workload: string
  readonly scene: string
  readonly dir: string
  readonly size: number
  /** Reduced time for measuring limits. */
  readonly small: boolean
  /** `process.hrtime.bigint()` right before this process was started: the same clock in all processes of a machine. */
  readonly spawnedAt: string
}

/** What a child answers: a figure a line. */
export interface Figure {
  readonly metric: string
  readonly value: number | null
  readonly unit: string
  readonly ratio?: number
  readonly against?: string
  readonly note?: string
}

/** What one process does; ends when it resolves. */
export type Scene = (order: Order, tell: (figure: Figure) => void) => Promise<void>
export type Scenes = Readonly<Record<string, Scene>>

export interface Outcome {
  readonly figures: readonly Figure[]
  /** Why there are no figures, or not all; `killed` when a signal ended it. */
  readonly failure?: string
  readonly killed?: string
  /** Start to exit of the process, in milliseconds. */
  readonly ms: number
}

export interface ChildOptions {
  /** A command in front, such as a tracer. */
  readonly under?: readonly string[]
  readonly flags?: readonly string[]
  /** Milliseconds until it is ended; five minutes unless said. */
  readonly limitMs?: number
  /** Sees each figure as it comes. */
  readonly onFigure?: (figure: Figure) => void
}

export interface Bench {
  readonly small: boolean
  /** Children take the library's sources in place of what was built. */
  readonly source: boolean
  print(measure: Measure): void
  /** A temporary folder on the disk that is measured, removed after use. */
  inFolder<T>(use: (dir: string) => Promise<T>): Promise<T>
  /** Runs one scene in a process of its own. */
  scene(workload: string, scene: string, size: number, dir: string, options?: ChildOptions): Promise<Outcome>
}

const running = new Set<ChildProcess>()
// A killed parent must not leave children; their groups end with it.
process.on('exit', () => running.forEach(endGroup))

const timeoutMs = 300_000

export function createBench(options: Pick<Bench, 'small' | 'source'>, print: (measure: Measure) => void): Bench {
  const conditions = options.source ? ['--conditions=convoke-source'] : []
  return {
    ...options,
    print,
    async inFolder(use) {
      const dir = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'convoke-bench-'))
      try {
        return await use(dir)
      } finally {
        rmSync(dir, { recursive: true, force: true })
      }
    },
    async scene(workload, scene, size, dir, { under = [], flags = [], limitMs = timeoutMs, onFigure } = {}) {
      mkdirSync(dir, { recursive: true })
      const spawnedAt = String(process.hrtime.bigint())
      const order: Order = { workload, scene, dir, size, small: options.small, spawnedAt }
      const program = [...conditions, ...flags, join(import.meta.dirname, 'child.ts'), JSON.stringify(order)]
      const figures: Figure[] = []
      const ended = await runProgram(
        [...under, process.execPath, ...program],
        (line) => {
          const figure = JSON.parse(line) as Figure
          figures.push(figure)
          onFigure?.(figure)
        },
        limitMs,
      )
      return { figures, ...ended }
    },
  }
}

/** Runs a program to its end; lines of its file descriptor 3 are handed over as they come. */
export async function runProgram(
  command: readonly string[],
  onLine: (line: string) => void = () => undefined,
  limitMs: number = timeoutMs,
): Promise<{ readonly ms: number; readonly failure?: string; readonly killed?: string }> {
  const [program = process.execPath, ...args] = command
  // Without the caller's NODE_OPTIONS: what tests set there is not part of what is measured.
  const { NODE_OPTIONS: _, ...env } = process.env
  const started = performance.now()
  // Its own process group, so that a tracer and what it traces end together.
  const child = spawn(program, args, { detached: true, env, stdio: ['ignore', 'ignore', 'pipe', 'pipe'] })
  running.add(child)
  let late = false
  const timer = setTimeout(() => {
    late = true
    endGroup(child)
  }, limitMs)
  const [, , errorStream, lineStream] = child.stdio as unknown as [
    null,
    null,
    NodeJS.ReadableStream,
    NodeJS.ReadableStream,
  ]
  const lines = createInterface({ input: lineStream })
  lines.on('line', onLine)
  const closed = new Promise((resolve) => lines.once('close', resolve))
  const ended = new Promise<{ code: number | null; signal: string | null; ms: number }>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => resolve({ code, signal, ms: performance.now() - started }))
  })
  const [errors, { code, signal, ms }] = await Promise.all([text(errorStream), ended, closed])
  clearTimeout(timer)
  running.delete(child)
  if (late) return { ms, failure: `over ${limitMs / 1000} s` }
  if (signal !== null) return { ms, killed: signal, failure: `ended by ${signal}` }
  return code === 0 ? { ms } : { ms, failure: `exit ${String(code)}: ${reason(errors)}` }
}

/** The line of a failed child's errors that says most, kept short. */
function reason(errors: string): string {
  const lines = errors.split('\n').map((line) => line.trim())
  const telling = lines.find((line) => /error|fatal|assert/i.test(line) && !line.startsWith('at '))
  return (telling ?? lines.findLast((line) => line !== '') ?? 'no message').slice(0, 200)
}

function endGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    child.kill('SIGKILL')
  }
}

/** Prints a child's figures, and where it gave none of the metric that stands for the workload, why. */
export function report(
  bench: Bench,
  common: Pick<Measure, 'workload' | 'size'> & { readonly synced?: boolean },
  headline: readonly [metric: string, unit: string],
  outcome: Outcome,
): void {
  for (const figure of outcome.figures) bench.print({ ...common, system: 'convoke', ...figure })
  if (outcome.figures.some(({ metric }) => metric === headline[0])) return
  const [metric, unit] = headline
  bench.print({ ...common, system: 'convoke', metric, value: null, unit, note: outcome.failure ?? 'no figure' })
}

export function hasStrace(): boolean {
  return spawnSync('strace', ['-V'], { stdio: 'ignore' }).status === 0
}

/** Sums the column `calls` of what `strace -c` wrote. */
export function countSyncs(file: string): number {
  const rows = readFileSync(file, 'utf8')
    .split('\n')
    .filter((row) => /\b(fsync|fdatasync|msync)$/.test(row.trim()))
  return rows.reduce((sum, row) => sum + Number(row.trim().split(/\s+/)[3] ?? 0), 0)
}

/** Bytes of all files below a folder. */
export function bytesOf(dir: string): number {
  const entries = readdirSync(dir, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile())
  return entries.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}

/** Runs `one` for each of `items`, at most `limit` at a time. */
export async function eachOf<T>(items: readonly T[], limit: number, one: (item: T) => Promise<unknown>): Promise<void> {
  const rest = items.values()
  const lane = async (): Promise<void> => {
    for (const item of rest) await one(item)
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane))
}
