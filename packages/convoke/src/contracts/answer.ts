import { deepFreeze } from '../core/canonical.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { AnyRole } from './role.ts'
import { jsonSchemaOf } from './schema.ts'

const citation: JsonObject = {
  type: 'object',
  properties: {
    ref: { type: 'string', description: 'id of the segment or record that you were shown' },
    quote: { type: 'string', description: 'copied from it character by character' },
  },
  required: ['ref', 'quote'],
  additionalProperties: false,
}

const claims: JsonObject = {
  type: 'array',
  items: {
    type: 'object',
    properties: {
      statement: {
        type: 'string',
        description: 'one sentence; its numbers, dates and identifiers occur in the evidence',
      },
      about: { type: 'string', description: 'JSON Pointer into value, such as /total' },
      evidence: { type: 'array', items: citation },
    },
    required: ['statement', 'evidence'],
    additionalProperties: false,
  },
}

/**
 * JSON Schema 2020-12 of the envelope that a model answers with: { value, claims, confidence, reasoning }, where value
 * is what the role's output schema takes. A role without evidence has no claims.
 * @throws DEFINITION_INVALID when the output has no JSON Schema
 */
export function answerSchema(role: AnyRole): JsonObject {
  const { $schema: _, $defs, ...value } = jsonSchemaOf(role.output, 'input')
  const cited = role.evidence !== 'none'
  return deepFreeze({
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    properties: {
      value: rebase(value),
      ...(cited ? { claims: role.evidence === 'required' ? { ...claims, minItems: 1 } : claims } : {}),
      confidence: { type: 'number', minimum: 0, maximum: 1 },
      reasoning: { type: 'string' },
    },
    required: role.evidence === 'required' ? ['value', 'claims'] : ['value'],
    additionalProperties: false,
    ...($defs === undefined ? {} : { $defs: eachMember($defs as JsonObject, (_name, schema) => rebase(schema)) }),
  })
}

// Keywords that hold no schemas, and those that hold schemas by names of the author's choosing.
const data = new Set(['const', 'enum', 'default', 'examples'])
const maps = new Set(['properties', 'patternProperties', '$defs', 'dependentSchemas'])

/** The schema now stands at /properties/value, its definitions at the root: references into itself move with it. */
function rebase(schema: Json): Json {
  if (typeof schema !== 'object' || schema === null) return schema
  if (Array.isArray(schema)) return (schema as readonly Json[]).map(rebase)
  return eachMember(schema as JsonObject, (key, item) => {
    if (key === '$ref' && typeof item === 'string') return moved(item)
    if (maps.has(key)) return eachMember(item as JsonObject, (_, inner) => rebase(inner))
    return data.has(key) ? item : rebase(item)
  })
}

function eachMember(object: JsonObject, change: (key: string, item: Json) => Json): JsonObject {
  return Object.fromEntries(Object.entries(object).map(([key, item]) => [key, change(key, item)]))
}

function moved(ref: string): string {
  return ref.startsWith('#') && !ref.startsWith('#/$defs/') ? `#/properties/value${ref.slice(1)}` : ref
}
