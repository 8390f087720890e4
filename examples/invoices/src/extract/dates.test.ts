import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dayOrder, isRealDate, parseDate } from './dates.ts'

describe('parseDate', () => {
  it.each([
    ['05.03.2018', '2018-03-05'],
    ['5. 3. 2018', '2018-03-05'],
    ['2018-03-05', '2018-03-05'],
    ['13/11/2017', '2017-11-13'],
    ['11/17/2017', '2017-11-17'],
    ['07/07/2017', '2017-07-07'],
    ['5. März 2018', '2018-03-05'],
    ['1er mars 2018', '2018-03-01'],
    ['12 août 2018', '2018-08-12'],
    ['March 5, 2018', '2018-03-05'],
    ['3rd March 2018', '2018-03-03'],
    ['05.03.2018.', '2018-03-05'],
  ])('reads %s', (text, date) => {
    expect(parseDate(text)).toBe(date)
  })

  it.each([
    '03/11/2017',
    '03-11-2017',
    '05.03.18',
    '31.02.2018',
    '29.02.2019',
    '13/13/2017',
    '2018-13-01',
    '5 Foo 2018',
    'March 2018',
  ])('does not guess %s', (text) => {
    expect(parseDate(text)).toBeUndefined()
  })

  it('reads slashes in the order that the document uses', () => {
    expect(parseDate('11/03/2017', 'month-first')).toBe('2017-11-03')
    expect(parseDate('11/03/2017', 'day-first')).toBe('2017-03-11')
    expect(parseDate('17/03/2017', 'month-first')).toBeUndefined()
  })

  it('reads every real day back from every unambiguous form', () => {
    const day = fc.date({ min: new Date('1990-01-01'), max: new Date('2099-12-31'), noInvalidDate: true })
    fc.assert(
      fc.property(day, (date) => {
        const iso = date.toISOString().slice(0, 10)
        const [y = '', m = '', d = ''] = iso.split('-')
        expect(isRealDate(iso)).toBe(true)
        expect(parseDate(`${d}.${m}.${y}`)).toBe(iso)
        expect(parseDate(`${d}/${m}/${y}`, 'day-first')).toBe(iso)
        expect(parseDate(`${m}/${d}/${y}`, 'month-first')).toBe(iso)
        const certain = Number(d) > 12 || d === m
        expect(parseDate(`${d}/${m}/${y}`)).toBe(certain ? iso : undefined)
      }),
    )
  })
})

describe('dayOrder', () => {
  it('is proved by one date with a part above twelve', () => {
    expect(dayOrder(['due 12/03/2017', 'paid 11/17/2017'])).toBe('month-first')
    expect(dayOrder(['05/11/2017 and 31/10/2017'])).toBe('day-first')
  })
  it('is open without proof or with proof of both', () => {
    expect(dayOrder(['05/11/2017'])).toBeUndefined()
    expect(dayOrder(['31/10/2017', '10/31/2017'])).toBeUndefined()
  })
})
