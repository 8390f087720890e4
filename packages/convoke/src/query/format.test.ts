import { describe, expect, test } from 'vitest'
import { brief, count, dollars, duration, exact, line, moment } from './format.ts'

test.each([
  [0, '0 ms'],
  [999.4, '999 ms'],
  [1_000, '1.0 s'],
  [59_990, '59.9 s'],
  [65_000, '1 m 05 s'],
  [3_600_000, '1 h 00 m'],
  [200_000_000, '2 d 7 h'],
])('%f ms is %s', (ms, says) => {
  expect(duration(ms)).toBe(says)
})

test.each([
  [7, '7'],
  [1_234, '1,234'],
  [12_345_678, '12,345,678'],
])('%i is %s', (n, says) => {
  expect(count(n)).toBe(says)
})

test.each([
  ['0', '$0'],
  ['0.000000', '$0'],
  ['0.0000123', '$0.000012'],
  ['0.5', '$0.5000'],
  ['12.345', '$12.35'],
])('%s is %s', (amount, says) => {
  expect(dollars(amount)).toBe(says)
})

test('moments are in UTC', () => {
  expect(moment(0)).toBe('1970-01-01 00:00:00')
})

describe('a line', () => {
  test('is one line, of bounded length, without control characters', () => {
    expect(line('a\nb\t c\u001b[31m d')).toBe('a b c [31m d')
    expect(line('abcdef', 4)).toBe('abc…')
  })

  test('is not cut within a character', () => {
    expect(line('ab\u{1f600}cd', 4).isWellFormed()).toBe(true)
  })
})

describe('a value', () => {
  test.each([
    [undefined, 'nothing'],
    [null, 'null'],
    ['text', 'text'],
    [[], 'none'],
    [[1, 'two', true], '1, two, true'],
    [{}, 'nothing'],
    [{ nested: { a: 1 }, plain: 'x' }, 'plain: x, nested: {a: 1}'],
    [[{ a: 1 }, { a: 2 }], '2 × {a: 1}'],
    [{ findings: [{ kind: 'price' }] }, 'findings: {kind: price}'],
    [{ hash: '0123456789abcdef'.repeat(4) }, 'hash: 01234567…'],
  ])('%j is told as %s', (value, says) => {
    expect(brief(value)).toBe(says)
  })

  test('is cut', () => {
    expect(brief('x'.repeat(500), 20)).toHaveLength(20)
    expect(brief(Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`k${i}`, i])), 40).length).toBe(40)
  })

  test('is exact where it must be', () => {
    expect(exact({ b: 1, a: '1' })).toBe('{"a":"1","b":1}')
    expect(exact(undefined)).toBe('(nothing)')
  })
})
