import type { Json, JsonObject } from '../core/json.ts'

// JSON Schema lets a schema speak about members or lengths without naming a type; what is of another type then passes. The
// library that reads schemas here takes such a schema for one that says nothing, and a guardrail would let all through.
// So the type is written out: what is of it must fit, what is of another type passes, as the specification has it
// (JSON Schema 2020-12, Validation, 6: keywords that do not apply to a type pass).

const about: readonly (readonly [type: string, keywords: readonly string[]])[] = [
  [
    'object',
    [
      'properties',
      'required',
      'additionalProperties',
      'patternProperties',
      'propertyNames',
      'minProperties',
      'maxProperties',
      'dependentRequired',
      'dependentSchemas',
      'unevaluatedProperties',
    ],
  ],
  ['string', ['minLength', 'maxLength', 'pattern', 'format', 'contentEncoding']],
  ['number', ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf']],
  ['array', ['items', 'prefixItems', 'contains', 'minItems', 'maxItems', 'uniqueItems', 'unevaluatedItems']],
]
const types: readonly string[] = ['object', 'string', 'number', 'array', 'boolean', 'null']

/** Members whose value is a schema, a list of schemas, or schemas by name. */
const one = new Set(['items', 'additionalProperties', 'propertyNames', 'contains', 'not', 'if', 'then', 'else'])
const many = new Set(['allOf', 'anyOf', 'oneOf', 'prefixItems'])
const named = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas'])
/** Belong to the document, wherever the rest of it goes. */
const atTop = new Set(['$schema', '$id', '$defs', 'definitions', 'title', 'description', '$anchor', '$comment'])

/** The same schema, with every type named that its keywords are about, and every member that is required. */
export function withTypes(schema: JsonObject): JsonObject {
  const inner = withMembers(Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, within(key, value)])))
  if (inner['type'] !== undefined) return inner
  const families = about.flatMap(([type, keywords]) => {
    const own = Object.entries(inner).filter(([key]) => keywords.includes(key))
    return own.length === 0 ? [] : [{ type, own }]
  })
  if (families.length === 0) return inner
  const spoken = new Set(families.flatMap(({ own }) => own.map(([key]) => key)))
  const top = Object.entries(inner).filter(([key]) => atTop.has(key))
  const rest = Object.entries(inner).filter(([key]) => !atTop.has(key) && !spoken.has(key))
  const others = types.filter((type) => families.every((family) => family.type !== type))
  const typed = {
    anyOf: [
      ...families.map(({ type, own }): JsonObject => ({ type, ...Object.fromEntries(own) })),
      ...others.map((type): JsonObject => ({ type })),
    ],
  }
  return Object.fromEntries([
    ...top,
    ...Object.entries(rest.length === 0 ? typed : { allOf: [Object.fromEntries(rest), typed] }),
  ])
}

/** A member that is required and described nowhere would not be asked for either. */
function withMembers(schema: JsonObject): JsonObject {
  const { required, properties = {} } = schema
  if (!Array.isArray(required) || !isObject(properties)) return schema
  const missing = required.filter(
    (name): name is string => typeof name === 'string' && !Object.hasOwn(properties, name),
  )
  if (missing.length === 0) return schema
  const anything: JsonObject = { anyOf: types.map((type) => ({ type })) }
  const patterns = Object.keys(
    isObject(schema['patternProperties'] ?? null) ? (schema['patternProperties'] as JsonObject) : {},
  )
  const others = schema['additionalProperties'] ?? true
  // Naming it takes it from those that `additionalProperties` speaks about, so that goes with it.
  const spoken = (name: string): Json =>
    others === true || patterns.some((pattern) => new RegExp(pattern, 'u').test(name)) ? anything : others
  return {
    ...schema,
    properties: { ...properties, ...Object.fromEntries(missing.map((name) => [name, spoken(name)])) },
  }
}

function within(key: string, value: Json): Json {
  if (one.has(key)) return schemaIn(value)
  if (many.has(key) && Array.isArray(value)) return (value as readonly Json[]).map(schemaIn)
  if (named.has(key) && isObject(value))
    return Object.fromEntries(Object.entries(value).map(([name, schema]) => [name, schemaIn(schema)]))
  return value
}

function schemaIn(value: Json): Json {
  return isObject(value) ? withTypes(value) : value
}

function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
