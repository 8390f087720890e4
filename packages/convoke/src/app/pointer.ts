import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'

function partsOf(pointer: string): string[] {
  if (pointer === '') return []
  if (!pointer.startsWith('/')) throw missing(pointer, 'a JSON Pointer begins with /')
  return pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** Whether a JSON Pointer (RFC 6901) leads to something. @throws RECORD_UNKNOWN for what is no pointer */
export function has(value: Json, pointer: string): boolean {
  let at: Json | undefined = value
  for (const part of partsOf(pointer)) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, part)) return false
    at = (at as JsonObject)[part]
  }
  return true
}

/** Replaces what a JSON Pointer (RFC 6901) names. Objects may gain a member; arrays may grow by one ('-'). @throws RECORD_UNKNOWN */
export function setAt(value: Json, pointer: string, replacement: Json): Json {
  return set(value, partsOf(pointer), replacement, pointer)
}

function set(value: Json, parts: readonly string[], replacement: Json, pointer: string): Json {
  const [head, ...rest] = parts
  if (head === undefined) return replacement
  if (Array.isArray(value)) {
    const index = head === '-' ? value.length : /^(0|[1-9]\d*)$/.test(head) ? Number(head) : -1
    if (index < 0 || index > value.length) throw missing(pointer, `there is no item ${head}`)
    const copy = [...(value as readonly Json[])]
    copy[index] = set(copy[index] ?? null, rest, replacement, pointer)
    return copy
  }
  if (typeof value !== 'object' || value === null)
    throw missing(pointer, `${head} is looked for in ${JSON.stringify(value)}`)
  const own = Object.hasOwn(value, head)
  if (!own && rest.length > 0) throw missing(pointer, `there is no member ${head}`)
  const changed: [string, Json] = [
    head,
    set(own ? ((value as JsonObject)[head] as Json) : null, rest, replacement, pointer),
  ]
  const entries: [string, Json][] = own
    ? Object.entries(value).map(([k, v]) => (k === head ? changed : [k, v as Json]))
    : [...(Object.entries(value) as [string, Json][]), changed]
  return Object.fromEntries(entries)
}

function missing(pointer: string, why: string): ConvokeError {
  return new ConvokeError('RECORD_UNKNOWN', `${pointer} does not fit the value: ${why}`, {
    details: { pointer },
    next: 'look at the value with convoke show',
  })
}
