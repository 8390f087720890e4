// What users write, with the types that must come out of it. Nothing here runs: `npm run types` checks it with everything
// else, and types.test.ts that the check would find a mistake and that it stays cheap.
import { expectTypeOf } from 'vitest'
import { z } from 'zod'
import {
  agent,
  answer,
  attemptVerifier,
  boardKey,
  convoke,
  role,
  signal,
  squad,
  tool,
  workflow,
  type Outcome,
  type Role,
  type Run,
  type RunHandle,
  type Workflow,
} from '../../src/index.ts'

const Letter = z.object({ text: z.string(), pages: z.number().default(1) })
const Sorted = z.object({ topic: z.enum(['delivery', 'other']), order: z.string() })

type LetterIn = { text: string; pages?: number | undefined }
type LetterOut = { text: string; pages: number }
type SortedOut = { topic: 'delivery' | 'other'; order: string }

const sorter = role({ name: 'sorter', input: Letter, output: Sorted })
const writer = role({ name: 'writer', input: Sorted, output: Letter, evidence: 'required' })
const team = squad({ sorter, writer })

const pay = tool({
  name: 'bank.pay',
  description: 'pays',
  effect: 'keyed',
  inputSchema: z.object({ amount: z.string(), note: z.string().default('') }),
  outputSchema: z.object({ id: z.string() }),
  execute: ({ amount, note }, { idempotencyKey, signal: aborts }) => {
    expectTypeOf({ amount, note, idempotencyKey }).toEqualTypeOf<{
      amount: string
      note: string
      idempotencyKey: string
    }>()
    expectTypeOf(aborts).toEqualTypeOf<AbortSignal>()
    return {}
  },
})
const rates = tool({
  name: 'rates',
  description: 'rates',
  effect: 'read',
  inputSchema: z.object({}),
  execute: async () => ({ usd: 1.1 }),
})

const go = signal({ name: 'go', schema: z.object({ at: z.coerce.number() }) })
const draft = boardKey<{ text: string }>('draft')

export function roles(): void {
  expectTypeOf(sorter).toEqualTypeOf<Role<LetterIn, SortedOut>>()
  expectTypeOf(writer).toEqualTypeOf<Role<SortedOut, LetterOut>>()
  expectTypeOf<keyof typeof team>().toEqualTypeOf<'sorter' | 'writer'>()
  expectTypeOf(team.writer).toEqualTypeOf<Role<SortedOut, LetterOut>>()
  // @ts-expect-error there is no such role
  void team.painter
  // @ts-expect-error evidence is one of three words
  role({ name: 'x', input: Letter, output: Sorted, evidence: 'always' })
}

export function agents(): void {
  agent({
    role: sorter,
    run: async (context, input) => {
      expectTypeOf(input).toEqualTypeOf<LetterIn>()
      const inner = await context.ask(writer, { topic: 'other', order: '1' })
      expectTypeOf(inner.value).toEqualTypeOf<LetterOut>()
      expectTypeOf(await context.call(rates, {})).toEqualTypeOf<{ usd: number }>()
      return { topic: 'delivery', order: inner.value.text }
    },
  })
  agent({ role: sorter, run: async () => answer({ topic: 'other' as const, order: '1' }, { confidence: 0.5 }) })
  agent({ role: sorter, instructions: 'Sort.', maxTurns: 3 })
  // @ts-expect-error the answer of a sorter has a topic
  agent({ role: sorter, run: async () => ({ order: '1' }) })
}

