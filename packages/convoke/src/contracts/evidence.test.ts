import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Json } from '../core/json.ts'
import { checkEvidence, type EvidenceProblem, type EvidenceVerdict } from './evidence.ts'
import type { StatedClaim } from './outcome.ts'
import type { EvidenceMode } from './role.ts'

const receipt = {
  id: 'GR-41',
  ref: 'run/r_1@7',
  text: '{"id":"GR-41","lines":[{"item":"A-100","quantity":100}],"po":"PO-77"}',
}
const invoice = {
  id: 's1',
  ref: 'run/r_1@3',
  text: 'Rechnung INV-1004 vom 01.03.2026\nMenge: 120 Stk zu 9,50\nGesamtbetrag:\u00a01.420,00 EUR, IBAN DE02 1203 0000 0000 2020 51',
}

function claim(statement: string, evidence: StatedClaim['evidence'], about?: string): StatedClaim {
  return { statement, evidence, ...(about === undefined ? {} : { about }) }
}
function judge(claims: readonly StatedClaim[], value: Json = null, mode: EvidenceMode = 'required'): EvidenceVerdict {
  return checkEvidence({ claims, value, shown: [receipt, invoice], mode })
}
function problems(verdict: EvidenceVerdict): readonly EvidenceProblem[] {
  if (verdict.ok) throw new Error('nothing was found')
  return verdict.problems
}
/** What is missing of a statement that cites a text. */
function missing(statement: string, text: string): string[] {
  const quote = /[\p{L}\p{N}]+/u.exec(text)?.[0] ?? ''
  const verdict = checkEvidence({
    claims: [claim(statement, [{ ref: 'e', quote: text.trim() === '' ? quote : text }])],
    value: null,
    shown: [{ id: 'e', ref: 'run/r@1', text }],
    mode: 'required',
  })
  return verdict.ok ? [] : verdict.problems.map(({ message }) => message.split(' is not in')[0] as string)
}

