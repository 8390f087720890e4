import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canonicalize } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'

// Kills a program at each of its named points and lets it go on, and compares what came out with an undisturbed run.
// Owns the folders and child processes it makes; both are gone when it ends.

/** One process of the program under test. */
export interface CrashCase {
  readonly point: string
  /** The how-manieth time the point was reached, from 1. */
  readonly occurrence: number
}

export interface CrashOptions {
  /**
   * A file that Node runs. It passes `probe: probeFromEnv()` to its app, keeps all state in the folder it is given,
   * goes on with what is there, prints its final answer on stdout and ends with code 0.
   */
  readonly program: string
  /** Its arguments, made from the folder of one case. */
  readonly args?: (dir: string) => readonly string[]
  readonly env?: (dir: string) => Readonly<Record<string, string>>
  /** Arguments of Node itself, before the program; those of this process unless said. */
  readonly execArgv?: readonly string[]
  /** Before each case: start what the program talks to. */
  readonly setUp?: (dir: string) => Promise<void> | void
  /** After each SIGKILL, before the program goes on: what is stored now must hold from here on. */
  readonly onKilled?: (dir: string) => Promise<void> | void
  /** After each case: what the world outside saw, never from our own ledger. Compared with the undisturbed run's. */
  readonly counterpart?: (dir: string) => unknown
  readonly tearDown?: (dir: string) => Promise<void> | void
  /** Which points; all unless said. */
  readonly points?: (point: string) => boolean
  /** Each time a point is reached, or only the first, middle and last; `all` unless said. */
  readonly occurrences?: 'all' | 'ends'
  /** Only every so-manieth case, for a sample; 1 unless said. */
  readonly every?: number
  /** Cases at once; 1 unless said. */
  readonly concurrency?: number
  /** Milliseconds for one process; 60,000 unless said. */
  readonly timeoutMs?: number
}

export interface CrashFailure extends CrashCase {
  readonly why: string
}

export interface CrashReport {
  /** Different names of points that the undisturbed run reached. */
  readonly points: readonly string[]
  /** Cases that were tried. */
  readonly cases: number
  /** Cases in which the process really died there; in the others the point came less often that time. */
  readonly killed: number
  /** Processes that were started in all. */
  readonly runs: number
  readonly failures: readonly CrashFailure[]
}

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

const restarts = 5

/**
 * Runs the program once undisturbed, then once for each named point and occurrence with SIGKILL there, each in a folder
 * of its own, and again until it finishes.
 * @throws RUN_FAILED when the undisturbed run does not end with code 0, or reaches no point
 */
export async function crashEverywhere(options: CrashOptions): Promise<CrashReport> {
  let runs = 0
  const start = (dir: string, env: Readonly<Record<string, string>>): Promise<Ended> => {
    runs++
    return launch(options, dir, env)
  }

  async function inFolder<T>(work: (dir: string) => Promise<T>): Promise<T> {
    const dir = await mkdtemp(join(tmpdir(), 'convoke-crash-'))
    try {
      await options.setUp?.(dir)
      return await work(dir)
    } finally {
      await options.tearDown?.(dir)
      await rm(dir, { recursive: true, force: true, maxRetries: 3 })
    }
  }

  const outside = async (dir: string): Promise<string> => canonicalize((await options.counterpart?.(dir)) ?? null)

  const calm = await inFolder(async (dir) => {
    const log = join(dir, 'points.log')
    const ended = await start(dir, { CONVOKE_CRASH_LOG: log })
    if (ended.code !== 0)
      throw new ConvokeError('RUN_FAILED', `the program failed undisturbed: ${story(ended)}`, {
        next: 'make it end with code 0 without a crash first',
      })
    const reached = (await readFile(log, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '')
    return { out: ended.out, reached, outside: await outside(dir) }
  })
  if (calm.reached.length === 0)
    throw new ConvokeError('RUN_FAILED', 'the program reached no named point', {
      next: 'pass `probe: probeFromEnv()` to its app',
    })

  async function tryCase(one: CrashCase): Promise<{ readonly killed: boolean; readonly why: string | undefined }> {
    return inFolder(async (dir) => {
      let ended = await start(dir, { CONVOKE_CRASH_AT: `${one.point}#${one.occurrence}` })
      const killed = ended.signal === 'SIGKILL'
      for (let tries = 0; ended.code !== 0 && tries < restarts; tries++) {
        if (ended.signal !== 'SIGKILL') break
        await options.onKilled?.(dir)
        ended = await start(dir, {})
      }
      if (ended.code !== 0) return { killed, why: `it did not finish: ${story(ended)}` }
      if (ended.out !== calm.out) return { killed, why: `another answer: ${ended.out} instead of ${calm.out}` }
      const seen = await outside(dir)
      return { killed, why: seen === calm.outside ? undefined : `outside: ${seen} instead of ${calm.outside}` }
    })
  }

  const cases = casesOf(calm.reached, options)
  const failures: CrashFailure[] = []
  let killed = 0
  let next = 0
  const work = async (): Promise<void> => {
    while (next < cases.length) {
      const one = cases[next++] as CrashCase
      const tried = await tryCase(one)
      if (tried.killed) killed++
      if (tried.why !== undefined) failures.push({ ...one, why: tried.why })
    }
  }
  await Promise.all(Array.from({ length: Math.max(1, options.concurrency ?? 1) }, work))
  const points = [...new Set(cases.map((one) => one.point))].toSorted()
  return { points, cases: cases.length, killed, runs, failures }
}

/** Which points to die at, in the order in which the undisturbed run first reached them. */
export function casesOf(
  reached: readonly string[],
  options: Pick<CrashOptions, 'points' | 'occurrences' | 'every'>,
): CrashCase[] {
  const counts = new Map<string, number>()
  for (const point of reached) if (options.points?.(point) ?? true) counts.set(point, (counts.get(point) ?? 0) + 1)
  const cases: CrashCase[] = []
  for (const [point, count] of counts) {
    const all = Array.from({ length: count }, (_, i) => i + 1)
    const which = options.occurrences === 'ends' ? [...new Set([1, Math.ceil(count / 2), count])] : all
    for (const occurrence of which) cases.push({ point, occurrence })
  }
  return cases.filter((_, i) => i % (options.every ?? 1) === 0)
}

function launch(options: CrashOptions, dir: string, env: Readonly<Record<string, string>>): Promise<Ended> {
  const args = [...(options.execArgv ?? process.execArgv), options.program, ...(options.args?.(dir) ?? [dir])]
  const clean: NodeJS.ProcessEnv = { ...process.env, ...options.env?.(dir) }
  delete clean['CONVOKE_CRASH_AT']
  delete clean['CONVOKE_CRASH_LOG']
  const child = spawn(process.execPath, args, { env: { ...clean, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  return new Promise((resolve, reject) => {
    let out = ''
    let err = ''
    child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()))
    child.stderr.on('data', (bytes: Buffer) => (err = (err + bytes.toString()).slice(-4_000)))
    const late = setTimeout(() => child.kill('SIGTERM'), options.timeoutMs ?? 60_000)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(late)
      resolve({ code, signal, out, err })
    })
  })
}

function story({ code, signal, out, err }: Ended): string {
  const how = signal === null ? `code ${String(code)}` : signal === 'SIGTERM' ? 'it took too long' : signal
  return `${how}\n${out}${err}`.trim()
}
