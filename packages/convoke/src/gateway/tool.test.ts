import { describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { diffActions } from './action.ts'
import type { GatewayRun } from './extend.ts'
import { retryAfter } from './fetch.ts'
import { matches } from '../core/patterns.ts'
import { exceeds } from './result.ts'
import { tool, type AnyTool, type Tool } from './tool.ts'

const inputSchema = z.object({ amount: z.string(), note: z.string().default('') })

describe('tool()', () => {
  test('infers what callers pass and get', () => {
    const checked = tool({
      name: 'a',
      description: '',
      inputSchema,
      outputSchema: z.object({ id: z.number() }),
      effect: 'read',
      execute: (input) => {
        expectTypeOf(input).toEqualTypeOf<{ amount: string; note: string }>()
        return JSON.parse('{}') as unknown
      },
    })
    expectTypeOf(checked).toEqualTypeOf<Tool<{ amount: string; note?: string | undefined }, { id: number }>>()
    const plain = tool({ name: 'b', description: '', inputSchema, effect: 'read', execute: async () => [1, 2] })
    expectTypeOf(plain).toEqualTypeOf<Tool<{ amount: string; note?: string | undefined }, number[]>>()
    const any: AnyTool[] = [checked, plain]
    expect(any.every((t) => Object.isFrozen(t))).toBe(true)

    const use = (run: GatewayRun): void => {
      expectTypeOf(run.call(checked, { amount: '1' })).resolves.toEqualTypeOf<{ id: number }>()
      // @ts-expect-error the amount is a string
      void run.call(checked, { amount: 1 })
      // @ts-expect-error the undo's input is not what the call gives
      void run.call(checked, { amount: '1' }, { undo: plain })
      void run.call(checked, { amount: '1' }, { undo: { tool: plain, input: (paid) => ({ amount: String(paid.id) }) } })
    }
    expectTypeOf(use).toBeFunction()
  })

  test.each([
    ['a name with a space', { name: 'a b' }],
    ['no description', { description: undefined }],
    ['an effect class that does not exist', { effect: 'maybe' }],
    ['a reconcilable tool that cannot answer', { effect: 'reconcilable' }],
    ['neither execute nor transport', { execute: undefined }],
    ['a schema that is none', { inputSchema: {} }],
    ['no time at all', { timeoutMs: 0 }],
  ])('DEFINITION_INVALID for %s', (_what, wrong) => {
    const good = { name: 'a', description: '', inputSchema, effect: 'read', execute: () => 1 }
    expect(() => tool({ ...good, ...wrong } as never)).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID' }) as Error,
    )
  })
})

test('names fit patterns with any number of stars', () => {
  const yes = [
    ['*', 'erp.pay'],
    ['erp.*', 'erp.'],
    ['erp.*', 'erp.pay'],
    ['*.pay', 'erp.pay'],
    ['e*p*y', 'erp.pay'],
    ['erp.pay', 'erp.pay'],
    ['**', ''],
  ] as const
  const no = [
    ['erp.*', 'erp'],
    ['a*a', 'a'],
    ['*x*', 'erp.pay'],
    ['erp', 'erp.pay'],
    ['e*pp*y', 'erp.pay'],
    ['[a-z]*', 'erp'],
  ] as const
  for (const [pattern, name] of yes) expect(`${pattern} ${matches(pattern, name)}`).toBe(`${pattern} true`)
  for (const [pattern, name] of no) expect(`${pattern} ${matches(pattern, name)}`).toBe(`${pattern} false`)
})

test('actions differ member by member', () => {
  const before = { tool: 'pay', input: { amount: '5', to: ['a', 'b'], 'x/y': 1 } }
  const after = { tool: 'pay', input: { amount: '6', to: ['a'], 'x/y': 1, note: null } }
  expect(diffActions(before, after)).toEqual([
    { pointer: '/input/amount', before: '5', after: '6' },
    { pointer: '/input/note', after: null },
    { pointer: '/input/to/1', before: 'b' },
  ])
  expect(diffActions(before, before)).toEqual([])
  expect(diffActions({ a: [] }, { a: {} })).toEqual([{ pointer: '/a', before: [], after: {} }])
})

test('retry-after in seconds, as a date, or nonsense; a day at most', () => {
  const now = Date.UTC(2026, 0, 1)
  expect(retryAfter('3', now)).toBe(3000)
  expect(retryAfter('Thu, 01 Jan 2026 00:00:10 GMT', now)).toBe(10_000)
  expect(retryAfter('Wed, 31 Dec 2025 00:00:00 GMT', now)).toBe(0)
  expect(retryAfter('soon', now)).toBeUndefined()
  expect(retryAfter(null, now)).toBeUndefined()
  expect(retryAfter('99999999', now)).toBe(86_400_000)
})

test('a size is known without writing the value down, cycles included', () => {
  const loop: unknown[] = []
  loop.push(loop)
  expect(exceeds(loop, 100)).toBe(false)
  expect(exceeds('x'.repeat(101), 100)).toBe(true)
  expect(
    exceeds(
      Array.from({ length: 1000 }, () => 0),
      100,
    ),
  ).toBe(true)
  expect(exceeds({ a: new Uint8Array(200) }, 100)).toBe(true)
  expect(exceeds({ a: 1, b: [true, null] }, 100)).toBe(false)
})
