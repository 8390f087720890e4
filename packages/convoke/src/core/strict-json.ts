import { invalidJson, readJson, skipSpace, type Oddity } from './json-reader.ts'
import type { Json } from './json.ts'

const refusals: Record<Oddity, (what: string) => string> = {
  'duplicate-key': (key) => `the name ${JSON.stringify(key.slice(0, 100))} stands twice in one object`,
  'inexact-number': (token) => `${token.slice(0, 40)} is beyond what a number holds exactly; write it as a string`,
  'lone-surrogate': () => 'the text has a lone surrogate',
}

/**
 * Parses what people and code hand in, and refuses what could be read in two ways: duplicate names, numbers that a
 * double does not hold exactly, lone surrogates, nesting deeper than 500. A byte order mark is passed over (RFC 8259
 * section 8.1).
 * @throws JSON_INVALID with details { line, column, offset, truncated }; columns count UTF-16 units from 1
 */
export function parseStrict(text: string): Json {
  const start = text.charCodeAt(0) === 0xfeff ? 1 : 0
  const { value, end } = readJson(text, start, (kind, offset, what) => {
    throw invalidJson(text, offset, refusals[kind](what))
  })
  const rest = skipSpace(text, end)
  if (rest < text.length) throw invalidJson(text, rest, 'something follows the value')
  return value
}
