import type { Json, JsonObject } from 'convoke'
import type { Document } from './document.ts'
import { isObject, listOf, member, put, strings, textOf } from './shape.ts'

/** Whether a schema says what is sent or what comes back: `readOnly` and `writeOnly` depend on it. */
export type Side = 'input' | 'output'

const single = new Set([
  'items',
  'additionalProperties',
  'not',
  'if',
  'then',
  'else',
  'contains',
  'propertyNames',
  'unevaluatedItems',
  'unevaluatedProperties',
  'additionalItems',
])
const lists = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems'])
const maps = new Set(['properties', 'patternProperties', 'dependentSchemas', '$defs', 'definitions'])
/** Of no use to whoever validates or writes a value, or meant for another place. */
const dropped = new Set([
  'example',
  'examples',
  'xml',
  'externalDocs',
  'discriminator',
  'nullable',
  'readOnly',
  'writeOnly',
  '$schema',
  '$id',
  '$anchor',
  '$dynamicAnchor',
  '$comment',
  '$vocabulary',
])

/**
 * A schema of the document as JSON Schema 2020-12 that stands alone: what it refers to lies in its own `$defs`, so
 * circular schemas stay circular references and nothing is written out twice. What 3.0 says in its own way (`nullable`,
 * boolean `exclusiveMinimum`, `$ref` that hides its siblings) is said in the newer one.
 */
export function standalone(document: Document, schema: Json | undefined, side: Side): JsonObject {
  const b = bundler(document, side)
  const converted = b.convert(schema ?? true)
  const defs = b.defs()
  const own = isObject(converted) ? converted : converted === false ? { not: {} } : {}
  return Object.keys(defs).length === 0 ? own : { ...own, $defs: defs }
}

/** Collects what schemas refer to; several schemas may share one. */
export interface Bundler {
  convert(schema: Json): Json
  /** Everything that the converted schemas refer to, directly or not. */
  defs(): JsonObject
}

export function bundler(document: Document, side: Side): Bundler {
  const old = document.version === '3.0'
  const names = new Map<string, string>()
  const taken = new Set<string>()
  const open: string[] = []
  const made: Record<string, Json> = {}

  function refer(ref: string): JsonObject {
    let name = names.get(ref)
    if (name === undefined) {
      const wish = (ref.split('/').at(-1) ?? 'schema').replace(/[^A-Za-z0-9._-]+/g, '_').slice(0, 80) || 'schema'
      name = wish
      for (let n = 2; taken.has(name); n++) name = `${wish}_${n}`
      taken.add(name)
      names.set(ref, name)
      open.push(ref)
    }
    return { $ref: `#/$defs/${name}` }
  }

  function convert(schema: Json): Json {
    if (!isObject(schema)) return schema === false ? false : true
    const ref = textOf(member(schema, '$ref'))
    if (ref !== undefined && old) return refer(ref)
    const out: Record<string, Json> = {}
    for (const [key, value] of Object.entries(schema)) {
      if (key === '$ref') Object.assign(out, ref === undefined ? {} : refer(ref))
      else if (dropped.has(key) || key.startsWith('x-')) continue
      else if (single.has(key)) put(out, key, Array.isArray(value) ? listOf(value).map(convert) : convert(value))
      else if (lists.has(key)) put(out, key, listOf(value).map(convert))
      else if (maps.has(key)) put(out, key === 'definitions' ? '$defs' : key, convertAll(value))
      else put(out, key, value)
    }
    fitSide(schema, out)
    if (old) modernize(schema, out)
    return side === 'output' ? withDigits(out) : out
  }

  function convertAll(value: Json): JsonObject {
    const out: Record<string, Json> = {}
    for (const [key, part] of Object.entries(isObject(value) ? value : {})) put(out, key, convert(part))
    return out
  }

  /** `readOnly` members are not sent, and need not be; `writeOnly` ones need not come back. */
  function fitSide(schema: JsonObject, out: Record<string, Json>): void {
    const properties = member(schema, 'properties')
    if (!isObject(properties)) return
    const mark = side === 'input' ? 'readOnly' : 'writeOnly'
    const gone = new Set(
      Object.entries(properties)
        .filter(([, part]) => member(document.follow(part), mark) === true)
        .map(([key]) => key),
    )
    if (gone.size === 0) return
    if (side === 'input' && isObject(out['properties']))
      out['properties'] = Object.fromEntries(Object.entries(out['properties']).filter(([key]) => !gone.has(key)))
    const required = strings(member(schema, 'required')).filter((key) => !gone.has(key))
    if (required.length > 0) out['required'] = required
    else delete out['required']
  }

  return {
    convert,
    defs() {
      for (let ref = open.pop(); ref !== undefined; ref = open.pop())
        put(made, names.get(ref) as string, convert(document.lookup(ref)))
      return made
    },
  }
}

/** OpenAPI 3.0's own words in those of JSON Schema 2020-12. */
function modernize(schema: JsonObject, out: Record<string, Json>): void {
  for (const [flag, limit] of [
    ['exclusiveMinimum', 'minimum'],
    ['exclusiveMaximum', 'maximum'],
  ] as const) {
    if (typeof out[flag] !== 'boolean') continue
    if (out[flag] === true && typeof out[limit] === 'number') {
      out[flag] = out[limit]
      delete out[limit]
    } else delete out[flag]
  }
  if (member(schema, 'nullable') !== true) return
  const { type } = out
  if (typeof type === 'string') {
    out['type'] = [type, 'null']
    if (Array.isArray(out['enum']) && !listOf(out['enum']).includes(null)) out['enum'] = [...listOf(out['enum']), null]
  } else if (Object.keys(out).length > 0) {
    // 3.0.3 gives `nullable` a meaning beside `type` only; documents use it everywhere and mean it.
    const { title, description, ...rest } = out
    for (const key of Object.keys(out)) delete out[key]
    Object.assign(out, { anyOf: [rest, { type: 'null' }] }, title === undefined ? {} : { title })
    if (description !== undefined) out['description'] = description
  }
}

/** Integers beyond 2^53 come as text, so that their digits survive: a schema of 64 bits has to allow it. */
function withDigits(out: Record<string, Json>): JsonObject {
  const { type, format } = out
  const wide = format === 'int64' || format === 'uint64' || format === 'decimal'
  if (!wide || !(type === 'integer' || type === 'number')) return out
  return { ...out, type: [type, 'string'], pattern: '^-?[0-9]+([.][0-9]+)?$' }
}
