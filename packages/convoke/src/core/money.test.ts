import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addDecimal, compareDecimal } from './money.ts'

const scaled = fc.tuple(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.nat(12))
const print = ([units, scale]: readonly [bigint, number]): string => {
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  return (units < 0n ? '-' : '') + (scale === 0 ? whole : `${whole}.${digits.slice(-scale)}`)
}

test('adds as integers of the finer scale do, which keeps every digit', () => {
  fc.assert(
    fc.property(scaled, scaled, (a, b) => {
      const scale = Math.max(a[1], b[1])
      const units = ([n, s]: readonly [bigint, number]): bigint => n * 10n ** BigInt(scale - s)
      expect(addDecimal(print(a), print(b))).toBe(print([units(a) + units(b), scale]))
      const difference = units(a) - units(b)
      expect(Math.sign(compareDecimal(print(a), print(b)))).toBe(difference > 0n ? 1 : difference < 0n ? -1 : 0)
    }),
  )
})

test('what doubles get wrong comes out right', () => {
  expect(addDecimal('0.1', '0.2')).toBe('0.3')
  expect(addDecimal('-0.05', '0.05')).toBe('0.00')
  expect(addDecimal('1.50', '1')).toBe('2.50')
  expect(addDecimal('0.000001', '99999999999999.99')).toBe('99999999999999.990001')
  expect(compareDecimal('1.0', '1')).toBe(0)
  expect(compareDecimal('-2', '-1')).toBe(-1)
})

test.for(['', '1,5', '1e5', '.5', '1.', '+1', ' 1', 'NaN', '0x1', '1\n', '٣'])('refuses %o', (text) => {
  expect(() => addDecimal(text, '1')).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }))
  expect(() => compareDecimal('1', text)).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }))
})
