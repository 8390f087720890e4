import { pointerOf } from './canonical.ts'
import { ConvokeError } from './errors.ts'
import type { Json } from './json.ts'

// One reader of JSON text (RFC 8259) for both doors: what people and code hand in, and what models and tools send. It
// differs from JSON.parse in saying where a text is wrong, and in seeing what JSON.parse passes over in silence. Time
// is linear in the text; depth is bounded, so that no text can exhaust the stack.

/** What JSON.parse would have let pass, and what was made of it. */
export type Oddity = 'duplicate-key' | 'inexact-number' | 'lone-surrogate'
/** `pointer` is made only when asked for: a hostile text can hold millions of oddities below a name of a megabyte. */
export type OddityHandler = (kind: Oddity, offset: number, what: string, pointer: () => string) => void

const maxDepth = 500
const numberToken = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const hexToken = /[0-9a-fA-F]{4}/y

/**
 * Reads one JSON value from `start` and says where it ends. Reports oddities and goes on: the last of duplicate members
 * counts, a number that a double cannot hold becomes a string of its digits, lone surrogates become U+FFFD.
 * @throws JSON_INVALID with details { line, column, offset, truncated }; what `odd` throws
 */
export function readJson(
  text: string,
  start: number,
  odd: OddityHandler,
): { readonly value: Json; readonly end: number } {
  const at: (string | number)[] = []
  let i = start

  function fail(offset: number, why: string): never {
    throw invalidJson(text, offset, why)
  }
  function unexpected(expected: string): never {
    fail(
      i,
      i >= text.length
        ? `the text ends where ${expected} should stand`
        : `expected ${expected}, found ${show(text, i)}`,
    )
  }
  function pointer(): string {
    return pointerOf(at)
  }
  function report(kind: Oddity, offset: number, what: string): void {
    odd(kind, offset, what, pointer)
  }
  function space(): void {
    for (; i < text.length; i++) {
      const c = text.charCodeAt(i)
      if (c !== 32 && c !== 10 && c !== 13 && c !== 9) return
    }
  }
  function value(depth: number): Json {
    switch (text.charCodeAt(i)) {
      case 123:
        return object(depth)
      case 91:
        return array(depth)
      case 34:
        return string()
      case 116:
        return word('true', true)
      case 102:
        return word('false', false)
      case 110:
        return word('null', null)
      default:
        return number()
    }
  }
  function word(name: string, meaning: Json): Json {
    if (!text.startsWith(name, i)) {
      // A prefix at the end of the text is cut off rather than wrong.
      if (name.startsWith(text.slice(i, i + name.length))) i = text.length
      unexpected('a value')
    }
    i += name.length
    return meaning
  }
  function number(): Json {
    numberToken.lastIndex = i
    const token = numberToken.exec(text)?.[0]
    if (token === undefined) unexpected('a value')
    const offset = i
    i += token.length
    const parsed = Number(token)
    if (isExact(token, parsed)) return parsed + 0
    report('inexact-number', offset, token)
    return token
  }
  function string(): string {
    const offset = i
    let escaped = false
    for (i++; ; i++) {
      const c = text.charCodeAt(i)
      if (c === 34) break
      if (c === 92) {
        escaped = true
        escape()
      } else if (c < 32) fail(i, `a control character (${c}) must be escaped in a string`)
      else if (i >= text.length) fail(i, 'the text ends inside a string')
    }
    i++
    const plain = escaped ? (JSON.parse(text.slice(offset, i)) as string) : text.slice(offset + 1, i - 1)
    if (plain.isWellFormed()) return plain
    report('lone-surrogate', offset, plain.toWellFormed())
    return plain.toWellFormed()
  }
  /** Steps over an escape, to its last character. */
  function escape(): void {
    i++
    if (i >= text.length) fail(i, 'the text ends inside a string')
    if (text[i] === 'u') {
      hexToken.lastIndex = i + 1
      if (!hexToken.test(text)) fail(i + 4 >= text.length ? text.length : i - 1, 'a bad escape in a string')
      i += 4
    } else if (!'"\\/bfnrt'.includes(text.charAt(i))) fail(i - 1, 'a bad escape in a string')
  }
  function array(depth: number): Json {
    if (depth >= maxDepth) fail(i, `nested deeper than ${maxDepth}`)
    const out: Json[] = []
    i++
    space()
    if (text[i] === ']') {
      i++
      return out
    }
    for (;;) {
      at.push(out.length)
      out.push(value(depth + 1))
      at.pop()
      space()
      if (text[i] === ']') break
      if (text[i] !== ',') unexpected("',' or ']'")
      i++
      space()
    }
    i++
    return out
  }
  function object(depth: number): Json {
    if (depth >= maxDepth) fail(i, `nested deeper than ${maxDepth}`)
    const out: Record<string, Json> = {}
    i++
    space()
    if (text[i] === '}') {
      i++
      return out
    }
    for (;;) {
      const offset = i
      if (text[i] !== '"') unexpected('a name in double quotes')
      const key = string()
      space()
      if (text[i] !== ':') unexpected("':'")
      i++
      space()
      at.push(key)
      if (Object.hasOwn(out, key)) report('duplicate-key', offset, key)
      const member = value(depth + 1)
      at.pop()
      // `__proto__` is just a key, which only a definition makes it.
      if (key === '__proto__')
        Object.defineProperty(out, key, { value: member, enumerable: true, configurable: true, writable: true })
      else out[key] = member
      space()
      if (text[i] === '}') break
      if (text[i] !== ',') unexpected("',' or '}'")
      i++
      space()
    }
    i++
    return out
  }

  space()
  const result = value(0)
  return { value: result, end: i }
}

