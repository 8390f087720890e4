import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ConvokeError } from '../core/errors.ts'
import type { ActingRun } from '../../test/durable/act.ts'
import { begin, flow, goOn, lines, newWorld, recordOf, type Recorded } from '../../test/durable/world.ts'

// Random programs out of the run's own grammar, run live once and then from every prefix of their ledger: the same
// comes out, no body runs that has a record, and what runs after the cut is what ran after it the first time.

type Program =
  | {
      readonly op: 'step'
      readonly fails: boolean
      readonly ms: number
      readonly draws: boolean
      readonly pure: boolean
    }
  | { readonly op: 'act'; readonly fails: boolean; readonly ms: number }
  | { readonly op: 'put' }
  | { readonly op: 'sleep' }
  | { readonly op: 'seq'; readonly parts: readonly Program[] }
  | { readonly op: 'all' | 'race' | 'map' | 'settled'; readonly parts: readonly Program[] }
  | { readonly op: 'attempt'; readonly parts: readonly Program[]; readonly verify: boolean }

const ms = fc.integer({ min: 0, max: 4 })
const programs = fc.letrec<{ p: Program; leaf: Program }>((tie) => ({
  leaf: fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        op: fc.constant('step' as const),
        fails: fc.constant(false),
        ms,
        draws: fc.boolean(),
        pure: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        op: fc.constant('step' as const),
        fails: fc.constant(true),
        ms,
        draws: fc.boolean(),
        pure: fc.boolean(),
      }),
    },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('act' as const), fails: fc.constant(false), ms }) },
    { weight: 1, arbitrary: fc.constant({ op: 'put' as const }) },
    { weight: 1, arbitrary: fc.constant({ op: 'sleep' as const }) },
  ),
  p: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    tie('leaf'),
    fc.record({
      op: fc.constantFrom('seq' as const, 'all' as const, 'race' as const, 'map' as const, 'settled' as const),
      parts: fc.array(tie('p'), { minLength: 1, maxLength: 3 }),
    }),
    fc.record({
      op: fc.constant('attempt' as const),
      parts: fc.array(tie('p'), { minLength: 1, maxLength: 2 }),
      verify: fc.boolean(),
    }),
  ) as fc.Arbitrary<Program>,
}))

const key = { kind: 'board-key', name: 'k' } as const
const after = (time: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, time))

interface Log {
  readonly bodies: string[]
}

async function interpret(run: ActingRun, program: Program, log: Log, place: string): Promise<unknown> {
  const named = (parts: readonly Program[]): Record<string, (r: ActingRun) => Promise<unknown>> =>
    Object.fromEntries(parts.map((part, i) => [`b${i}`, (r: ActingRun) => interpret(r, part, log, `${place}.${i}`)]))
  switch (program.op) {
    case 'step': {
      const drawn = program.draws ? [run.random(), run.uuid(), run.now()] : []
      const input = { place, drawn, board: run.board.get(key) ?? null }
      return run.step('s', { input, pure: program.pure }, async () => {
        log.bodies.push(place)
        await after(program.ms)
        if (program.fails) throw new ConvokeError('BODY_FAILED', place)
        return { place, drawn: drawn.slice(0, 2) }
      })
    }
    case 'act':
      return run.act('act', {
        input: place,
        do: async ({ dispatched }) => {
          log.bodies.push(dispatched === 0 ? place : `${place} again`)
          await after(program.ms)
          return place
        },
        undo: () => void log.bodies.push(`undo ${place}`),
      })
    case 'put':
      await run.board.put(key, place)
      return place
    case 'sleep':
      await run.sleep(2)
      return 'slept'
    case 'seq': {
      const out: unknown[] = []
      for (const [i, part] of program.parts.entries())
        out.push(await interpret(run, part, log, `${place}.${i}`).catch((e: unknown) => (e as ConvokeError).code))
      return out
    }
    case 'all':
      return run.all('all', named(program.parts))
    case 'race':
      return run.race('race', named(program.parts))
    case 'map':
      return run.map(
        'map',
        program.parts.map((part, i) => ({ part, i })),
        { key: ({ i }) => `k${i}`, concurrency: 2 },
        (r, { part, i }) => interpret(r, part, log, `${place}.${i}`),
      )
    case 'settled': {
      const results = await run.mapSettled(
        'set',
        program.parts.map((part, i) => ({ part, i })),
        { key: ({ i }) => `k${i}` },
        (r, { part, i }) => interpret(r, part, log, `${place}.${i}`),
      )
      return results.map((r) => (r.status === 'fulfilled' ? [r.value ?? null] : (r.reason as ConvokeError).code))
    }
    case 'attempt':
      return run.attempt('try', named(program.parts), {
        verify: async (_, r) => ({ ok: await r.step('verify', () => program.verify) }),
      })
  }
}

