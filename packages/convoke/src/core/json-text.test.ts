import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalize } from './canonical.ts'
import type { ConvokeError } from './errors.ts'
import { extractJson, parseForeign } from './foreign-json.ts'
import type { Json } from './json.ts'
import { parseStrict } from './strict-json.ts'

function refused(act: () => unknown): ConvokeError {
  try {
    act()
  } catch (error) {
    expect(error).toMatchObject({ code: 'JSON_INVALID' })
    return error as ConvokeError
  }
  throw new Error('nothing was refused')
}

// fc.json() writes what JSON.stringify writes; the mutations reach what only hostile or careless writers send.
const mutated = fc
  .tuple(
    fc.json(),
    fc.nat(),
    fc.constantFrom('', '"', '\\', '{', '}', ',', ':', '0', '-', '.', 'e', '\n', 'u', ' '),
    fc.nat(2),
  )
  .map(([text, at, insert, drop]) => {
    const place = text.length === 0 ? 0 : at % text.length
    return text.slice(0, place) + insert + text.slice(place + drop)
  })

describe('both doors', () => {
  test('accept and refuse what JSON.parse does, and read the same value', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), mutated), (text) => {
        let expected: Json
        try {
          expected = JSON.parse(text) as Json
        } catch {
          refused(() => parseForeign(text))
          refused(() => parseStrict(text))
          return
        }
        const { value, notes } = parseForeign(text)
        if (notes.length > 0) {
          refused(() => parseStrict(text))
          return
        }
        expect(canonicalize(value)).toBe(canonicalize(expected))
        expect(canonicalize(parseStrict(text))).toBe(canonicalize(expected))
      }),
      { numRuns: 3000 },
    )
  })

  test('say line and column, and whether the text was cut off', () => {
    const error = refused(() => parseStrict('{\n  "a": 1,\n  "b": x\n}'))
    expect(error.message).toBe('line 3, column 8: expected a value, found "x"')
    expect(error.details).toEqual({ line: 3, column: 8, offset: 19, truncated: false })
    for (const text of ['', '{', '{"a', '{"a"', '{"a":', '[1,', '"\\', '"\\u00', 'tru', '{"a":"b', '[1'])
      expect(refused(() => parseForeign(text)).details?.['truncated'], text).toBe(true)
    for (const text of ['trux', '{"a" 1}', '1 2', '"\\x"', '"\\u00g0"', '[1 2]', '01', '"a\nb"', '-'])
      expect(refused(() => parseForeign(text)).details?.['truncated'], text).toBe(false)
  })

  test('bound the depth and keep __proto__ a key', () => {
    expect(refused(() => parseForeign('['.repeat(1_000_000))).message).toContain('deeper than 500')
    expect(refused(() => parseStrict('{"a":'.repeat(100_000))).message).toContain('deeper than 500')
    const deep = '['.repeat(500) + ']'.repeat(500)
    expect(canonicalize(parseForeign(deep).value)).toBe(deep)
    const { value } = parseForeign('{"__proto__":{"admin":true}}')
    expect(Object.keys(value as object)).toEqual(['__proto__'])
    expect((value as { admin?: boolean }).admin).toBeUndefined()
    expect(parseStrict('\ufeff[1]')).toEqual([1])
  })
})

describe('parseStrict', () => {
  test.for([
    ['{"a":1,"a":2}', 'stands twice', 8],
    ['{"a":{"b":1,"\\u0062":2}}', 'stands twice', 13],
    ['{"total":12345678901234567890}', 'write it as a string', 10],
    ['[1e400]', 'write it as a string', 2],
    ['[0.1000000000000000055511151231257827]', 'write it as a string', 2],
    ['["\\ud800"]', 'lone surrogate', 2],
    ['["\udc00"]', 'lone surrogate', 2],
  ] as const)('refuses %s', ([text, why, column]) => {
    const error = refused(() => parseStrict(text))
    expect(error.message).toContain(why)
    expect(error.details?.['column']).toBe(column)
  })

  test('takes numbers whose digits survive', () => {
    expect(parseStrict('[1420.00,1e3,-0,0.1,9007199254740991,1.7976931348623157e-300,100e-2,0e99999]')).toEqual([
      1420, 1000, 0, 0.1, 9007199254740991, 1.7976931348623157e-300, 1, 0,
    ])
  })
})

