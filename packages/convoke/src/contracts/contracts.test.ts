import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { answerSchema } from './answer.ts'
import { role, squad, type AnyRole, type Role } from './role.ts'
import { check, fingerprintOf, isSchema, jsonSchemaOf, parse, problemsOf, validate } from './schema.ts'

const line = z.object({ item: z.string(), quantity: z.number().int().positive() })
const invoice = z.object({ number: z.string().min(1), 'lines/all': z.array(line), note: z.string().optional() })
const good = { number: 'INV-1', 'lines/all': [{ quantity: 2, item: 'A' }] }

/** A schema of no library, with or without JSON Schema. */
function plain(made: unknown, jsonSchema?: () => Record<string, unknown>): StandardSchemaV1 {
  const base = { version: 1 as const, vendor: 'plain', validate: () => ({ value: made }) }
  const standard = jsonSchema === undefined ? base : { ...base, jsonSchema: { input: jsonSchema, output: jsonSchema } }
  return { '~standard': standard }
}

describe('schemas', () => {
  test('give canonical, frozen values', async () => {
    const value = await validate(invoice, good)
    expect(value).toEqual(good)
    expect(Object.isFrozen(value['lines/all'][0])).toBe(true)
    expect(JSON.stringify(value)).toBe('{"lines/all":[{"item":"A","quantity":2}],"number":"INV-1"}')
    expectTypeOf(value.number).toEqualTypeOf<string>()
    expect(await validate(z.string().transform(Number), '7')).toBe(7)
    expect(await validate(z.undefined(), undefined)).toBeUndefined()
    expect(
      await validate(
        z.string().refine(async (text) => text === 'a'),
        'a',
      ),
    ).toBe('a')
  })

  test('refuse with the field and the reason', async () => {
    const bad = { number: '', 'lines/all': [{ item: 'A', quantity: 1.5 }] }
    await expect(validate(invoice, bad, 'the input of workflow w')).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringMatching(
        /^the input of workflow w does not fit its schema: \/number: .+; \/lines~1all\/0\/quantity: /,
      ) as string,
      details: { issues: [{ pointer: '/number' }, { pointer: '/lines~1all/0/quantity' }] },
    })
    await expect(parse(invoice, 1, 'OUTPUT_INVALID', 'the answer')).rejects.toMatchObject({ code: 'OUTPUT_INVALID' })
    expect(await problemsOf(invoice, { ...good, number: 7 })).toEqual([expect.stringMatching(/^\/number: /)])
    expect(await problemsOf(invoice, good)).toEqual([])
    expect(await problemsOf(invoice, undefined)).toEqual([expect.stringMatching(/^the value: /)])
  })

  test('what a schema lets through must be data, and what it throws is an issue', async () => {
    expect(await check(z.object({ at: z.coerce.date() }), { at: 0 })).toMatchObject({
      ok: false,
      issues: [{ pointer: '/at' }],
    })
    expect(await check(plain({ n: NaN }), 1)).toMatchObject({ ok: false, issues: [{ pointer: '/n' }] })
    const throwing = z.string().refine(() => {
      throw new Error('boom')
    })
    expect(await check(throwing, 'a')).toEqual({
      ok: false,
      issues: [{ pointer: '', message: 'the schema itself threw: boom' }],
    })
    const many = await check(z.array(z.string()), Array(100).fill(1))
    expect(many.ok ? [] : many.issues).toHaveLength(20)
  })

  test('are told from other things, functions among them', () => {
    const callable = Object.assign(() => undefined, plain(1))
    expect([invoice, plain(1), callable].map(isSchema)).toEqual([true, true, true])
    expect([undefined, null, {}, { '~standard': {} }, 'x', () => 1].map(isSchema)).toEqual(Array(6).fill(false))
  })

  test('have a JSON Schema of either side, made once', () => {
    const schema = z.object({ n: z.number().default(1) })
    expect(jsonSchemaOf(schema)).toMatchObject({ type: 'object', properties: { n: { type: 'number', default: 1 } } })
    expect(jsonSchemaOf(schema)['required']).toBeUndefined()
    expect(jsonSchemaOf(schema, 'output')['required']).toEqual(['n'])
    expect(jsonSchemaOf(schema)).toBe(jsonSchemaOf(schema))
    expect(jsonSchemaOf(plain(1, () => ({ type: 'integer', minimum: undefined })))).toEqual({ type: 'integer' })
  })

  test.for<[string, StandardSchemaV1]>([
    ['plain', plain(1)],
    ['zod', z.object({ at: z.date() })],
    ['plain', plain(1, () => ({ default: () => 1 }))],
  ])('without JSON Schema are refused where it is needed: %s', ([vendor, schema]) => {
    for (const act of [() => jsonSchemaOf(schema), () => fingerprintOf(schema)])
      expect(act).toThrow(
        expect.objectContaining({
          code: 'DEFINITION_INVALID',
          message: expect.stringContaining(vendor) as string,
          next: expect.stringMatching(/./) as string,
        }),
      )
  })

  test('have fingerprints that change with what they take', () => {
    const same = z.object({ number: z.string().min(1), 'lines/all': z.array(line), note: z.string().optional() })
    expect(fingerprintOf(same)).toBe(fingerprintOf(invoice))
    expect(fingerprintOf(invoice.extend({ number: z.string().min(2) }))).not.toBe(fingerprintOf(invoice))
    expect(fingerprintOf(invoice)).toMatch(/^[0-9a-f]{16}$/)
  })
})

