import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addAmounts, costOf, decimal } from './cost.ts'

const at = Date.UTC(2026, 10, 21)

test('cached tokens are a part of the input, priced at their own rates', () => {
  // gpt-5-mini: 0.25 a million in, 0.025 cached, 2 out
  const tokens = { input: 1000, cacheRead: 100, output: 100, reasoning: 60 }
  expect(costOf({ provider: 'openai', model: 'gpt-5-mini-2025-08-07', tokens, at })).toEqual({
    amount: '0.0004275',
    currency: 'USD',
    table: expect.stringMatching(/^@pydantic\/genai-prices@\d+\.\d+\.\d+$/),
  })
})

test('cache writes cost more than plain input', () => {
  // claude-haiku-4-5: 1 in, 1.25 written, 0.1 read, 5 out
  const tokens = { input: 10_000, cacheWrite: 4000, cacheRead: 5000, output: 10 }
  expect(costOf({ provider: 'anthropic', model: 'claude-haiku-4-5', tokens, at })?.amount).toBe('0.00655')
})

test('the table is the installed package', () => {
  const path = findPackageJSON('@pydantic/genai-prices', import.meta.url) ?? ''
  const { version } = JSON.parse(readFileSync(path, 'utf8')) as { version: string }
  const cost = costOf({ provider: 'openai', model: 'gpt-5-mini', tokens: { input: 1 }, at })
  expect(cost?.table).toBe(`@pydantic/genai-prices@${version}`)
})

test.each([
  ['openai', 'no-such-model', { input: 1 }],
  ['scripted', 'gpt-5-mini', { input: 1 }],
  ['openai-compatible', 'gpt-5-mini', { input: 1 }],
  ['openai', 'gpt-5-mini', {}],
])('unknown stays unknown: %s %s %j', (provider, model, tokens) => {
  expect(costOf({ provider, model, tokens, at })).toBeUndefined()
})

test('counts that contradict each other still have a price', () => {
  const tokens = { input: 10, cacheRead: 100, output: 0 }
  expect(costOf({ provider: 'openai', model: 'gpt-5-mini', tokens, at })?.amount).toBe('0.0000025')
})

describe('decimals', () => {
  test('an amount is the exact product of prices and tokens', () => {
    // In units of 10^-12 dollars; flat prices of four models.
    const prices = [
      ['openai', 'gpt-5-mini', 250_000n, 25_000n, 2_000_000n],
      ['openai', 'o3-mini', 1_100_000n, 550_000n, 4_400_000n],
      ['anthropic', 'claude-haiku-4-5', 1_000_000n, 100_000n, 5_000_000n],
      ['openai', 'gpt-5-nano', 50_000n, 5000n, 400_000n],
    ] as const
    const count = fc.integer({ min: 0, max: 5_000_000 })
    fc.assert(
      fc.property(
        fc.constantFrom(...prices),
        count,
        count,
        count,
        ([provider, model, inPrice, cached, outPrice], a, b, o) => {
          const cost = costOf({ provider, model, tokens: { input: a + b, cacheRead: b, output: o }, at })
          const exact = BigInt(a) * inPrice + BigInt(b) * cached + BigInt(o) * outPrice
          const digits = exact.toString().padStart(13, '0')
          const text = `${digits.slice(0, -12)}.${digits.slice(-12)}`.replace(/\.?0+$/, '')
          expect(cost?.amount).toBe(text)
        },
      ),
    )
  })

  test.each([
    [0, '0'],
    [100, '100'],
    [1200, '1200'],
    [0.1 + 0.2, '0.3'],
    [0.00042750000000000004, '0.0004275'],
    [1e-12, '0.000000000001'],
    [123_456.789, '123456.789'],
  ])('%d', (amount, text) => {
    expect(decimal(amount)).toBe(text)
  })

  test('sums are exact', () => {
    expect(addAmounts()).toBe('0')
    expect(addAmounts('0.1', '0.2')).toBe('0.3')
    expect(addAmounts('-0.5', '0.25')).toBe('-0.25')
    expect(addAmounts('99.999999999999', '0.000000000001')).toBe('100')
    const amount = fc.integer({ min: 0, max: 10 ** 9 })
    fc.assert(
      fc.property(fc.array(amount), (units) => {
        const sum = addAmounts(...units.map((unit) => decimal(unit / 1e6)))
        expect(sum).toBe(decimal(units.reduce((a, b) => a + b, 0) / 1e6))
      }),
    )
  })
})

test('nothing is fetched for a price', () => {
  const real = globalThis.fetch
  let calls = 0
  globalThis.fetch = () => {
    calls++
    return Promise.reject(new Error('offline'))
  }
  try {
    expect(costOf({ provider: 'openai', model: 'gpt-5-nano', tokens: { input: 1 }, at })).toBeDefined()
    expect(costOf({ provider: 'openai', model: 'no-such-model', tokens: { input: 1 }, at })).toBeUndefined()
  } finally {
    globalThis.fetch = real
  }
  expect(calls).toBe(0)
})
