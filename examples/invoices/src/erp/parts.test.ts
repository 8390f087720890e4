import { describe, expect, it } from 'vitest'
import { fromMinor, fromThousandths, toMinor, toThousandths } from './money.ts'
import { parseIdempotencyKey } from './posts.ts'

describe('the header Idempotency-Key', () => {
  it.each([
    ['abc-1', 'abc-1'],
    ['"a b"', 'a b'],
    ['"a\\"b\\\\c"', 'a"b\\c'],
    [' "x" ', 'x'],
    ['', undefined],
    ['""', undefined],
    ['"a', undefined],
    ['a"b', undefined],
    ['x'.repeat(256), undefined],
  ])('%j is read as %j', (header, key) => {
    expect(parseIdempotencyKey(header)).toBe(key)
  })
})

describe('money', () => {
  it.each([
    ['1190.00', 'EUR', 119_000, '1190.00'],
    ['1190', 'EUR', 119_000, '1190.00'],
    ['0.05', 'GBP', 5, '0.05'],
    ['-0.05', 'USD', -5, '-0.05'],
    ['1.500', 'EUR', 150, '1.50'],
    ['1500', 'JPY', 1500, '1500'],
    ['1.234', 'KWD', 1234, '1.234'],
    ['999999999999.99', 'EUR', 99_999_999_999_999, '999999999999.99'],
  ])('%s %s is %d minor units and prints as %s', (decimal, currency, minor, printed) => {
    expect(toMinor(decimal, currency)).toBe(minor)
    expect(fromMinor(minor, currency)).toBe(printed)
  })

  it.each([
    ['1.005', 'EUR'],
    ['1.5', 'JPY'],
    ['1,00', 'EUR'],
    ['', 'EUR'],
    ['1e3', 'EUR'],
    ['.5', 'EUR'],
    ['9'.repeat(13), 'EUR'],
  ])('%j %s is no amount', (decimal, currency) => {
    expect(toMinor(decimal, currency)).toBeUndefined()
  })

  it('keeps quantities to thousandths', () => {
    expect([toThousandths('2.5'), toThousandths('-8'), toThousandths('0.0001')]).toEqual([2500, -8000, undefined])
    expect([fromThousandths(2500), fromThousandths(100_000), fromThousandths(0), fromThousandths(-8000)]).toEqual([
      '2.5',
      '100',
      '0',
      '-8',
    ])
  })
})