export async function run(r: Run): Promise<void> {
  const sorted = await r.ask(sorter, { text: 'Where is it?' })
  expectTypeOf(sorted).toEqualTypeOf<Outcome<SortedOut>>()
  // @ts-expect-error a letter has a text
  void r.ask(sorter, { pages: 2 })

  expectTypeOf(await r.call(pay, { amount: '1' })).toEqualTypeOf<{ id: string }>()
  expectTypeOf(await r.call(rates, {})).toEqualTypeOf<{ usd: number }>()
  // @ts-expect-error an amount is a text
  void r.call(pay, { amount: 1 })

  expectTypeOf(await r.step('s', () => 1)).toEqualTypeOf<number>()
  expectTypeOf(await r.step('s', { input: 1 }, async ({ attempt }) => [attempt])).toEqualTypeOf<number[]>()

  const both = await r.all('both', {
    a: (b) => b.ask(writer, sorted.value),
    b: async (b) => (await b.step('n', () => 1)) + 1,
  })
  expectTypeOf(both.a.value).toEqualTypeOf<LetterOut>()
  expectTypeOf(both.b).toEqualTypeOf<number>()
  const first = await r.race('first', { quick: async () => 1, slow: async () => 'x' })
  expectTypeOf(first.winner).toEqualTypeOf<'quick' | 'slow'>()
  expectTypeOf(first.value).toEqualTypeOf<string | number>()

  const mapped = await r.map('each', ['a', 'b'], { key: (k) => k.toUpperCase() }, (b, k) => b.step('s', () => k.length))
  expectTypeOf(mapped).toEqualTypeOf<number[]>()
  // @ts-expect-error items are named by a key, never by where they stand
  void r.map('each', ['a'], {}, async () => 1)

  const kept = await r.attempt(
    'draft',
    { plain: (b) => b.ask(writer, sorted.value), careful: (b) => b.ask(writer, sorted.value, { agent: 'large' }) },
    { verify: async (outcome) => ({ ok: outcome.value.pages > 0 }) },
  )
  expectTypeOf(kept).toEqualTypeOf<Outcome<LetterOut>>()
  const judge = role({ name: 'judge', input: Letter, output: z.object({ ok: z.boolean() }) })
  await r.attempt('draft', { plain: (b) => b.ask(writer, sorted.value) }, { verify: attemptVerifier(judge) })

  await r.board.put(draft, { text: 'x' })
  expectTypeOf(r.board.get(draft)).toEqualTypeOf<{ text: string } | undefined>()
  // @ts-expect-error the draft has a text
  void r.board.put(draft, 'x')

  expectTypeOf(await r.receive(go)).toEqualTypeOf<{ at: number }>()
  expectTypeOf(await r.receive(go, { timeout: 1 })).toEqualTypeOf<{ at: number } | undefined>()

  expectTypeOf(await r.child(reply, { text: 'x' })).toEqualTypeOf<LetterOut>()
  // @ts-expect-error the child takes a letter
  void r.child(reply, {})
}

const reply = workflow({ name: 'reply', input: Letter, output: Letter }, async (r, letter) => {
  expectTypeOf(r).toEqualTypeOf<Run>()
  expectTypeOf(letter).toEqualTypeOf<LetterOut>()
  return { text: letter.text }
})
const loose = workflow({ name: 'loose' }, async (_, input) => {
  expectTypeOf(input).toEqualTypeOf<unknown>()
})
// @ts-expect-error a reply is a letter
workflow({ name: 'wrong', output: Letter }, async () => 1)

export async function handles(): Promise<void> {
  expectTypeOf(reply).toEqualTypeOf<Workflow<LetterIn, LetterOut>>()
  const app = convoke({ workflows: { reply, loose }, tools: [pay, rates] })
  const handle = await app.start(reply, { text: 'x' })
  expectTypeOf(handle).toEqualTypeOf<RunHandle<LetterOut>>()
  expectTypeOf(await handle.result()).toEqualTypeOf<LetterOut>()
  expectTypeOf(await (await handle.fork({ at: 'sorted' })).result()).toEqualTypeOf<LetterOut>()
  await handle.signal(go, { at: 1 })
  // @ts-expect-error the signal has a time
  void handle.signal(go, {})
  // @ts-expect-error the workflow takes a letter
  void app.start(reply, { pages: 1 })
  expectTypeOf(await (await app.start(loose, 1)).result()).toEqualTypeOf<unknown>()
}
