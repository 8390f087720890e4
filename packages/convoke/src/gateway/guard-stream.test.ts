import { expect, test } from 'vitest'
import fc from 'fast-check'
import type { Guardrail } from './guardrail.ts'
import { textStream } from './guard-stream.ts'
import { findIn, redactText, type Finding, type TextRule } from './guard-text.ts'

const find = (text: string): Finding[] => [
  ...[...text.matchAll(/\btok_[a-z0-9]{8}\b/g)].map((m) => ({
    start: m.index,
    end: m.index + m[0].length,
    kind: 'token',
  })),
  ...[...text.matchAll(/-BEGIN-[^]*?-END-/g)].map((m) => ({
    start: m.index,
    end: m.index + m[0].length,
    kind: 'block',
  })),
]
const rule: TextRule = {
  find,
  reach: 40,
  open: (text) => {
    const begin = text.lastIndexOf('-BEGIN-')
    return begin < 0 || text.indexOf('-END-', begin) >= 0 ? undefined : begin
  },
  act: 'redact',
}
const rails = (act: TextRule['act'] = 'redact'): Guardrail[] => [{ name: 'tokens', text: { ...rule, act } }]
const whole = (text: string): string => redactText(text, findIn(rule, text))

function through(
  pieces: readonly string[],
  guardrails = rails(),
  final?: string,
): { shown: string[]; error?: unknown } {
  const shown: string[] = []
  const stream = textStream(guardrails, (piece) => shown.push(piece))
  try {
    for (const piece of pieces) stream.push(piece)
    stream.end(final ?? whole(pieces.join('')))
    return { shown }
  } catch (error) {
    return { shown, error }
  }
}

const before = 'An answer that begins with words that anybody may read, and goes on for a while. '
const after = ' And then it goes on with more words that anybody may read, until it ends somewhere here.'
const block = `-BEGIN-${'abcdef0123456789\n'.repeat(40)}-END-`

test.each([
  ['a token', 'tok_12345678'],
  ['two tokens', 'tok_12345678 tok_abcdefgh'],
  ['something longer than the reach', block],
  ['one behind an escape', '\\ntok_12345678\\n'],
])('%s, cut at every position: nothing of it is shown, and what is shown is what the whole becomes', (_, secret) => {
  const text = before + secret + after
  const secretAt = text.indexOf(secret.replace(/^\\n/, ''))
  for (let cut = Math.max(1, secretAt - 45); cut < Math.min(text.length, secretAt + secret.length + 45); cut++) {
    const { shown, error } = through([text.slice(0, cut), text.slice(cut)])
    expect(error).toBeUndefined()
    expect(shown.join('')).toBe(whole(text))
  }
})

test.each([1, 2, 3, 7, 50])('in pieces of %i characters', (size) => {
  const text = before + block + after + 'tok_00000000' + before
  const pieces = text.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? []
  const { shown } = through(pieces)
  expect(shown.join('')).toBe(whole(text))
  expect(shown.length, 'it is a stream').toBeGreaterThan(3)
  expect(Math.max(...shown.map((_, i) => text.length - shown.slice(0, i + 1).join('').length))).toBeGreaterThan(0)
})

test('property: however text is cut, what is shown never holds a token, and is the beginning of the end', () => {
  const token = fc.stringMatching(/^tok_[a-z0-9]{8}$/)
  const part = fc.oneof(
    { weight: 3, arbitrary: fc.string({ maxLength: 30, unit: 'binary' }) },
    { weight: 2, arbitrary: token.map((t) => ` ${t} `) },
    fc.constantFrom('\\', '\\n', '\\u0074ok_1234abcd', 'tok_', '-BEGIN-', '-END-', '"', '😀'),
  )
  fc.assert(
    fc.property(fc.array(part, { maxLength: 20 }), fc.array(fc.nat(12), { maxLength: 40 }), (parts, sizes) => {
      const text = parts.join('')
      const pieces: string[] = []
      let at = 0
      for (const size of sizes) {
        pieces.push(text.slice(at, at + size))
        at += size
      }
      pieces.push(text.slice(at))
      const { shown, error } = through(pieces)
      const said = shown.join('')
      expect(whole(text).startsWith(said)).toBe(true)
      if (error === undefined) expect(said).toBe(whole(text))
    }),
    { numRuns: 400 },
  )
})

test('GUARDRAIL_DENIED: a denial ends the stream before any of what it is about is shown', () => {
  const text = before + 'tok_12345678' + after.repeat(5)
  for (let cut = before.length - 5; cut < before.length + 20; cut++) {
    const { shown, error } = through([text.slice(0, cut), ...(text.slice(cut).match(/[^]{1,9}/g) ?? [])], rails('deny'))
    expect(error).toMatchObject({ code: 'GUARDRAIL_DENIED', details: { guardrail: 'tokens', reason: 'found token' } })
    expect(before.startsWith(shown.join(''))).toBe(true)
  }
})

test('asking lets nothing more be shown until the end', () => {
  const text = before + 'tok_12345678' + after
  const { shown } = through([...(text.match(/[^]{1,9}/g) ?? [])], rails('ask'), 'X')
  expect(before.startsWith(shown.join(''))).toBe(true)
})

test('a guardrail that has to see the whole lets nothing be shown before', () => {
  const shown: string[] = []
  const judge: Guardrail = { name: 'judge', answer: () => 'allow' }
  const stream = textStream([...rails(), judge], (piece) => shown.push(piece))
  stream.push(before)
  stream.push(after)
  expect(shown).toEqual([])
  stream.end('what it left')
  expect(shown).toEqual(['what it left'])
})

test('GUARDRAIL_DENIED: an end that is not what was shown; and text that is open without bound', () => {
  const { error } = through([before, after, after], rails(), 'something else')
  expect(error).toMatchObject({ code: 'GUARDRAIL_DENIED', message: expect.stringContaining('differently') })
  const endless = through(['-BEGIN-', ...Array.from({ length: 80 }, () => 'x'.repeat(1000))])
  expect(endless.error).toMatchObject({
    code: 'GUARDRAIL_DENIED',
    message: expect.stringContaining('could not be judged'),
  })
  expect(endless.shown).toEqual([])
})