describe('roles', () => {
  const definition = {
    name: 'intake',
    description: 'Reads invoices.',
    input: z.object({ file: z.string() }),
    output: invoice,
  }

  test('carry names, schemas and defaults, frozen', () => {
    const intake = role({ ...definition, tools: [{ name: 'pdf.read' }, 'pdf.read', 'ocr'], mayAsk: ['validation'] })
    expect(intake).toMatchObject({
      kind: 'role',
      name: 'intake',
      description: 'Reads invoices.',
      version: '1',
      evidence: 'none',
      tools: ['pdf.read', 'ocr'],
      mayAsk: ['validation'],
    })
    expect(Object.isFrozen(intake) && Object.isFrozen(intake.tools)).toBe(true)
    const { description: _, ...bare } = definition
    expect('description' in role(bare)).toBe(false)
  })

  test('may name each other', () => {
    const first: AnyRole = role({ ...definition, name: 'first', mayAsk: () => [second] })
    const second = role({ ...definition, name: 'second', mayAsk: [first] })
    expect([first.mayAsk, second.mayAsk]).toEqual([['second'], ['first']])
    expect(first.fingerprint).toMatch(/^[0-9a-f]{16}$/)
  })

  test('have a fingerprint that every part of the contract is in', () => {
    const base = role(definition).fingerprint
    const changes: object[] = [
      { name: 'other' },
      { version: '2' },
      { evidence: 'required' },
      { tools: ['x'] },
      { mayAsk: ['x'] },
      { input: z.object({ file: z.string(), page: z.number() }) },
      { output: line },
    ]
    const changed = changes.map((change) => role({ ...definition, ...change }).fingerprint)
    expect(new Set([base, ...changed]).size).toBe(changed.length + 1)
    expect(role({ ...definition, description: 'Said otherwise.' }).fingerprint).toBe(base)
  })

  test('infer their types once, and fit wherever any role does', () => {
    const intake = role({
      name: 'intake',
      input: z.object({ n: z.coerce.number() }),
      output: z.string().transform((s) => s.length),
    })
    expectTypeOf(intake).toEqualTypeOf<Role<{ n: unknown }, number>>()
    expectTypeOf(intake).toExtend<AnyRole>()
    expectTypeOf<Role<{ a: 1 }, string>>().not.toExtend<Role<{ a: 2 }, string>>()
    expect(intake.kind).toBe('role')
  })

  test.for<[why: string, change: object]>([
    ['cannot be a name', { name: '' }],
    ['cannot be a name', { name: 'a b' }],
    ['cannot be a name', { name: 'x'.repeat(61) }],
    ['input is not', { input: { type: 'object' } }],
    ['output is not', { output: undefined }],
    ['evidence "some" is unknown', { evidence: 'some' }],
  ])('are refused when defined wrongly: %s', ([why, change]) => {
    expect(() => role({ ...definition, ...change } as typeof definition)).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID', message: expect.stringContaining(why) as string }),
    )
  })

  test('stand in squads by name', () => {
    const intake = role(definition)
    const validation = role({ ...definition, name: 'validation' })
    const members = squad({ intake, validation })
    expectTypeOf(members.intake).toEqualTypeOf(intake)
    expect(Object.keys(members)).toEqual(['intake', 'validation'])
    expect(Object.isFrozen(members)).toBe(true)
    expect(() => squad({ intake, again: role(definition) })).toThrow(
      expect.objectContaining({ code: 'DEFINITION_INVALID' }),
    )
  })
})

describe('answerSchema', () => {
  const io = { name: 'r', input: z.string(), output: line }

  test('is an envelope around the output', () => {
    const schema = answerSchema(role({ ...io, evidence: 'required' }))
    expect(schema).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      required: ['value', 'claims'],
      additionalProperties: false,
      properties: {
        value: { type: 'object', properties: { item: { type: 'string' } } },
        claims: { type: 'array', minItems: 1, items: { required: ['statement', 'evidence'] } },
        confidence: { minimum: 0, maximum: 1 },
      },
    })
    expect(Object.isFrozen(schema)).toBe(true)
    const optional = answerSchema(role({ ...io, evidence: 'optional' }))
    expect(optional).toMatchObject({ required: ['value'], properties: { claims: { type: 'array' } } })
    expect(answerSchema(role(io))['properties']).not.toHaveProperty('claims')
  })

  test('takes what a model has to write, before any transform', () => {
    const output = z.object({ when: z.iso.date().transform((text) => new Date(text).getTime()) })
    expect(answerSchema(role({ ...io, output }))).toMatchObject({
      properties: { value: { properties: { when: { type: 'string', format: 'date' } } } },
    })
  })

  test('keeps references of recursive outputs in place, and data as it is', () => {
    interface Tree {
      const: string
      children: Tree[]
    }
    const tree: z.ZodType<Tree> = z.object({
      const: z.string().default('#'),
      get children() {
        return z.array(tree)
      },
    })
    const named = z.object({ id: z.string() }).meta({ id: 'Named' })
    const both = answerSchema(role({ ...io, output: z.object({ tree, a: named, b: named }) }))
    const text = JSON.stringify(both)
    const refs = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref]) => ref as string)
    expect(refs.length).toBeGreaterThan(1)
    for (const ref of refs) expect(resolve(both, ref), ref).toBeTypeOf('object')
    expect(text).toContain('"default":"#"')

    const root = answerSchema(role({ ...io, output: tree }))
    const own = [...JSON.stringify(root).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref]) => ref as string)
    expect(own.length).toBeGreaterThan(0)
    for (const ref of own)
      expect(resolve(root, ref), ref).toMatchObject({ properties: { children: { type: 'array' } } })
  })
})

function resolve(schema: unknown, ref: string): unknown {
  return ref
    .slice(2)
    .split('/')
    .reduce((here, key) => (here as Record<string, unknown> | undefined)?.[key], schema)
}
