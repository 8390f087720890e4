import { describe, expect, test } from 'vitest'
import { complaints, titles } from './ids.ts'

const rules = Array.from({ length: 11 }, (_, i) => `test('R${i + 1} holds', () => {})`).join('\n')
const whole = {
  codes: ['A_CODE'],
  pages: new Map([['A_CODE', '# A_CODE\n\nText.']]),
  tests: new Map([['packages/x/src/a.test.ts', `${rules}\nexpect(code).toBe('A_CODE')`]]),
}

describe('ids', () => {
  test('says nothing when every id is cited', () => {
    expect(complaints(whole)).toEqual([])
  })

  test('a code without a page, a code without a test and a page without a code are named', () => {
    expect(complaints({ ...whole, codes: ['A_CODE', 'B_CODE'], pages: new Map([['C_CODE', '# C_CODE\n']]) })).toEqual([
      'A_CODE: no page docs/errors/A_CODE.md',
      'B_CODE: no page docs/errors/B_CODE.md',
      'B_CODE: no test cites it',
      'C_CODE: docs/errors/C_CODE.md is a page of no code',
    ])
  })

  test('a page that is about something else is named', () => {
    expect(complaints({ ...whole, pages: new Map([['A_CODE', '# B_CODE\n']]) })).toHaveLength(1)
  })

  test('a pin that lists everything cites nothing, and a longer id is not a shorter one', () => {
    const [text] = whole.tests.values()
    expect(complaints({ ...whole, tests: new Map([['packages/x/test/pins/codes.test.ts', text ?? '']]) })).toHaveLength(
      12,
    )
    const longer = (text ?? '').replace("'R1 holds'", "'R12 holds'").replace('A_CODE', 'A_CODE_TOO')
    expect(complaints({ ...whole, tests: new Map([['a.test.ts', longer]]) })).toEqual([
      'A_CODE: no test cites it',
      'R1: no test title cites it',
    ])
  })

  test('a rule in a comment or in the body of a test is no citation', () => {
    expect(titles("// R3\ntest('name', () => { expect('R4') })")).toEqual(['name'])
  })

  test('titles are read through each, skipIf, describe and line breaks', () => {
    const source =
      "describe(\n  'R1 a', () => {})\ntest.skipIf(!has(x))('R2 b', f)\ntest.each([[1, (2)]])(`R3 c`, f)\nit.concurrent(\"R4 d\", f)"
    expect(titles(source)).toEqual(['R1 a', 'R2 b', 'R3 c', 'R4 d'])
  })
})
