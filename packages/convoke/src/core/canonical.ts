import { ConvokeError } from './errors.ts'
import type { Json } from './json.ts'

// RFC 8785 (JSON Canonicalization Scheme): members sorted by UTF-16 code units, numbers as ECMAScript prints them,
// minimal escapes. JSON.stringify prints strings and numbers exactly so; what it does silently (dropping, null for
// NaN, toJSON) is refused here instead, with a JSON Pointer (RFC 6901) to the place.
//
// Two ways lead to the same text. The fast one lets JSON.stringify print the value, if its members are in order, or a
// copy of which they are; a frozen copy also saves decoding what was just written, and every append needs both. What
// it cannot prove (a value to refuse, a key that engines order as a number, a lone surrogate) takes the careful one,
// which writes member by member and knows where it stands. A property test holds them against each other.

const maxDepth = 500
const loneSurrogate = /[\ud800-\udfff]/
const needsEscape = /[\u0000-\u001f"\\\ud800-\udfff]/

/**
 * Writes a value as canonical JSON. Members whose value is `undefined` are left out, as users of optional fields expect.
 * @throws NOT_CANONICAL for lone surrogates, non-finite numbers, unsafe integers, bigint, functions, symbols, class
 *   instances (dates, maps, errors), sparse or `undefined` array items, cycles, and nesting deeper than 500
 */
export function canonicalize(value: unknown): string {
  const kept = inOrder(value, 0) ? value : copy(value, 0, false)
  return (kept === unproven ? undefined : print(kept)) ?? write(value, [], 0)
}

/** A value as it will be read again: its canonical text, and what that text decodes to, frozen all the way down. */
export interface Settled {
  readonly text: string
  readonly value: Json
}

/**
 * `canonicalize` and `decode` of its text at the price of one.
 * @throws NOT_CANONICAL as `canonicalize` does
 */
export function settle(value: unknown): Settled {
  const kept = copy(value, 0, true)
  const text = kept === unproven ? undefined : print(kept)
  if (text !== undefined) return { text, value: kept as Json }
  const careful = write(value, [], 0)
  return { text: careful, value: decode(careful) }
}

/**
 * The value of `settle`, for who needs no text.
 * @throws NOT_CANONICAL as `canonicalize` does
 */
export function settleValue(value: unknown): Json {
  const kept = copy(value, 0, true)
  return kept !== unproven && isWellFormed(kept) ? kept : settle(value).value
}

function isWellFormed(value: Json): boolean {
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value !== 'object' || value === null) return true
  if (Array.isArray(value)) {
    for (const item of value as readonly Json[]) if (!isWellFormed(item)) return false
    return true
  }
  for (const key of Object.keys(value))
    if (!key.isWellFormed() || !isWellFormed((value as Readonly<Record<string, Json>>)[key] as Json)) return false
  return true
}

const unproven = Symbol('unproven')

/** Whether JSON.stringify prints the value canonically as it is, but for lone surrogates. */
function inOrder(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true
    case 'number':
      return isExact(value)
    case 'object':
      break
    default:
      return false
  }
  if (value === null) return true
  if (depth >= maxDepth) return false
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!inOrder(value[i], depth + 1)) return false
    return true
  }
  if (!isPlain(value)) return false
  let last = ''
  for (const key in value) {
    if (key < last || isOrderedApart(key) || !inOrder((value as Record<string, unknown>)[key], depth + 1)) return false
    last = key
  }
  return true
}

/** A copy whose members are enumerated in canonical order, or `unproven`. Reads every member once. */
function copy(value: unknown, depth: number, freeze: boolean): Json | typeof unproven {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      // `+ 0` turns -0 into 0, as its text does.
      return isExact(value) ? value + 0 : unproven
    case 'object':
      if (value === null) return null
      if (depth >= maxDepth) return unproven
      return Array.isArray(value) ? copyArray(value, depth, freeze) : copyObject(value, depth, freeze)
    default:
      return unproven
  }
}

function copyArray(value: readonly unknown[], depth: number, freeze: boolean): Json | typeof unproven {
  const out: Json[] = []
  for (let i = 0; i < value.length; i++) {
    const item = copy(value[i], depth + 1, freeze)
    if (item === unproven) return unproven
    out.push(item)
  }
  return freeze ? Object.freeze(out) : out
}

function copyObject(value: object, depth: number, freeze: boolean): Json | typeof unproven {
  if (!isPlain(value)) return unproven
  const out: Record<string, Json> = {}
  for (const key of sortedKeys(value)) {
    if (isOrderedApart(key)) return unproven
    const member = (value as Readonly<Record<string, unknown>>)[key]
    if (member === undefined) continue
    const item = copy(member, depth + 1, freeze)
    if (item === unproven) return unproven
    out[key] = item
  }
  return freeze ? Object.freeze(out) : out
}

function isExact(value: number): boolean {
  return Number.isSafeInteger(value) || (Number.isFinite(value) && !Number.isInteger(value))
}

