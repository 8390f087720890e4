import { ConvokeError, type Json, type JsonObject } from 'convoke'
import type { Parameter } from './operation.ts'
import { isObject, put } from './shape.ts'

// How values of parameters are written: the styles of OpenAPI's Parameter Object, after RFC 6570.

/** Everything but unreserved characters (RFC 3986, 2.3) is percent-encoded. */
export function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** With `allowReserved`, except what would end the value or the query: `# & + =` and brackets. */
function encodeReserved(text: string): string {
  return encode(text).replace(/%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)/g, (c) => decodeURIComponent(c))
}

export function scalar(value: Json): string {
  if (value === null) return ''
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

type Pairs = readonly (readonly [name: string, value: string])[]

/** The `name=value` pairs of a query parameter or a form's field, percent-encoded. */
export function queryPairs(
  p: Pick<Parameter, 'name' | 'style' | 'explode' | 'allowReserved' | 'media'>,
  value: Json,
): Pairs {
  const enc = p.allowReserved ? encodeReserved : encode
  const name = encode(p.name)
  if (p.media !== undefined) return [[name, enc(typeof value === 'string' ? value : JSON.stringify(value))]]
  if (p.style === 'deepObject') return deep(name, value, enc)
  if (Array.isArray(value)) {
    const items = (value as readonly Json[]).map((item) => enc(scalar(item)))
    if (items.length === 0) return []
    if (p.explode) return items.map((item) => [name, item])
    return [[name, items.join(delimiter(p.style))]]
  }
  if (isObject(value)) {
    const entries = Object.entries(value).map(([key, part]) => [encode(key), enc(scalar(part))] as const)
    if (p.explode) return entries
    return [[name, entries.flat().join(delimiter(p.style))]]
  }
  return [[name, enc(scalar(value))]]
}

function delimiter(style: Parameter['style']): string {
  return style === 'spaceDelimited' ? '%20' : style === 'pipeDelimited' ? '%7C' : ','
}

/** `name[key]=value`; nested as most servers read it, of which the specification says nothing. */
function deep(name: string, value: Json, enc: (text: string) => string): Pairs {
  if (typeof value !== 'object' || value === null) return [[name, enc(scalar(value))]]
  return Object.entries(value).flatMap(([key, part]) => deep(`${name}%5B${encode(key)}%5D`, part as Json, enc))
}

/**
 * A path parameter's text. A value can never leave its place: neither `.` nor `..`, however it is encoded, and no
 * slash or backslash unless the parameter is made of segments.
 * @throws TOOL_INPUT_INVALID
 */
export function pathText(p: Parameter, value: Json, slashes: boolean): string {
  const enc = (text: string): string => {
    harmless(p, text, slashes)
    return slashes ? text.split('/').map(encode).join('/') : encode(text)
  }
  const text = expand(p, value, enc)
  if (text === '') throw wrong(p, 'is empty, which would be another path')
  harmless(p, text, true)
  return text
}

function expand(p: Parameter, value: Json, enc: (text: string) => string): string {
  const [first, between] = p.style === 'label' ? ['.', '.'] : p.style === 'matrix' ? [';', ';'] : ['', ',']
  const named = p.style === 'matrix' ? `${encode(p.name)}=` : ''
  if (p.media !== undefined) return enc(JSON.stringify(value))
  if (Array.isArray(value)) {
    const items = (value as readonly Json[]).map((item) => enc(scalar(item)))
    if (p.explode) return first + items.map((item) => named + item).join(between)
    return first + named + items.join(',')
  }
  if (isObject(value)) {
    const entries = Object.entries(value).map(([key, part]) => [enc(key), enc(scalar(part))] as const)
    if (p.explode) return first + entries.map(([key, part]) => `${key}=${part}`).join(between)
    return first + named + entries.flat().join(',')
  }
  return first + named + enc(scalar(value))
}

/** Servers, proxies and URL parsers decode and resolve at different times; so none of them may have to. */
function harmless(p: Parameter, text: string, slashes: boolean): void {
  let decoded = text
  for (let round = 0; round < 4; round++) {
    if (decoded.includes('\\') || (!slashes && decoded.includes('/')))
      throw wrong(p, 'holds a slash, which would be another path')
    if (decoded.split('/').some((part) => /^\.{1,2}(?:;.*)?$/s.test(part)))
      throw wrong(p, 'is made of dots, which would be another path')
    if (/[\0-\x1f\x7f]/.test(decoded)) throw wrong(p, 'holds control characters')
    let next: string
    try {
      next = decodeURIComponent(decoded)
    } catch {
      return
    }
    if (next === decoded) return
    decoded = next
  }
  throw wrong(p, 'is encoded again and again')
}

/** A header's value (style `simple`). @throws TOOL_INPUT_INVALID for characters that a header cannot hold */
export function headerText(p: Parameter, value: Json): string {
  const text = p.media !== undefined ? JSON.stringify(value) : expand({ ...p, style: 'simple' }, value, (part) => part)
  if (/[^\t\x20-\x7e\x80-\xff]/.test(text)) throw wrong(p, 'holds characters that a header cannot')
  return text
}

/** A cookie's pairs. Percent-encoded, so that no value ends its cookie. */
export function cookiePairs(p: Parameter, value: Json): Pairs {
  return queryPairs({ ...p, style: 'form', allowReserved: false }, value)
}

export function wrong(p: Pick<Parameter, 'argument'>, why: string): ConvokeError {
  return new ConvokeError('TOOL_INPUT_INVALID', `${p.argument} ${why}`, {
    details: { argument: p.argument },
    next: 'call it again with a plain value',
  })
}

/** Members of an object by name, in order. */
export function entriesOf(value: Json): readonly (readonly [string, Json])[] {
  return isObject(value) ? Object.entries(value) : []
}

export function without(value: JsonObject, keys: ReadonlySet<string>): JsonObject {
  const out: Record<string, Json> = {}
  for (const [key, part] of Object.entries(value)) if (!keys.has(key)) put(out, key, part)
  return out
}
