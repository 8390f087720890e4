import { copyFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startMain, type Ended } from './child.ts'
import { readBooks, type Books } from './counterpart.ts'

// Kills the main job with -9 at a named point, starts it again until it has finished, and holds what the ERP says and
// what the job answers against an uninterrupted run.

export interface Case {
  readonly point: string
  /** The n-th time the point is reached, from 1. */
  readonly occurrence: number
}

export interface Truth {
  readonly answers: string
  readonly books: Books
  /** How often each named point is reached. */
  readonly points: ReadonlyMap<string, number>
}

export interface CaseResult {
  readonly name: string
  readonly killed: boolean
  /** What differs from the truth; empty when nothing does. */
  readonly problems: readonly string[]
}

interface Place {
  readonly folder: string
  readonly args: readonly string[]
  readonly erp: string
  readonly out: string
}

async function place(inbox: string): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'convoke-crash-'))
  const erp = join(folder, 'erp')
  const out = join(folder, 'out.json')
  return {
    folder,
    erp,
    out,
    args: [
      '--inbox',
      inbox,
      '--store',
      join(folder, 'store'),
      '--erp-data',
      erp,
      '--outbox',
      join(folder, 'outbox'),
      '--out',
      out,
    ],
  }
}

/** A folder with some of the shipped invoices: one of each route, say. */
export async function inboxOf(shipped: string, files: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'convoke-inbox-'))
  await mkdir(folder, { recursive: true })
  for (const file of files) await copyFile(join(shipped, file), join(folder, file))
  return folder
}

/** Approval ids come from a key of the store, so they differ from store to store. */
async function answersIn(file: string): Promise<string> {
  return (await readFile(file, 'utf8')).replace(/\bap_[a-z0-9]+/g, 'ap')
}

export async function truthOf(inbox: string): Promise<Truth> {
  const at = await place(inbox)
  try {
    const log = join(at.folder, 'points')
    const ended = await startMain(at.args, { env: { CONVOKE_CRASH_LOG: log } }).ended
    if (ended.code !== 0)
      throw new Error(`the uninterrupted run ended with ${String(ended.code)}: ${ended.stderr}${ended.stdout}`)
    const points = new Map<string, number>()
    for (const point of (await readFile(log, 'utf8')).split('\n'))
      if (point !== '') points.set(point, (points.get(point) ?? 0) + 1)
    return { answers: await answersIn(at.out), books: await readBooks(at.erp), points }
  } finally {
    await rm(at.folder, { recursive: true, force: true })
  }
}

export function casesOf(truth: Truth, all: boolean): Case[] {
  const cases: Case[] = []
  for (const [point, count] of [...truth.points].sort(([a], [b]) => a.localeCompare(b))) {
    const wanted = all ? Array.from({ length: count }, (_, i) => i + 1) : [...new Set([1, Math.ceil(count / 2), count])]
    for (const occurrence of wanted) cases.push({ point, occurrence })
  }
  return cases
}

/** Kills at a named point, then lets it finish. */
export function runCase(inbox: string, truth: Truth, { point, occurrence }: Case): Promise<CaseResult> {
  return judged(
    inbox,
    truth,
    `${point}#${occurrence}`,
    (at) => startMain(at.args, { env: { CONVOKE_CRASH_AT: `${point}#${occurrence}` } }).ended,
  )
}

/** Kills from outside after some milliseconds, up to three times in a row. */
export function runRandom(inbox: string, truth: Truth, delays: readonly number[]): Promise<CaseResult> {
  return judged(inbox, truth, `after ${delays.join(', ')} ms`, async (at) => {
    let ended: Ended | undefined
    for (const ms of delays) {
      const child = startMain(at.args)
      const timer = setTimeout(() => child.kill('SIGKILL'), ms)
      ended = await child.ended
      clearTimeout(timer)
    }
    return ended as Ended
  })
}

async function judged(
  inbox: string,
  truth: Truth,
  name: string,
  interrupt: (at: Place) => Promise<Ended>,
): Promise<CaseResult> {
  const at = await place(inbox)
  const problems: string[] = []
  try {
    const first = await interrupt(at)
    const killed = first.signal === 'SIGKILL'
    if (!killed && first.code !== 0)
      problems.push(`it ended with ${String(first.code)} instead of being killed: ${first.stderr.slice(0, 500)}`)
    const second = await startMain(at.args).ended
    if (second.code !== 0)
      problems.push(
        `the start after it ended with ${String(second.code)}: ${second.stderr.slice(0, 500)}${second.stdout.slice(-500)}`,
      )
    else problems.push(...differences(truth, await answersIn(at.out), await readBooks(at.erp)))
    return { name, killed, problems }
  } catch (error) {
    return { name, killed: false, problems: [...problems, (error as Error).message] }
  } finally {
    await rm(at.folder, { recursive: true, force: true })
  }
}

function differences(truth: Truth, answers: string, books: Books): string[] {
  const problems: string[] = []
  if (answers !== truth.answers) problems.push(`other answers: ${firstDifference(truth.answers, answers)}`)
  if (books.repeatedEffects !== 0) problems.push(`${books.repeatedEffects} effects were made twice`)
  if (JSON.stringify(books.payments) !== JSON.stringify(truth.books.payments))
    problems.push(`other payments: ${books.payments.join(' | ')}`)
  if (JSON.stringify(books.effects) !== JSON.stringify(truth.books.effects))
    problems.push(`other changes of the books: ${books.effects.length} instead of ${truth.books.effects.length}`)
  return problems
}

function firstDifference(a: string, b: string): string {
  let i = 0
  while (i < a.length && a[i] === b[i]) i++
  return `${JSON.stringify(a.slice(Math.max(0, i - 60), i + 80))} became ${JSON.stringify(b.slice(Math.max(0, i - 60), i + 80))}`
}
