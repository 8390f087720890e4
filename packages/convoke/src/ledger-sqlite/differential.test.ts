import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Ledger } from '../ports/ledger.ts'
import { performScript, type Operation } from '../testing/ledger-script.ts'
import { createMemoryStore } from '../testing/memory-ledger.ts'
import type { Where } from './client.ts'
import { openLedger } from './index.ts'

// The embedded ledger against the plain one, under the same random operations, from two ledgers on one store each.

const ids = { next: () => 'x', salt: () => '0'.repeat(32) }
const dir = mkdtempSync(join(tmpdir(), 'convoke-diff-'))
afterAll(() => rmSync(dir, { recursive: true }))

async function pair(where: Where): Promise<[Ledger, Ledger]> {
  const options = { dir, ids, durability: 'process-crash-only' } as const
  return [await openLedger(options, where), await openLedger(options, where)]
}

const run = fc.nat(2)
const worker = fc.nat(2)
const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('start' as const),
      run,
      due: fc.nat(900),
      priority: fc.nat(2),
      worker: fc.option(worker, { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom('register' as const, 'lapse', 'isAlive'), worker }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('claim' as const), run: fc.nat(3), worker }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('release' as const), run, older: fc.boolean() }) },
  {
    weight: 10,
    arbitrary: fc.record({
      op: fc.constant('append' as const),
      run,
      place: fc.constantFrom('head' as const, 'head', 'head', 'head', 'behind', 'ahead', 'again'),
      older: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      what: fc.nat(9),
      guard: fc.constantFrom(0, 0, 1, 2, 2, 3),
      also: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('note' as const),
      place: fc.constantFrom('head' as const, 'head', 'behind', 'again'),
      cause: run,
    }),
  },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('post' as const), run, id: fc.nat(6), decide: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('read' as const),
      run,
      from: fc.integer({ min: 1, max: 5 }),
      limit: fc.nat(4),
      outline: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('ready' as const), now: fc.nat(1_500) }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('archive' as const), run, finish: fc.boolean(), stale: fc.constant(false) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('restore' as const), run, broken: fc.boolean() }) },
)
/** Begins with what most operations need, so that they are not all refused. */
const opening: readonly Operation[] = [0, 1, 2].flatMap((n) => [
  { op: 'register', worker: n },
  { op: 'start', run: n, due: n, priority: 0 },
  { op: 'claim', run: n, worker: n },
])

function compare(
  runs: number,
  followed: boolean,
  ledgersOf: (moves: number) => Promise<{ sqlite: [Ledger, Ledger]; memory: [Ledger, Ledger]; close(): Promise<void> }>,
): Promise<Map<string, number>> {
  let cases = 0
  const seen = new Map<string, number>()
  const script = fc.array(operation, { minLength: 20, maxLength: 60 })
  return fc
    .assert(
      fc.asyncProperty(script, fc.boolean(), fc.nat(120), async (some, opened, moves) => {
        const tenant = `${String(expect.getState().currentTestName)}${cases++}`
        const all = opened ? [...opening, ...some] : some
        const { sqlite, memory, close } = await ledgersOf(moves)
        try {
          const theirs = await performScript(memory, tenant, all, followed)
          const ours = await performScript(sqlite, tenant, all, followed)
          for (const line of ours) if (typeof line === 'string') seen.set(line, (seen.get(line) ?? 0) + 1)
          expect(ours).toEqual(theirs)
        } finally {
          await close()
        }
      }),
      // The seed is fixed, so that what the scripts reach is too; another one explores further.
      {
        numRuns: Number(process.env['CONVOKE_DIFF_RUNS'] ?? runs),
        seed: Number(process.env['CONVOKE_DIFF_SEED'] ?? 7),
      },
    )
    .then(() => seen)
}

/** The operations reach what they are meant to reach; otherwise agreeing would say nothing. */
function expectReached(seen: ReadonlyMap<string, number>): void {
  for (const code of [
    'ok',
    'POSITION_STALE',
    'EPOCH_STALE',
    'RUN_OWNED',
    'RUN_UNKNOWN',
    'LEASE_EXPIRED',
    'UNIQUE_TAKEN',
    'COUNTER_EXCEEDED',
    'INBOX_ADVANCED',
  ])
    expect([code, (seen.get(code) ?? 0) > 0]).toEqual([code, true])
}

describe.each(['never', 'only'] as const)('in one thread (%s here)', (where) => {
  let sqlite: [Ledger, Ledger]
  let memory: [Ledger, Ledger]
  beforeAll(async () => {
    sqlite = await pair(where)
    const store = createMemoryStore({ salt: ids.salt })
    memory = [store.open(), store.open()]
  })
  afterAll(async () => {
    await Promise.all([...sqlite, ...memory].map((ledger) => ledger.close()))
  })

  it('means what the plain ledger means', async () => {
    const seen = await compare(60, true, () => Promise.resolve({ sqlite, memory, close: () => Promise.resolve() }))
    expectReached(seen)
  }, 120_000)
})

// Who follows the records is in need of the thread at once.
it('means what the plain ledger means when it moves to its thread at any place', async () => {
  const seen = await compare(40, false, async (moves) => {
    const sqlite = await pair(moves)
    const store = createMemoryStore({ salt: ids.salt })
    const memory: [Ledger, Ledger] = [store.open(), store.open()]
    return {
      sqlite,
      memory,
      close: async () => void (await Promise.all([...sqlite, ...memory].map((ledger) => ledger.close()))),
    }
  })
  expectReached(seen)
}, 120_000)
