import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decimalMark, parseAmount, parseNumber, sameNumber, scaled } from './numbers.ts'

/** Prints whole and fraction digits with the given marks. */
function printed(whole: number, fraction: string, group: string, mark: string): string {
  return `${String(whole).replace(/\B(?=(\d{3})+$)/g, group)}${fraction === '' ? '' : mark + fraction}`
}

const STYLES = [
  ['', ','],
  ['', '.'],
  ['.', ','],
  [',', '.'],
  [' ', ','],
  ["'", '.'],
  ['\u202f', ','],
] as const

describe('parseNumber', () => {
  it.each([
    ['1.234,56', '1234.56'],
    ['1,234.56', '1234.56'],
    ['1 234,56', '1234.56'],
    ["1'234.56", '1234.56'],
    ['1.234.567', '1234567'],
    ['-14,73', '-14.73'],
    ['14,73-', '-14.73'],
    ['−5', '-5'],
    ['86,5500', '86.5500'],
    ['0.025', '0.025'],
    ['300', '300'],
  ])('reads %s', (text, value) => {
    expect(parseNumber(text)).toBe(value)
  })

  it.each(['1.234', '1,234', '999,999'])('does not guess what %s means', (text) => {
    expect(parseNumber(text)).toBeUndefined()
  })

  it('reads a lone separator before three digits by the mark that the document uses', () => {
    expect(parseNumber('1.234', ',')).toBe('1234')
    expect(parseNumber('1.234', '.')).toBe('1.234')
  })

  it.each([
    '',
    '-',
    '1.23.45',
    '1,23,456',
    '12.34,56',
    '1 23',
    '1.234,56.7',
    'abc',
    '1,2,3',
    '--5',
    '-5-',
    '5,',
    ',5',
    '0.123.456',
  ])('refuses %j', (text) => {
    expect(parseNumber(text)).toBeUndefined()
  })

  it('refuses a mark that is not the document’s', () => {
    expect(parseNumber('1,234.56', ',')).toBeUndefined()
    expect(parseNumber('12.34', ',')).toBeUndefined()
  })

  it('keeps every printed digit in every style, or stays silent', () => {
    const digits = fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 5 }).map((list) => list.join(''))
    fc.assert(
      fc.property(fc.nat({ max: 10 ** 9 }), digits, fc.constantFrom(...STYLES), (whole, fraction, [group, mark]) => {
        const value = parseNumber(printed(whole, fraction, group, mark))
        const truth = `${whole}${fraction === '' ? '' : `.${fraction}`}`
        expect([truth, undefined]).toContain(value)
        if (fraction.length === 2) expect(value).toBe(truth)
      }),
    )
  })

  it('never throws and only ever yields a decimal', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."0123456789.,' -€".split('')) }), (text) => {
        const value = parseNumber(text)
        if (value !== undefined) expect(value).toMatch(/^-?\d+(\.\d+)?$/)
      }),
    )
  })
})

describe('parseAmount', () => {
  it.each([
    ['1.589,80 €', '1589.80'],
    ['€ 12.00', '12.00'],
    ['-218,48 €', '-218.48'],
    ['GBP 5.00', '5.00'],
    ['5.00 USD', '5.00'],
    ['20', '20'],
  ])('reads %s', (text, value) => {
    expect(parseAmount(text)).toBe(value)
  })

  it.each(['3,3333', '19 %', '12.5', '5 kg', '01.03.2018'])('takes %s for no amount of money', (text) => {
    expect(parseAmount(text)).toBeUndefined()
  })
})

describe('decimalMark', () => {
  it('is what all prices agree on', () => {
    expect(decimalMark(['Total 1.234,56', 'x 5,00 y'])).toBe(',')
    expect(decimalMark(['Total 1,234.56'])).toBe('.')
  })
  it('is open where they do not agree, and dates are no prices', () => {
    expect(decimalMark(['1,00', '1.00'])).toBeUndefined()
    expect(decimalMark(['05.03.2018'])).toBeUndefined()
  })
})

describe('exact arithmetic', () => {
  it('scales without floating point', () => {
    expect(scaled('-0.10', 2)).toBe(-10n)
    expect(scaled('90071992547409.93', 2)).toBe(9007199254740993n)
    expect(() => scaled('0.001', 2)).toThrow(RangeError)
    expect(sameNumber('10', '10.00')).toBe(true)
    expect(sameNumber('10.01', '10.0')).toBe(false)
  })
})