describe('citations', () => {
  test('a supported claim comes back with the records behind it', () => {
    const claims = [
      claim('120 billed on INV-1004, 100 received', [
        { ref: 's1', quote: 'Menge: 120' },
        { ref: 'run/r_1@7', quote: '"quantity":100' },
      ]),
    ]
    expect(judge(claims)).toEqual({
      ok: true,
      claims: [
        {
          statement: '120 billed on INV-1004, 100 received',
          evidence: [
            { ref: 's1', quote: 'Menge: 120', record: 'run/r_1@3' },
            { ref: 'run/r_1@7', quote: '"quantity":100', record: 'run/r_1@7' },
          ],
        },
      ],
    })
  })

  test.for<[name: string, claims: StatedClaim[], kind: EvidenceProblem['kind'], message: string]>([
    ['no claims', [], 'claims-missing', 'the answer has no claims'],
    ['no evidence', [claim('it fits', [])], 'evidence-missing', '"it fits" has no evidence'],
    [
      'a record never shown',
      [claim('x', [{ ref: 'GR-42', quote: 'y' }])],
      'ref-unknown',
      '"GR-42" was not shown to you; cite one of: GR-41, s1',
    ],
    ['an empty quote', [claim('x', [{ ref: 's1', quote: ' , ' }])], 'quote-empty', 'the quote from s1 is empty'],
    [
      'words that are not there',
      [claim('x', [{ ref: 's1', quote: 'Menge: 121' }])],
      'quote-missing',
      '"Menge: 121" does not occur in s1',
    ],
    [
      'a quote that cuts a number',
      [claim('x', [{ ref: 's1', quote: 'Menge: 12' }])],
      'quote-missing',
      'does not occur',
    ],
    [
      'a quote that cuts an amount',
      [claim('x', [{ ref: 's1', quote: '420,00 EUR' }])],
      'quote-missing',
      'does not occur',
    ],
    ['another case', [claim('x', [{ ref: 's1', quote: 'menge: 120' }])], 'quote-missing', 'does not occur'],
    [
      'an amount no evidence has',
      [claim('1,421 billed', [{ ref: 's1', quote: 'Gesamtbetrag' }])],
      'fact-missing',
      '"1,421" is not in evidence s1',
    ],
    [
      'a number of another record',
      [claim('120 received', [{ ref: 'GR-41', quote: '"quantity":100' }])],
      'fact-missing',
      '"120" is not in evidence GR-41',
    ],
    [
      'a wrong purchase order',
      [claim('It belongs to PO-78', [{ ref: 'GR-41', quote: 'PO-77' }])],
      'fact-missing',
      '"PO-78" is not in evidence GR-41',
    ],
  ])('finds %s', ([, claims, kind, message]) => {
    const [found, ...more] = problems(judge(claims))
    expect(more).toEqual([])
    expect(found).toMatchObject({ kind, ...(claims.length > 0 ? { claim: 0 } : {}) })
    expect(found?.message).toContain(message)
  })

  test('white space and Unicode normal forms do not matter, nothing else is forgiven', () => {
    const text = 'Gesamtbetrag:\u00a0  1.420,00\n\tEUR für Müller'
    const shown = [{ id: 'e', ref: 'run/r@1', text: text.normalize('NFD') }]
    const with_ = (quote: string): boolean =>
      checkEvidence({ claims: [claim('x', [{ ref: 'e', quote }])], value: null, shown, mode: 'required' }).ok
    expect(with_('Gesamtbetrag: 1.420,00 EUR für Müller')).toBe(true)
    expect(with_('Gesamtbetrag 1.420,00')).toBe(false)
    expect(with_('für Mueller')).toBe(false)
  })

  test('optional checks what is cited, none reads nothing, and problems are bounded', () => {
    expect(judge([claim('a guess', [])], null, 'optional').ok).toBe(true)
    expect(judge([], null, 'optional').ok).toBe(true)
    expect(judge([claim('7 received', [{ ref: 'GR-41', quote: '"quantity":100' }])], null, 'optional').ok).toBe(false)
    expect(judge([claim('x', [{ ref: 'nowhere', quote: '' }])], null, 'none')).toEqual({ ok: true, claims: [] })
    expect(problems(judge(Array(500).fill(claim('x', []))))).toHaveLength(20)
  })

  test('segments of one record are all searched', () => {
    const shown = [
      { id: 's1', ref: 'run/r@1', text: 'page one' },
      { id: 's2', ref: 'run/r@1', text: 'page two' },
    ]
    const claims = [claim('x', [{ ref: 'run/r@1', quote: 'page two' }])]
    expect(checkEvidence({ claims, value: null, shown, mode: 'required' }).ok).toBe(true)
  })
})

describe('about', () => {
  const evidence = [{ ref: 's1', quote: 'Gesamtbetrag: 1.420,00' }]
  test.for<[value: Json, about: string]>([
    [{ total: '1420.00' }, '/total'],
    [{ total: 1420 }, '/total'],
    [{ total: '1420.00', currency: 'EUR' }, '/currency'],
    [{ date: '2026-03-01' }, '/date'],
    [{ lines: [{ 'a/b': '120' }] }, '/lines/0/a~1b'],
    [{ note: 'about 3 weeks late' }, '/note'],
    [{ matches: false }, '/matches'],
    [{ lines: [] }, ''],
  ])('accepts %j at %s', ([value, about]) => {
    expect(judge([claim('The total is 1,420.00 EUR', evidence, about)], value).ok).toBe(true)
  })

  test.for<[value: Json, about: string, kind: EvidenceProblem['kind']]>([
    [{ total: '1421.00' }, '/total', 'value-differs'],
    [{ total: 1421 }, '/total', 'value-differs'],
    [{ date: '2026-03-02' }, '/date', 'value-differs'],
    [{ total: '1' }, '/sum', 'about-missing'],
    [{ total: '1' }, 'total', 'about-missing'],
    [{ lines: ['1'] }, '/lines/00', 'about-missing'],
    [{ lines: ['1'] }, '/lines/length', 'about-missing'],
    [{}, '/__proto__', 'about-missing'],
  ])('refuses %j at %s', ([value, about, kind]) => {
    expect(problems(judge([claim('The total is 1,420.00 EUR', evidence, about)], value))).toMatchObject([{ kind }])
  })
})