function isPlain(value: object): boolean {
  const proto: unknown = Object.getPrototypeOf(value)
  return proto === Object.prototype || proto === null
}

/** Engines enumerate keys that look like array indices first, by their number; and `__proto__` cannot be assigned. */
function isOrderedApart(key: string): boolean {
  const first = key.charCodeAt(0)
  return (first >= 48 && first <= 57) || key === '__proto__'
}

/** By UTF-16 code units. Most objects have few keys, often in order: insertion takes a third of what `sort` takes. */
function sortedKeys(value: object): readonly string[] {
  const keys = Object.keys(value)
  if (keys.length > 24) return keys.sort()
  for (let i = 1; i < keys.length; i++) {
    const key = keys[i] as string
    let j = i
    for (; j > 0 && key < (keys[j - 1] as string); j--) keys[j] = keys[j - 1] as string
    keys[j] = key
  }
  return keys
}

/** Undefined when a lone surrogate may be inside: JSON.stringify writes those, and nothing else, as `\ud…`. */
function print(value: unknown): string | undefined {
  const text = JSON.stringify(value)
  return text.includes('\\ud') ? undefined : text
}

/** A string as canonical JSON. Faster than JSON.stringify for the short ones of record headers. */
export function quote(text: string): string {
  return needsEscape.test(text) ? JSON.stringify(text) : `"${text}"`
}

function write(value: unknown, at: (string | number)[], depth: number): string {
  switch (typeof value) {
    case 'string':
      return writeString(value, at)
    case 'number':
      if (!Number.isFinite(value)) throw refuse(at, `${value} is not a JSON number`, 'use a string or leave it out')
      if (Number.isInteger(value) && !Number.isSafeInteger(value))
        throw refuse(at, `${value} is beyond the integers a number holds exactly`, 'write it as a string')
      return Object.is(value, -0) ? '0' : String(value)
    case 'boolean':
      return value ? 'true' : 'false'
    case 'object':
      if (value === null) return 'null'
      if (depth >= maxDepth) throw refuse(at, `nested deeper than ${maxDepth} or a cycle`, 'flatten the value')
      return Array.isArray(value) ? writeArray(value, at, depth) : writeObject(value, at, depth)
    default:
      throw refuse(at, `${typeof value} has no JSON form`, 'convert it to a string, number, array or plain object')
  }
}

function writeString(value: string, at: (string | number)[]): string {
  if (!needsEscape.test(value)) return `"${value}"`
  if (loneSurrogate.test(value) && !value.isWellFormed())
    throw refuse(at, 'the text has a lone surrogate', 'pass it through String.prototype.toWellFormed()')
  return JSON.stringify(value)
}

function writeArray(value: readonly unknown[], at: (string | number)[], depth: number): string {
  let out = '['
  for (let i = 0; i < value.length; i++) {
    at.push(i)
    if (i > 0) out += ','
    out += write(value[i], at, depth + 1)
    at.pop()
  }
  return out + ']'
}

function writeObject(value: object, at: (string | number)[], depth: number): string {
  const proto: unknown = Object.getPrototypeOf(value)
  if (proto !== Object.prototype && proto !== null) {
    const name = (proto as { constructor?: { name?: string } }).constructor?.name ?? 'object'
    throw refuse(
      at,
      `an instance of ${name} is not plain data`,
      name === 'Date' ? 'use date.toISOString()' : 'pass its fields as a plain object',
    )
  }
  const keys = Object.keys(value).sort()
  let out = '{'
  for (const key of keys) {
    const item = (value as Record<string, unknown>)[key]
    if (item === undefined) continue
    at.push(key)
    if (out.length > 1) out += ','
    out += writeString(key, at) + ':' + write(item, at, depth + 1)
    at.pop()
  }
  return out + '}'
}

function refuse(at: readonly (string | number)[], why: string, next: string): ConvokeError {
  const pointer = pointerOf(at)
  return new ConvokeError('NOT_CANONICAL', `${pointer === '' ? 'the value' : pointer}: ${why}`, {
    details: { pointer },
    next,
  })
}

/** The JSON Pointer (RFC 6901) of a place; '' is the whole value. */
export function pointerOf(at: readonly PropertyKey[]): string {
  return at.map((part) => '/' + String(part).toWellFormed().replaceAll('~', '~0').replaceAll('/', '~1')).join('')
}

/** Decodes canonical text and freezes it all the way down: what was stored is data nobody can change. */
export function decode(text: string): Json {
  return deepFreeze(JSON.parse(text) as Json)
}

export function deepFreeze<T extends Json | undefined>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    if (Array.isArray(value)) {
      for (const item of value as readonly Json[]) if (typeof item === 'object') deepFreeze(item)
    } else
      for (const key of Object.keys(value)) {
        const item = (value as Readonly<Record<string, Json>>)[key]
        if (typeof item === 'object') deepFreeze(item)
      }
  }
  return value
}
