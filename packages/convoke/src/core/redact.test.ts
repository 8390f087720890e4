import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalize } from './canonical.ts'
import type { Json } from './json.ts'
import { isSecretRef, redactor, secret } from './redact.ts'

const at = { tenant: 'local', stream: 'run/r_1', type: 'step.completed' }

describe('redactor', () => {
  test('hides members by name at any depth, whatever they hold, and leaves the input alone', () => {
    const hide = redactor([{ keys: ['Password', 'card'] }])
    const value = { user: { password: 'x', PASSWORD: ['y'], name: 'Ann' }, list: [{ card: { number: 1 } }, 'card'] }
    const before = structuredClone(value)
    expect(hide(value, at)).toEqual({
      user: { password: '[redacted]', PASSWORD: '[redacted]', name: 'Ann' },
      list: [{ card: '[redacted]' }, 'card'],
    })
    expect(value).toEqual(before)
  })

  test('hides matches in any string, every one of them, in order of the rules', () => {
    const hide = redactor([
      { pattern: /sk-[a-z]+/, replacement: '$&' },
      { pattern: /\bDE\d{20}\b/y },
      (value, place) => (place.type === 'log' ? 'gone' : value),
    ])
    expect(hide({ a: 'sk-ab and sk-cd, DE02120300000000202051', b: ['sk-x'] }, at)).toEqual({
      a: '$& and $&, [redacted]',
      b: ['$&'],
    })
    expect(hide({ a: 1 }, { type: 'log' })).toBe('gone')
  })

  test('is the identity where nothing matches, secret references included', () => {
    const hide = redactor([{ keys: ['token'] }, { pattern: /erp-key|never/ }])
    const value: Json = { token: secret('erp-key'), headers: [secret('erp-key')], plain: { n: 1, s: 'text' } }
    expect(hide(value, at)).toBe(value)
    expect(redactor([])(value, at)).toBe(value)
    expect(hide(secret('erp-key'), at)).toEqual({ $secret: 'erp-key' })
  })

  test('keeps strange keys, and what no match is in stays as it was', () => {
    const hide = redactor([{ pattern: /secret/g }])
    const value = JSON.parse('{"__proto__":"secret","a":{"__proto__":1,"b":2}}') as Json
    expect(canonicalize(hide(value, at))).toBe('{"__proto__":"[redacted]","a":{"__proto__":1,"b":2}}')
    expect((hide(value, at) as { a: unknown }).a).toBe((value as { a: unknown }).a)
  })

  test('after it, no match is left in any value', () => {
    const hide = redactor([{ pattern: /[0-9]/, replacement: '#' }])
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const strings: string[] = []
        JSON.stringify(hide(value as Json, at), (_, item: unknown) =>
          typeof item === 'string' ? (strings.push(item), item) : item,
        )
        expect(strings.join('')).not.toMatch(/[0-9]/)
      }),
    )
  })
})

test('secret references are recognised by their shape alone', () => {
  expect(isSecretRef(secret('a'))).toBe(true)
  expect(isSecretRef(JSON.parse('{"$secret":"a"}'))).toBe(true)
  for (const other of [null, 'a', ['$secret'], {}, { $secret: 1 }, { $secret: 'a', more: 1 }])
    expect(isSecretRef(other)).toBe(false)
})