describe('numbers, dates and identifiers', () => {
  test.for<[statement: string, text: string]>([
    ['1420', 'sum 1.420,00'],
    ['1,420.00 and 1.420,00', 'sum 1420'],
    ["1'420.00", 'sum 1,420.00'],
    ['1 420,00', 'sum 1,420'],
    ['1420', 'sum 1 420,00 EUR'],
    ['DE02120300000000202051', 'DE02 1203 0000 0000 2020 51 7 pieces'],
    ['GR-41 100,000.01', 'GR-41 100,000.01'],
    ['12 100,00 are two numbers', '12 at 100.00'],
    ['pieces: 12 100', 'qty 12, price 100'],
    ['1,420,000', 'sum 1.420.000'],
    ['1420 EUR', 'EUR1420.00'],
    ['EUR 1420', '1.420,00EUR'],
    ['1,420 was paid.', '[1420,77]'],
    ['120', '<quantity>120.000</quantity>'],
    ['120', '{"quantity":"120.0000"}'],
    ['0.5', 'half: .5 of it'],
    ['100 pieces', '100pcs'],
    ['30 days net', '30-day term'],
    ['99.5 each', '99,50/pc'],
    ['19 %', 'tax 19.00%'],
    ['a credit of 20', 'balance -20.00'],
    ['-20', 'balance −20,00'],
    ['between 10-20', 'min 10, max 20'],
    ['41', 'Nr.41'],
    ['100', 'Qty:100'],
    ['on 1 March 2026', 'dated 2026-03-01'],
    ['on March 1st, 2026', 'dated 20260301'],
    ['am 1. März 2026', 'dated 01.03.2026'],
    ['on 2026-03-01', '2026-03-01T10:30:00.000Z'],
    ['on 03/04/2026', 'on 2026-04-03'],
    ['on 01.03.26', 'on 2026-03-01'],
    ['in 2026', 'on 2026-03-01'],
    ['INV-1001', 'invoice INV-1001.Total'],
    ['invoice-1001.pdf', 'read invoice-1001.pdf'],
    ['DE02 1203 0000 0000 2020 51', 'IBAN DE02120300000000202051'],
    ['DE02120300000000202051', 'IBAN DE02 1203 0000 0000 2020 51'],
    ['at 10:30', 'from 10:30 on'],
    ['007', 'agent 007'],
    ['e says so', 'anything'],
    ['no facts at all', 'anything'],
  ])('%s is in: %s', ([statement, text]) => {
    expect(missing(statement, text)).toEqual([])
  })

  test.for<[statement: string, text: string]>([
    ['12', 'sum 1200'],
    ['12', 'sum 12.5'],
    ['420', 'sum 1,420'],
    ['1 421,00', 'sum 1 420,00'],
    ['on 2 March 2026', 'dated 2026-03-01, 2 pieces'],
    ['420', '{"sum":"1,420"}'],
    ['1420', '{"lines":[1,420]}'],
    ['1,420', 'sum 1.42'],
    ['142', 'sum 1.42'],
    ['14200', 'sum 142.00'],
    ['1420', 'sum 1,4200'],
    ['1', 'INV-1001'],
    ['1001', 'INV-1001'],
    ['INV-1001', 'INV-1001-A'],
    ['INV-1001', 'INV-10011'],
    ['inv-1001', 'INV-1001'],
    ['7', 'agent 007'],
    ['007', 'seven is 7'],
    ['-20', 'balance 20.00'],
    ['2026-03-02', '2026-03-01'],
    ['1 March 2025', '2026-03-01'],
    ['3', '2026-03-01'],
    ['17', 'PO/2026/17'],
    ['DE02 1203 0000 0000 2020 52', 'IBAN DE02120300000000202051'],
    ['5', 'see the record'],
    ['0.5', 'five is 5'],
    ['٣', 'only 3'],
  ])('%s is not in: %s', ([statement, text]) => {
    expect(missing(statement, text)).not.toEqual([])
  })
})