/** Bodies whose end a ledger of the first `cut` records knows; they must not run again. */
function ended(recorded: Recorded, cut: number): Set<string> {
  const known = new Set<string>()
  for (const { record, payload } of recorded.entries.slice(0, cut)) {
    const input = payload['input'] as { place?: string } | undefined
    if (record.type === 'step.completed' && typeof input?.place === 'string') known.add(input.place)
    if (payload['op'] === 'act' && record.type === 'step.completed' && typeof payload['value'] === 'string')
      known.add(payload['value'])
  }
  return known
}

const long = process.env['CONVOKE_TEST_LONG'] === '1'

test(
  'R1 R3: live equals replay for random programs, at every prefix of their ledgers',
  async () => {
    let prefixes = 0
    await fc.assert(
      fc.asyncProperty(programs.p, async (program) => {
        const log: Log = { bodies: [] }
        const random = flow('random', async (run) => {
          const value = await interpret(run, { op: 'seq', parts: [program] }, log, 'p')
          return (value as unknown[]).map((v) => v ?? null)
        })
        const app = newWorld().app([random])
        const live = await (await begin(app, 'random', null)).result()
        const recorded = await recordOf(app)
        await app.close()
        const all = recorded.entries.length
        for (let cut = 2; cut <= all; cut++) {
          log.bodies.length = 0
          const again = await goOn(recorded, cut, [random])
          const result = await again.handle.result()
          const done = ended(recorded, cut)
          expect(log.bodies.filter((place) => done.has(place))).toEqual([])
          expect(new Set(log.bodies).size).toBe(log.bodies.length)
          const entries = (await recordOf(again.app)).entries
          expect(entries.slice(0, cut).map((e) => e.record.hash)).toEqual(
            recorded.entries.slice(0, cut).map((e) => e.record.hash),
          )
          // A race that was not decided at the cut may be decided otherwise; all else must come out the same.
          if (!lines(recorded.entries.slice(cut)).some((l) => l.startsWith('race.won')) && !timed(program))
            expect(result).toEqual(live)
          // And what this second life wrote replays as well.
          if (cut % 3 === 0) {
            const second = await recordOf(again.app)
            log.bodies.length = 0
            const third = await goOn(second, second.entries.length - 1, [random])
            expect(await third.handle.result()).toEqual(result)
            expect(log.bodies).toEqual([])
            await third.app.close()
          }
          expect(again.troubles).toEqual([])
          await again.app.close()
          prefixes++
        }
      }),
      { numRuns: long ? 400 : 100, seed: Number(process.env['CONVOKE_TEST_SEED'] ?? 20261127), endOnFailure: false },
    )
    expect(prefixes).toBeGreaterThan(100)
  },
  long ? 900_000 : 120_000,
)

/** Which of two branches fails first, or wins, is a matter of time unless it was recorded. */
function timed(program: Program): boolean {
  if (program.op === 'race') return true
  if (program.op === 'all' || program.op === 'map') return program.parts.some((part) => timed(part) || mayFail(part))
  return 'parts' in program && program.parts.some(timed)
}

function mayFail(program: Program): boolean {
  if (program.op === 'step') return program.fails
  if (program.op === 'attempt') return !program.verify || program.parts.every(mayFail)
  if (program.op === 'seq' || program.op === 'settled') return false
  return 'parts' in program && program.parts.some(mayFail)
}
