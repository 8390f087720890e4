import { isDeepStrictEqual } from 'node:util'
import type { Ledger } from '../ports/ledger.ts'
import { performScript, type Operation } from './ledger-script.ts'
import { createMemoryStore } from './memory-ledger.ts'

// Drives ledgers with the same seeded operations and compares them with the plain ledger in memory, answer by answer.

export interface DifferOptions {
  /** Each with two ledgers on one store, as two processes would have them. */
  readonly stores: readonly { readonly name: string; readonly ledgers: readonly [Ledger, Ledger] }[]
  /** At least so many operations, on each store. */
  readonly operations: number
  readonly seed: number
  /** Scripts at once, each with a tenant of its own; 32 unless said. */
  readonly concurrency?: number
}

export interface DifferReport {
  readonly operations: number
  readonly scripts: number
  /** How often each operation was performed, and each answer that is a word (`ok` or an error's code) was given. */
  readonly performed: Readonly<Record<string, number>>
  readonly answers: Readonly<Record<string, number>>
  /** Empty when all agree. Scripts are found again by the seed. */
  readonly differences: readonly string[]
}

const scriptLength = 50

/** @throws what a ledger throws that is no refusal */
export async function differ(options: DifferOptions): Promise<DifferReport> {
  const { stores, operations, seed, concurrency = 32 } = options
  const count = Math.ceil(operations / scriptLength)
  const performed: Record<string, number> = {}
  const answers: Record<string, number> = {}
  const differences: string[] = []
  let next = 0
  let done = 0

  async function one(number: number): Promise<void> {
    const script = scriptOf(seed + number)
    const tenant = `d${seed}-${number}`
    const store = createMemoryStore()
    const plain: [Ledger, Ledger] = [store.open(), store.open()]
    // Following costs as much as all the rest, since every follower reads past every other script's records.
    const followed = number % 16 === 0
    const expected = await performScript(plain, tenant, script, followed)
    for (const step of script) performed[step.op] = (performed[step.op] ?? 0) + 1
    for (const line of expected) if (typeof line === 'string') answers[line] = (answers[line] ?? 0) + 1
    await Promise.all(
      stores.map(async ({ name, ledgers }) => {
        const found = await performScript(ledgers, tenant, script, followed)
        const at = found.findIndex((line, i) => !agree(line, expected[i]))
        if (at < 0 && found.length === expected.length) return
        differences.push(
          `${name}, script ${number} of seed ${seed}, answer ${at}: ${shown(found[at])}, not ${shown(expected[at])}`,
        )
      }),
    )
    done += script.length
  }

  async function lane(): Promise<void> {
    while (next < count && differences.length < 5) await one(next++)
  }
  await Promise.all(Array.from({ length: concurrency }, lane))
  return { operations: done, scripts: next, performed, answers, differences }
}

/** Most answers are words, or equal as they are. */
function agree(a: unknown, b: unknown): boolean {
  if (typeof a === 'string' || typeof b === 'string') return a === b
  return isDeepStrictEqual(a, b) || isDeepStrictEqual(plainOf(a), plainOf(b))
}

/**
 * What an answer says. Ledgers salt the messages that they take in at random, so hashes in inboxes differ; that they
 * chain is proved by reading them.
 */
function plainOf(line: unknown): unknown {
  return JSON.parse(JSON.stringify(line ?? null), (_, value: unknown) => {
    const { stream } = (value ?? {}) as { readonly stream?: unknown }
    if (typeof stream !== 'string' || !stream.startsWith('inbox/')) return value
    return { ...(value as object), hash: '', prevHash: '', commitment: '', salt: '' }
  })
}

function shown(line: unknown): string {
  return JSON.stringify(line ?? null).slice(0, 500)
}

/** A generator of numbers below one (mulberry32): small, seeded, the same everywhere. */
function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** How often each is drawn, of all together. */
const weights: Readonly<Record<Operation['op'], number>> = {
  start: 2,
  register: 1,
  lapse: 0.4,
  isAlive: 1,
  claim: 3,
  release: 0.7,
  append: 10,
  both: 2,
  note: 2,
  post: 4,
  read: 2,
  ready: 2,
  blob: 1.5,
  attach: 2,
  look: 6,
  wrong: 1.5,
  archive: 2,
  restore: 1.5,
}
const total = Object.values(weights).reduce((sum, weight) => sum + weight, 0)

function scriptOf(seed: number): readonly Operation[] {
  const draw = random(seed * 7_919 + 13)
  const below = (n: number): number => Math.floor(draw() * n)
  const pick = <T>(...items: readonly T[]): T => items[below(items.length)] as T
  const one = (): Operation => {
    let rest = draw() * total
    const op = (Object.keys(weights) as Operation['op'][]).find((name) => (rest -= weights[name]) < 0) ?? 'ready'
    switch (op) {
      case 'start':
        return { op, run: below(3), due: below(900), priority: below(3), worker: pick(undefined, below(3)) }
      case 'register':
      case 'lapse':
      case 'isAlive':
        return { op, worker: below(3) }
      case 'claim':
        return { op, run: below(4), worker: below(3) }
      case 'release':
        return { op, run: below(3), older: below(2) === 0 }
      case 'append':
        return {
          op,
          run: below(3),
          place: pick('head', 'head', 'head', 'head', 'head', 'behind', 'ahead', 'again'),
          older: below(10) === 0,
          what: below(10),
          guard: pick(0, 0, 0, 1, 2, 2, 3),
          also: below(4) === 0,
        }
      case 'both':
        return { op, run: below(3), place: pick('head', 'head', 'head', 'behind'), guard: pick(0, 1, 2) }
      case 'note':
        return { op, place: pick('head', 'head', 'behind', 'again'), cause: below(3) }
      case 'post':
        return { op, run: below(3), id: below(7), decide: below(2) === 0 }
      case 'read':
        return { op, run: below(3), from: 1 + below(5), limit: below(5), outline: below(2) === 0 }
      case 'ready':
        return { op, now: below(1_500) }
      case 'blob':
        return { op, what: pick('put', 'put', 'other', 'get', 'get'), blob: below(4) }
      case 'attach':
        return { op, blob: below(4), given: below(2) === 0, large: below(8) === 0 }
      case 'look':
        return { op, what: below(15), run: below(3), limit: below(3) }
      case 'wrong':
        return { op, what: below(11) }
      case 'archive':
        return { op, run: below(3), finish: below(3) > 0, stale: below(10) === 0 }
      case 'restore':
        return { op, run: below(3), broken: below(6) === 0 }
    }
  }
  // Most begin with what most operations need, so that they are not all refused.
  const opening: readonly Operation[] =
    below(5) === 0
      ? []
      : [0, 1, 2].flatMap((n): Operation[] => [
          { op: 'register', worker: n },
          { op: 'start', run: n, due: n, priority: 0, worker: pick(undefined, n) },
          { op: 'claim', run: n, worker: n },
        ])
  return [...opening, ...Array.from({ length: scriptLength - opening.length }, one)]
}
