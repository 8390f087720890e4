import { isConvokeError } from './errors.ts'
import { invalidJson, readJson, skipSpace, type Oddity, type OddityHandler } from './json-reader.ts'
import type { Json } from './json.ts'

/** Each miss costs an error; a text of millions would block the process for minutes. */
const maxMisses = 100

export interface Foreign {
  readonly value: Json
  /** What was repaired, a sentence each with a JSON Pointer; at most 20, then a count of the rest. */
  readonly notes: string[]
}

/**
 * Parses what a model or a tool sent. Digits survive: a number that a double does not hold exactly becomes a string.
 * The last of duplicate members counts, lone surrogates become U+FFFD; each is noted.
 * @throws JSON_INVALID with details { line, column, offset, truncated }
 */
export function parseForeign(text: string): Foreign {
  const { notes, odd } = noteTaker()
  const start = text.charCodeAt(0) === 0xfeff ? 1 : 0
  const { value, end } = readJson(text, start, odd)
  const rest = skipSpace(text, end)
  if (rest < text.length) throw invalidJson(text, rest, 'something follows the value')
  return { value, notes: notes() }
}

/**
 * Finds the one JSON object (or, where there is none, the one array) in a model's text that wraps it in fences or
 * prose, and parses it as `parseForeign` does. Text around it is noted. Nothing is guessed: two of them are refused,
 * and so is a broken one, instead of taking a piece of it. Time is linear in the text.
 * @throws JSON_INVALID when there is none, more than one, or a broken one; details.truncated when it was cut off
 */
export function extractJson(text: string): Foreign {
  const objects: Found[] = []
  const arrays: Found[] = []
  let misses = 0
  for (let start = nextOpening(text, 0); start < text.length;) {
    const found = readAt(text, start)
    if (typeof found === 'number') {
      if (found > start + 1 && ++misses > maxMisses)
        throw invalidJson(text, start, 'too many brackets that are not JSON')
      start = nextOpening(text, found)
      continue
    }
    const list = text[start] === '{' ? objects : arrays
    if (list.length < 2) list.push(found)
    start = nextOpening(text, found.end)
  }
  const [only, second] = objects.length > 0 ? objects : arrays
  if (only === undefined) throw invalidJson(text, skipSpace(text, 0), 'no JSON object is in the text')
  if (second !== undefined)
    throw invalidJson(text, second.start, 'a second JSON value stands in the text; send exactly one')
  const around = text.slice(0, only.start) + text.slice(only.end)
  if (around.trim() !== '') only.notes.push('text around the JSON was left out')
  return { value: only.value, notes: only.notes }
}

interface Found extends Foreign {
  readonly start: number
  readonly end: number
}

const opening = /[{[]/g

function nextOpening(text: string, from: number): number {
  opening.lastIndex = from
  return opening.exec(text)?.index ?? text.length
}

/**
 * The value at an opening bracket, or where to look further when the bracket belongs to prose: `{see` and `[citation`
 * show it at once, `[12:30]` and `[1, p. 4]` once they go wrong.
 */
function readAt(text: string, start: number): Found | number {
  const next = text.charAt(skipSpace(text, start + 1))
  if (next !== '' && !(text[start] === '{' ? '"}' : '{["]-0123456789tfn').includes(next)) return start + 1
  const { notes, odd } = noteTaker()
  try {
    const { value, end } = readJson(text, start, odd)
    return { value, notes: notes(), start, end }
  } catch (error) {
    const offset = isConvokeError(error) ? error.details?.['offset'] : undefined
    if (text[start] === '{' || '{["]'.includes(next) || typeof offset !== 'number') throw error
    return Math.max(offset, start + 2)
  }
}

const sentences: Record<Oddity, (pointer: string, what: string) => string> = {
  'duplicate-key': (pointer) => `${pointer}: the name stands twice; the last value counts`,
  'inexact-number': (pointer, token) => `${pointer}: ${token.slice(0, 40)} became a string, so that its digits survive`,
  'lone-surrogate': (pointer) => `${pointer}: a lone surrogate became U+FFFD`,
}

const maxNotes = 20

function noteTaker(): { readonly notes: () => string[]; readonly odd: OddityHandler } {
  const kept: string[] = []
  let more = 0
  return {
    odd: (kind, _offset, what, pointer) => {
      if (kept.length < maxNotes) kept.push(sentences[kind](pointer().slice(0, 200) || 'the value', what))
      else more++
    },
    notes: () => (more === 0 ? kept : [...kept, `and ${more} more`]),
  }
}
