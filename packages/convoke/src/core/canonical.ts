import { ConvokeError } from './errors.ts'
import type { Json } from './json.ts'

// RFC 8785 (JSON Canonicalization Scheme): members sorted by UTF-16 code units, numbers as ECMAScript prints them,
// minimal escapes. JSON.stringify prints strings and numbers exactly so; what it does silently (dropping, null for
// NaN, toJSON) is refused here instead, with a JSON Pointer (RFC 6901) to the place.

const maxDepth = 500
const loneSurrogate = /[\ud800-\udfff]/
const needsEscape = /[\u0000-\u001f"\\\ud800-\udfff]/

/**
 * Writes a value as canonical JSON. Members whose value is `undefined` are left out, as users of optional fields expect.
 * @throws NOT_CANONICAL for lone surrogates, non-finite numbers, unsafe integers, bigint, functions, symbols, class
 *   instances (dates, maps, errors), sparse or `undefined` array items, cycles, and nesting deeper than 500
 */
export function canonicalize(value: unknown): string {
  return write(value, [], 0)
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
  const pointer = at
    .map((part) => '/' + String(part).toWellFormed().replaceAll('~', '~0').replaceAll('/', '~1'))
    .join('')
  return new ConvokeError('NOT_CANONICAL', `${pointer === '' ? 'the value' : pointer}: ${why}`, {
    details: { pointer },
    next,
  })
}

/** Decodes canonical text and freezes it all the way down: what was stored is data nobody can change. */
export function decode(text: string): Json {
  return deepFreeze(JSON.parse(text) as Json)
}

export function deepFreeze<T extends Json | undefined>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    if (Array.isArray(value)) for (const item of value as readonly Json[]) deepFreeze(item)
    else for (const key of Object.keys(value)) deepFreeze((value as Record<string, Json>)[key])
  }
  return value
}
