import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalize, decode, deepFreeze, quote, settle, settleValue } from './canonical.ts'
import { isConvokeError } from './errors.ts'
import type { Json } from './json.ts'

/** RFC 8785 as plainly as it can be written; the reference for the fast ways. */
function naive(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(naive).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).filter(([, item]) => item !== undefined)
  members.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return `{${members.map(([key, item]) => `${JSON.stringify(key)}:${naive(item)}`).join(',')}}`
}

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('__proto__', 'constructor', '1', '10', '9', '', 'é', '\u2028', '\\ud800'),
)
const json = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<Json>(null, true, false, -0, 0, 1e-7, 5e-324, 333333333.3333333, 1.7976931348623157e-300),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Number.isInteger(n) || Number.isSafeInteger(n)),
    text,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(text, tie('value'), { maxKeys: 30 }),
  ),
})).value

describe('canonicalize', () => {
  test('writes the examples of RFC 8785', () => {
    const example = {
      numbers: [Number('333333333.33333329'), 1e30 / 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: '\u20ac$\u000f\u000aA\'\u0042\u0022\u005c\\"/',
      literals: [null, true, false],
    }
    expect(canonicalize(example)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    )
    const sorted = { '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\ud83d\ude00': 5, '\u0080': 6, '\u00f6': 7 }
    expect([...canonicalize(sorted).matchAll(/:(\d)/g)].map((m) => m[1]).join('')).toBe('2467153')
  })

  test('agrees with the naive reference, however members are ordered', () => {
    fc.assert(
      fc.property(json, (value) => {
        const expected = naive(value)
        expect(canonicalize(value)).toBe(expected)
        expect(canonicalize(JSON.parse(expected))).toBe(expected)
        expect(settle(value).text).toBe(expected)
      }),
      { numRuns: 1000 },
    )
  })

  test('live equals decoded: what settle hands back is what its text decodes to', () => {
    fc.assert(
      fc.property(json, (value) => {
        const { text, value: live } = settle(value)
        expect(live).toEqual(decode(text))
        expect(canonicalize(live)).toBe(text)
        // Also in the order in which code would enumerate it.
        expect(JSON.stringify(live)).toBe(JSON.stringify(decode(text)))
        expect(JSON.stringify(settleValue(value))).toBe(JSON.stringify(live))
      }),
    )
  })

  test('keeps keys that objects treat apart', () => {
    const value = JSON.parse('{"b":1,"__proto__":{"x":1},"10":1,"9":2,"a":{"__proto__":[]}}') as Json
    const expected = '{"10":1,"9":2,"__proto__":{"x":1},"a":{"__proto__":[]},"b":1}'
    expect(canonicalize(value)).toBe(expected)
    expect(settle(value).text).toBe(expected)
    expect(Object.keys(settle(value).value as object)).toEqual(['9', '10', '__proto__', 'a', 'b'])
    expect(settleValue(value)).toEqual(settle(value).value)
  })

  test('leaves undefined members out and reads a getter once', () => {
    let reads = 0
    const value = {
      b: undefined,
      get a() {
        return ++reads
      },
    }
    expect(settle(value)).toEqual({ text: '{"a":1}', value: { a: 1 } })
  })

  class Money {
    amount = 1
  }
  const cycle: Record<string, unknown> = {}
  cycle['self'] = cycle
  test.for<[unknown, string]>([
    [NaN, ''],
    [{ a: [1, Infinity] }, '/a/1'],
    [{ 'a/b': { '~': 2 ** 53 } }, '/a~1b/~0'],
    ['\ud800', ''],
    [{ ok: '\\ud800', bad: 'x\udc00y' }, '/bad'],
    [{ '\ud800': 1 }, '/\ufffd'],
    [[1n], '/0'],
    [{ f: () => 1 }, '/f'],
    [[undefined], '/0'],
    [[Symbol('s')], '/0'],
    [{ at: new Date(0) }, '/at'],
    [new Map(), ''],
    [{ m: new Money() }, '/m'],
    [undefined, ''],
  ])('refuses %o at "%s"', ([value, pointer]) => {
    for (const write of [canonicalize, settle, settleValue]) {
      const error = refusal(() => write(value))
      expect(error.code).toBe('NOT_CANONICAL')
      expect(error.details).toEqual({ pointer })
      expect(error.next).toBeTypeOf('string')
    }
  })

  test('refuses sparse arrays and cycles, and nesting beyond 500 only', () => {
    expect(refusal(() => canonicalize(Array(1))).code).toBe('NOT_CANONICAL')
    expect(refusal(() => canonicalize(cycle)).message).toContain('cycle')
    const nested = (depth: number): Json => JSON.parse('['.repeat(depth) + ']'.repeat(depth)) as Json
    expect(canonicalize(nested(500))).toHaveLength(1000)
    expect(settle(nested(500)).text).toHaveLength(1000)
    expect(refusal(() => canonicalize(nested(501))).code).toBe('NOT_CANONICAL')
    expect(refusal(() => settle(nested(501))).code).toBe('NOT_CANONICAL')
  })
})

test('decoded and settled values are frozen all the way down', () => {
  const frozen = (value: Json): boolean =>
    typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen))
  fc.assert(
    fc.property(json, (value) => {
      expect(frozen(settle(value).value)).toBe(true)
      expect(frozen(settleValue(value))).toBe(true)
      expect(frozen(decode(canonicalize(value)))).toBe(true)
      expect(frozen(deepFreeze(structuredClone(value)))).toBe(true)
    }),
  )
})

test('quote writes strings as JSON.stringify does', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (value) => {
      expect(quote(value)).toBe(JSON.stringify(value))
    }),
  )
})

function refusal(act: () => unknown): { code: string; message: string; details: unknown; next: unknown } {
  try {
    act()
  } catch (error) {
    if (isConvokeError(error)) return error
    throw error
  }
  throw new Error('nothing was refused')
}
