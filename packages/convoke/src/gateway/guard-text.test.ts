import { expect, test } from 'vitest'
import fc from 'fast-check'
import { canonicalize } from '../core/canonical.ts'
import type { Json } from '../core/json.ts'
import { findIn, merged, redactJson, redactText, told, type Finding } from './guard-text.ts'

/** Finds `KEY` and digits: as tokens of real services begin. */
const rule = {
  find: (text: string): Finding[] =>
    [...text.matchAll(/\bKEY\d{4}/g)].map((m) => ({ start: m.index, end: m.index + m[0].length, kind: 'Test key' })),
}

test('what overlaps is one; a piece of a text takes no second mark for what begins before it', () => {
  const found = [
    { start: 4, end: 8, kind: 'b' },
    { start: 2, end: 6, kind: 'a' },
    { start: 10, end: 11, kind: 'c' },
  ]
  expect(merged(found)).toEqual([
    { start: 2, end: 8, kind: 'a' },
    { start: 10, end: 11, kind: 'c' },
  ])
  expect(redactText('0123456789ab', found)).toBe('01[redacted:a]89[redacted:c]b')
  expect(redactText('0123456789ab', found, { from: 5, to: 10 })).toBe('89')
  expect(told(found)).toBe('1 a, 1 c')
})

test('what JSON escapes hide is found, and what is left is still JSON', () => {
  const hidden = '{"a":"\\nKEY1234","b":"\\u004bEY5678","c":"C:\\\\KEY"}'
  const text = redactText(hidden, findIn(rule, hidden))
  expect(JSON.parse(text)).toEqual({ a: '\n[redacted:test-key]', b: '[redacted:test-key]', c: 'C:\\KEY' })
})

test('data: texts, names of members and long numbers, at any depth; the rest is the same', () => {
  const value: Json = JSON.parse('{"a":["x KEY1234","y"],"KEY5678":1,"__proto__":{"b":"KEY0000"},"n":12.5}') as Json
  const { value: out, found, left } = redactJson(rule, value)
  expect([found.length, left]).toEqual([3, []])
  expect(canonicalize(out)).toBe(
    '{"[redacted:test-key]":1,"__proto__":{"b":"[redacted:test-key]"},"a":["x [redacted:test-key]","y"],"n":12.5}',
  )
  const digits = {
    find: (text: string) =>
      [...text.matchAll(/\d{16}/g)].map((m) => ({ start: m.index, end: m.index + 16, kind: 'card' })),
  }
  expect(redactJson(digits, { card: 4539148803436467, at: 1 }).value).toEqual({ card: '[redacted:card]', at: 1 })
})

test('a value that only its name betrays is found; what cannot be taken out is said', () => {
  const named = {
    find: (text: string) =>
      [...text.matchAll(/"password":"([^"]+)"/g)]
        .filter((m) => !m[1]!.startsWith('[redacted'))
        .map((m) => ({ start: m.index + 12, end: m.index + 12 + m[1]!.length, kind: 'password' })),
  }
  expect(redactJson(named, { password: 'hunter2' }).value).toEqual({ password: '[redacted:password]' })
  const closing = {
    find: (text: string) => [...text.matchAll(/2"}/g)].map((m) => ({ start: m.index, end: m.index + 3, kind: 'x' })),
  }
  expect(redactJson(closing, { a: '1', b: '2' }).left).toHaveLength(1)
})

test('property: no key survives in any data, and redacting twice changes nothing', () => {
  const key = fc.integer({ min: 0, max: 9999 }).map((n) => `KEY${String(n).padStart(4, '0')}`)
  const piece = fc.oneof(
    fc.string(),
    key,
    key.map((k) => `say ${k}!`),
  )
  const json = fc.letrec((tie) => ({
    any: fc.oneof(
      piece,
      fc.integer(),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(piece, tie('any'), { maxKeys: 3 }),
    ),
  })).any
  fc.assert(
    fc.property(json, (value) => {
      const once = redactJson(rule, value as Json)
      expect(once.left).toEqual([])
      expect(findIn(rule, canonicalize(once.value))).toEqual([])
      expect(redactJson(rule, once.value)).toEqual({ value: once.value, found: [], left: [] })
    }),
    { numRuns: 300 },
  )
})