/** The offset of the first character that is not white space. */
export function skipSpace(text: string, offset: number): number {
  let i = offset
  while (i < text.length && ' \n\r\t'.includes(text.charAt(i))) i++
  return i
}

/** JSON_INVALID at a place of the text. `truncated`: the text ends too early. */
export function invalidJson(text: string, offset: number, why: string): ConvokeError {
  let line = 1
  let lineStart = 0
  for (let next = text.indexOf('\n'); next >= 0 && next < offset; next = text.indexOf('\n', next + 1)) {
    line++
    lineStart = next + 1
  }
  const column = offset - lineStart + 1
  return new ConvokeError('JSON_INVALID', `line ${line}, column ${column}: ${why}`, {
    details: { line, column, offset, truncated: offset >= text.length },
    next: 'correct the text at that place',
  })
}

function show(text: string, offset: number): string {
  return JSON.stringify(String.fromCodePoint(text.codePointAt(offset) ?? 0xfffd))
}

/** Whether the number prints as the token says. Fifteen significant digits always survive a double (IEEE 754). */
function isExact(token: string, parsed: number): boolean {
  if (Number.isInteger(parsed) ? !Number.isSafeInteger(parsed) : !Number.isFinite(parsed)) return false
  if (token.length <= 15 && !token.includes('e') && !token.includes('E')) return true
  return digitsOf(token) === digitsOf(String(parsed))
}

/** One spelling for each number: sign, digits without outer zeros, and the power of ten of the last digit. */
function digitsOf(token: string): string {
  const mark = token.search(/[eE]/)
  const mantissa = mark < 0 ? token : token.slice(0, mark)
  const sign = mantissa.startsWith('-') ? '-' : ''
  const point = mantissa.indexOf('.')
  const digits = mantissa.slice(sign.length).replace('.', '')
  let power = (mark < 0 ? 0 : Number(token.slice(mark + 1))) - (point < 0 ? 0 : mantissa.length - point - 1)
  let from = 0
  let to = digits.length
  while (from < to && digits[from] === '0') from++
  while (to > from && digits[to - 1] === '0') {
    to--
    power++
  }
  return from === to ? '0' : `${sign}${digits.slice(from, to)}e${power}`
}
