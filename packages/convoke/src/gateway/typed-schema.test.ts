import { describe, expect, test } from 'vitest'
import type { Json, JsonObject } from '../core/json.ts'
import { schemaGuard } from './schema-guard.ts'

// Expected by JSON Schema 2020-12; what does not fit must never be let through because a schema names no type.

async function verdict(schema: JsonObject, input: Json): Promise<string> {
  const rail = schemaGuard({ name: 'g', input: schema })
  const said = await rail.before?.({ tool: 't', input } as never, {} as never)
  return said === 'allow' ? 'allow' : 'deny'
}

describe('a schema without a type', () => {
  test.each<[string, JsonObject, Json, Json]>([
    ['members', { properties: { a: { type: 'string', maxLength: 2 } } }, { a: 'ab' }, { a: 'abc' }],
    ['members without a type of their own', { properties: { a: { maxLength: 2 } } }, { a: 'ab' }, { a: 'abc' }],
    ['required members', { required: ['a'] }, { a: 1 }, {}],
    ['no others', { properties: { a: {} }, additionalProperties: false }, { a: 1 }, { b: 1 }],
    ['bounds', { properties: { n: { minimum: 3, maximum: 5 } } }, { n: 4 }, { n: 6 }],
    ['patterns', { properties: { a: { pattern: '^a' } } }, { a: 'ab' }, { a: 'b' }],
    ['items', { properties: { l: { items: { maxLength: 1 } } } }, { l: ['a', 7] }, { l: ['a', 'bb'] }],
    ['two families', { minLength: 2, minimum: 2 }, 'ab', 1],
    [
      'beside another keyword',
      { required: ['a'], anyOf: [{ required: ['b'] }, { required: ['c'] }] },
      { a: 1, c: 1 },
      { a: 1 },
    ],
    [
      'in definitions',
      { $defs: { s: { maxLength: 1 } }, properties: { a: { $ref: '#/$defs/s' } } },
      { a: 'a' },
      { a: 'ab' },
    ],
    ['required among typed members', { type: 'object', required: ['b'], properties: { a: {} } }, { b: null }, { a: 1 }],
    [
      'required, and judged as all others',
      { type: 'object', required: ['b'], additionalProperties: { type: 'string' } },
      { b: 'x' },
      { b: 1 },
    ],
    [
      'required, by a pattern',
      {
        type: 'object',
        required: ['xb'],
        patternProperties: { '^x': { type: 'string' } },
        additionalProperties: false,
      },
      { xb: 'x' },
      { xb: 1 },
    ],
    ['inside of all', { allOf: [{ required: ['a'] }, { required: ['b'] }] }, { a: 1, b: 1 }, { a: 1 }],
  ])('%s', async (_, schema, fits, not) => {
    expect([await verdict(schema, fits), await verdict(schema, not)]).toEqual(['allow', 'deny'])
  })

  test.each<[string, JsonObject, Json]>([
    ['members say nothing of text', { properties: { a: { type: 'string' } } }, 'text'],
    ['lengths say nothing of numbers', { properties: { a: { maxLength: 1 } } }, { a: 123 }],
    ['bounds say nothing of text', { minimum: 5 }, 'text'],
    [
      'a member of the name of a keyword is a member',
      { properties: { maxLength: { type: 'string' } } },
      { maxLength: 'x' },
    ],
  ])('%s', async (_, schema, input) => {
    expect(await verdict(schema, input)).toBe('allow')
  })
})

test('a member that is required and may not be there fits nothing', async () => {
  const schema = { required: ['b'], properties: { a: {} }, additionalProperties: false }
  for (const input of [{}, { a: 1 }, { b: 1 }, { a: 1, b: 1 }]) expect(await verdict(schema, input)).toBe('deny')
})

test('DEFINITION_INVALID for keywords that cannot be read, typed or not', () => {
  for (const schema of [
    { not: { required: ['bcc'] } },
    { if: { required: ['a'] }, else: { required: ['b'] } },
  ] as JsonObject[])
    expect(() => schemaGuard({ name: 'g', input: schema })).toThrow('cannot be used')
})