describe('parseForeign', () => {
  test('keeps digits and notes every repair with its place', () => {
    const { value, notes } = parseForeign(
      '{"id":12345678901234567890,"big":1e999,"tiny":1e-999,"fine":1.50,"x":{"a":1,"a":2},"s":"\\ud83d!","l":[0.30000000000000000001]}',
    )
    expect(value).toEqual({
      id: '12345678901234567890',
      big: '1e999',
      tiny: '1e-999',
      fine: 1.5,
      x: { a: 2 },
      s: '\ufffd!',
      l: ['0.30000000000000000001'],
    })
    expect(notes.map((note) => note.split(':')[0])).toEqual(['/id', '/big', '/tiny', '/x/a', '/s', '/l/0'])
  })

  test('whatever it accepts can be written as a record', () => {
    const hostile = fc.stringMatching(/^(\[|\{"[a\\]":|"\\ud8|00"|\d|e|,|\]|\}){0,30}$/)
    fc.assert(
      fc.property(fc.oneof(fc.json(), hostile, mutated), (text) => {
        let value: Json
        try {
          value = parseForeign(text).value
        } catch (error) {
          expect(error).toMatchObject({ code: 'JSON_INVALID' })
          return
        }
        expect(canonicalize(value)).toBeTypeOf('string')
      }),
      { numRuns: 2000 },
    )
  })

  test('bounds the notes, whatever the names', () => {
    const name = 'n'.repeat(10_000)
    const { notes } = parseForeign(`{"${name}":[${'1e999,'.repeat(50_000)}1]}`)
    expect(notes).toHaveLength(21)
    expect(notes[20]).toBe('and 49980 more')
    expect(notes.join('').length).toBeLessThan(10_000)
  })
})

describe('extractJson', () => {
  const answer = { value: { total: '1190.00', lines: [{ id: 1 }] }, claims: [] }
  const body = JSON.stringify(answer, null, 1)
  test.for<[name: string, text: string]>([
    ['plain', body],
    ['fenced', '```json\n' + body + '\n```'],
    ['fenced in prose', `Here is {the} answer [1], as of [12:30]:\n\n\`\`\`\n${body}\n\`\`\`\nAnything {else}?`],
    ['after an array', `[1] says so. ${body}`],
  ])('finds the object: %s', ([name, text]) => {
    const { value, notes } = extractJson(text)
    expect(value).toEqual(answer)
    expect(notes).toEqual(name === 'plain' ? [] : ['text around the JSON was left out'])
  })

  test('finds an array where there is no object outside of it', () => {
    expect(extractJson('Sure: [{"a":1},{"a":2}]').value).toEqual([{ a: 1 }, { a: 2 }])
  })

  test('refuses none, two, and broken ones instead of taking a piece', () => {
    expect(refused(() => extractJson('I cannot answer that.')).message).toContain('no JSON object')
    expect(refused(() => extractJson('')).details?.['truncated']).toBe(true)
    expect(refused(() => extractJson('{"a":1} or {"a":2}')).message).toContain('second JSON value')
    expect(refused(() => extractJson('{"value": {"a": 1}, oops}')).message).toContain('column 21')
    expect(refused(() => extractJson(`Answer: ${body.slice(0, -20)}`)).details?.['truncated']).toBe(true)
  })

  test('any object comes out of any prose without brackets', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), fc.string(), (object, before, after) => {
        const prose = (text: string): string => text.replace(/[[\]{}]/g, ' ')
        const text = JSON.stringify(object)
        expect(extractJson(prose(before) + text + prose(after)).value).toEqual(parseForeign(text).value)
      }),
    )
  })

  // Quadratic reading of these takes hours, so that the suite's own limit is the measure.
  const n = 1_000_000
  test.for<[name: string, text: string]>([
    ['opening braces', '{'.repeat(n)],
    ['opening brackets', '['.repeat(n)],
    ['prose brackets', '[1,'.repeat(n)],
    ['names without values', '{""'.repeat(n)],
    ['brackets inside of strings', '{"a":"' + '[{'.repeat(n)],
    ['wide and nested', ('[1' + ',1'.repeat(1000)).repeat(n / 1000)],
    ['empty ones', '{}'.repeat(n)],
    ['zeros', '{"a":1' + '0'.repeat(n) + '1' + '0'.repeat(n) + '}'],
    ['spaces', '{' + ' '.repeat(n) + 'x {' + ' '.repeat(n)],
  ])('stays linear: %s', ([name, text]) => {
    if (name === 'zeros') expect(extractJson(text).notes).toHaveLength(1)
    else expect(refused(() => extractJson(text)).code).toBe('JSON_INVALID')
  })
})