// Claims made from evidence, in the spellings that people, machines and countries have.
const spellings = (n: { whole: number; cents: number }): string[] => {
  const cents = String(n.cents).padStart(2, '0')
  const grouped = (mark: string): string => String(n.whole).replace(/\B(?=(?:\d{3})+$)/g, mark)
  return [
    `${n.whole}.${cents}`,
    `${n.whole},${cents}`,
    `${grouped(',')}.${cents}`,
    `${grouped('.')},${cents}`,
    `${grouped("'")}.${cents}`,
    `${grouped('\u202f')},${cents}`,
  ]
}
const amount = fc.record({ whole: fc.nat(9_999_999), cents: fc.integer({ min: 1, max: 99 }) })
const spelled = fc
  .tuple(amount, fc.nat(5), fc.nat(5))
  .map(([n, a, b]) => [spellings(n)[a] as string, spellings(n)[b] as string] as const)
const word = fc.constantFrom(
  'the',
  'goods',
  'received',
  'Menge',
  'für',
  'EUR',
  'INV-1001',
  'PO/2026/17',
  '2026-03-01',
  'GR-41',
)

describe('properties', () => {
  test('a claim built from the text passes', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            word,
            spelled.map(([, b]) => b),
          ),
          { minLength: 1 },
        ),
        fc.nat(),
        fc.nat(),
        (words, a, b) => {
          const [from, to] = [a % words.length, b % words.length].sort((x, y) => x - y) as [number, number]
          const part = words.slice(from, to + 1).join(' ')
          expect(missing(part, words.join(' '))).toEqual([])
        },
      ),
    )
  })

  test('an amount passes in every spelling, and fails with any digit changed', () => {
    fc.assert(
      fc.property(spelled, fc.nat(), fc.integer({ min: 1, max: 9 }), ([said, written], at, add) => {
        const text = `Total ${written} EUR`
        expect(missing(`It was ${said} in all`, text)).toEqual([])
        const places = [...said].flatMap((c, i) => (/\d/.test(c) ? [i] : []))
        const place = places[at % places.length] as number
        const changed = said.slice(0, place) + String((Number(said[place]) + add) % 10) + said.slice(place + 1)
        expect(missing(`It was ${changed} in all`, text)).not.toEqual([])
      }),
      { numRuns: 1000 },
    )
  })

  test('an identifier or date with one digit changed fails', () => {
    const thing = fc.oneof(
      fc.stringMatching(/^[A-Z]{2,4}-\d{3,6}$/),
      fc.stringMatching(/^[A-Z]{2}\d{9}$/),
      fc
        .date({ min: new Date('2000-01-01'), max: new Date('2099-12-31'), noInvalidDate: true })
        .map((d) => d.toISOString().slice(0, 10)),
    )
    fc.assert(
      fc.property(thing, fc.nat(), fc.integer({ min: 1, max: 9 }), (original, at, add) => {
        const places = [...original].flatMap((c, i) => (/\d/.test(c) ? [i] : []))
        const place = places[at % places.length] as number
        const changed =
          original.slice(0, place) + String((Number(original[place]) + add) % 10) + original.slice(place + 1)
        expect(missing(`see ${original}.`, `under ${original}, as agreed`)).toEqual([])
        expect(missing(`see ${changed}.`, `under ${original}, as agreed`)).not.toEqual([])
      }),
    )
  })

  test('never throws, whatever the texts hold', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom(...Array.from('0123456789.,- /:\'’eE{}[]"AB')) }),
    )
    fc.assert(
      fc.property(text, text, text, (statement, quote, shown) => {
        const verdict = checkEvidence({
          claims: [claim(statement, [{ ref: 'e', quote }], `/${quote}`)],
          value: { [quote]: statement },
          shown: [{ id: 'e', ref: 'run/r@1', text: shown }],
          mode: 'required',
        })
        expect(typeof verdict.ok).toBe('boolean')
      }),
      { numRuns: 500 },
    )
  })

  // Quadratic searching of these takes hours, so that the suite's own limit is the measure.
  test.for(['1', '1 ', '100 ', '1.', '1,420.', 'A1-', ' ', '0', "1'", 'AB12 ', '1 March '])(
    'stays linear in texts of %o',
    (unit) => {
      const text = unit.repeat(500_000 / unit.length)
      const quote = text.slice(0, 5000)
      const verdict = checkEvidence({
        claims: [claim(quote, [{ ref: 'e', quote }])],
        value: null,
        shown: [{ id: 'e', ref: 'run/r@1', text }],
        mode: 'required',
      })
      expect(typeof verdict.ok).toBe('boolean')
    },
  )
})
