import { describe, expect, test } from 'vitest'
import type { JsonObject } from 'convoke'
import { openApiTools } from '../src/index.ts'
import { callTool, desk, documentOf, only } from './kit.ts'
import { jsonSchemaOf } from './schemas.ts'

const ok = { responses: { 200: { description: 'ok' } } }
const all = { name: 'x', operations: 'all' } as const

describe('what is no document of ours', () => {
  test('is refused with its problems (OPENAPI_INVALID)', async () => {
    for (const source of [
      '',
      'hello',
      '[]',
      '{"openapi": "3.1.0"',
      '{"openapi":"3.1.0"}',
      documentOf({ 'no-slash': {} }),
      documentOf({ '/x': { get: { responses: {}, parameters: [{ name: 1 }] } } }),
    ])
      await expect(openApiTools(source, all)).rejects.toMatchObject({
        code:
          source === '' || source === 'hello' || source === '[]'
            ? expect.stringMatching(/^OPENAPI_/)
            : 'OPENAPI_INVALID',
      })
    const dangling = documentOf({ '/x': { get: { ...ok, parameters: [{ $ref: '#/components/parameters/none' }] } } })
    await expect(openApiTools(dangling, all)).rejects.toMatchObject({ code: 'OPENAPI_INVALID' })
  })

  test('by version (OPENAPI_UNSUPPORTED)', async () => {
    for (const document of [{ swagger: '2.0' }, { openapi: '4.0.0' }, { openapi: 3 }, {}])
      await expect(openApiTools(document, all)).rejects.toMatchObject({ code: 'OPENAPI_UNSUPPORTED' })
  })

  test('references to elsewhere are never followed (OPENAPI_REF_EXTERNAL)', async () => {
    for (const $ref of [
      'file:///etc/passwd',
      'other.yaml#/a',
      'http://169.254.169.254/',
      '//evil.test/x',
      '../x.json',
      'https://evil.test/a#/b',
    ])
      for (const document of [
        documentOf({ '/x': { $ref } }),
        documentOf({ '/x': { get: { ...ok, parameters: [{ $ref }] } } }),
        documentOf(
          { '/x': { get: ok } },
          { components: { schemas: { a: { properties: { b: { items: [{ $ref }] } } } } } },
        ),
      ])
        await expect(openApiTools(document, all)).rejects.toMatchObject({ code: 'OPENAPI_REF_EXTERNAL' })
  })

  test('YAML with a bomb of aliases, and one without an end', async () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x,x]',
      ...Array.from(
        'bcdefghi',
        (c, i) =>
          `${c}: &${c} [${Array(10)
            .fill(`*${'abcdefgh'.charAt(i)}`)
            .join(',')}]`,
      ),
    ].join('\n')
    await expect(openApiTools(`openapi: 3.1.0\n${bomb}`, all)).rejects.toMatchObject({ code: 'OPENAPI_INVALID' })
    await expect(openApiTools('openapi: 3.1.0\na: &a\n  b: *a\n', all)).rejects.toMatchObject({
      code: 'OPENAPI_INVALID',
    })
  })
})

test('a document that was checked before is not checked again, except for where it leads', async () => {
  const odd = documentOf({ '/x': { get: { operationId: 'a', responses: {}, deprecated: 'no boolean' } } })
  await expect(openApiTools(odd, all)).rejects.toMatchObject({ code: 'OPENAPI_INVALID' })
  expect((await openApiTools(odd, { ...all, checked: true })).tools).toHaveLength(1)
  const external = documentOf({ '/x': { $ref: 'other.json' } })
  await expect(openApiTools(external, { ...all, checked: true })).rejects.toMatchObject({
    code: 'OPENAPI_REF_EXTERNAL',
  })
})

test.each(['3.0.3', '3.1.1', '3.2.0'])('OpenAPI %s in JSON and in YAML', async (openapi) => {
  const document = documentOf({ '/x': { get: { operationId: 'getX', ...ok } } }, { openapi })
  const yaml = `openapi: ${openapi}\ninfo: {title: t, version: "1"}\nservers: [{url: "https://api.test"}]\npaths:\n  /x:\n    get:\n      operationId: getX\n      responses: {"200": {description: ok}}\n`
  for (const source of [document, JSON.stringify(document), yaml])
    expect((await openApiTools(source, all)).tools.map((t) => t.name)).toEqual(['x_getX'])
})

test('3.2: QUERY and further methods', async () => {
  const document = documentOf(
    { '/x': { query: { operationId: 'q', ...ok }, additionalOperations: { PURGE: { operationId: 'p', ...ok } } } },
    { openapi: '3.2.0' },
  )
  const { tools } = await openApiTools(document, all)
  expect(tools.map((t) => [t.name, t.effect])).toEqual([
    ['x_q', 'unsafe'],
    ['x_p', 'unsafe'],
  ])
  const at = desk()
  for (const tool of tools) await callTool(tool, {}, at)
  expect(at.sent.map((s) => s.method)).toEqual(['QUERY', 'PURGE'])
})

describe('schemas', () => {
  test('references stay references, circular ones too, and each tool carries what it needs', async () => {
    const more = {
      components: {
        schemas: {
          Node: {
            type: 'object',
            properties: {
              name: { type: 'string' },
              next: { $ref: '#/components/schemas/Node' },
              leaf: { $ref: '#/components/schemas/Leaf' },
            },
            required: ['name'],
          },
          Leaf: { type: 'string', enum: ['a', 'b'] },
          Unused: { type: 'object' },
        },
      },
    }
    const requestBody = {
      required: true,
      content: { 'application/json': { schema: { $ref: '#/components/schemas/Node' } } },
    }
    const tool = await only('/x', { method: 'post', requestBody }, more)
    expect(jsonSchemaOf(tool, 'input')).toEqual({
      type: 'object',
      properties: { body: { $ref: '#/$defs/Node' } },
      required: ['body'],
      additionalProperties: false,
      $defs: {
        Node: {
          type: 'object',
          properties: { name: { type: 'string' }, next: { $ref: '#/$defs/Node' }, leaf: { $ref: '#/$defs/Leaf' } },
          required: ['name'],
        },
        Leaf: { type: 'string', enum: ['a', 'b'] },
      },
    })
    await callTool(tool, { body: { name: 'a', next: { name: 'b', leaf: 'a' } } }, desk())
    await expect(callTool(tool, { body: { name: 'a', next: { name: 'b', leaf: 'c' } } }, desk())).rejects.toThrow(
      'must be one of ["a","b"]',
    )
    await expect(callTool(tool, { body: { name: 'a', next: {} } }, desk())).rejects.toThrow(
      "must have required property 'name'",
    )
  })

  test('names of definitions that would clash, and references into the middle', async () => {
    const more = {
      components: {
        schemas: { A: { type: 'object', properties: { inner: { type: 'integer' } } } },
        parameters: { A: { name: 'p', in: 'query', schema: { $ref: '#/components/schemas/A/properties/inner' } } },
        requestBodies: {
          A: {
            content: {
              'application/json': {
                schema: { anyOf: [{ $ref: '#/components/schemas/A' }, { $ref: '#/components/x-other/A' }] },
              },
            },
          },
        },
        'x-other': { A: { type: 'boolean' } },
      },
    }
    const tool = await only(
      '/x',
      {
        method: 'post',
        parameters: [{ $ref: '#/components/parameters/A' }],
        requestBody: { $ref: '#/components/requestBodies/A' },
      },
      more,
    )
    expect(Object.keys(jsonSchemaOf(tool, 'input')['$defs'] as JsonObject).sort()).toEqual(['A', 'A_2', 'inner'])
    await callTool(tool, { p: 1, body: true }, desk())
    await expect(callTool(tool, { p: 'x' }, desk())).rejects.toThrow('must be integer')
  })

  test('what 3.0 says in its own way', async () => {
    const schema = {
      type: 'object',
      properties: {
        a: { type: 'string', nullable: true, enum: ['x'] },
        b: { type: 'number', minimum: 1, exclusiveMinimum: true },
        c: { allOf: [{ $ref: '#/components/schemas/C' }], nullable: true },
        d: { $ref: '#/components/schemas/C', description: 'hidden by the reference' },
        seen: { type: 'string', readOnly: true },
      },
      required: ['b', 'seen'],
      example: { a: 'just data' },
    }
    const tool = await only(
      '/x',
      { method: 'post', requestBody: { content: { 'application/json': { schema } } } },
      { openapi: '3.0.3', components: { schemas: { C: { type: 'string' } } } },
    )
    const call = (body: JsonObject): Promise<unknown> => callTool(tool, { body }, desk())
    await call({ a: null, b: 1.5, c: null, d: 'x' })
    await expect(call({ b: 1 })).rejects.toThrow('must be > 1')
    await expect(call({ b: 2, a: 'y' })).rejects.toThrow('must be one of')
    expect(jsonSchemaOf(tool, 'input')).not.toHaveProperty('properties.body.properties.seen')
  })

  test('members named like parts of every object are just names', async () => {
    const properties = JSON.parse('{"__proto__": {"type": "string"}, "constructor": {"type": "integer"}}') as JsonObject
    const tool = await only('/x', {
      method: 'post',
      requestBody: { content: { 'application/json': { schema: { type: 'object', properties } } } },
    })
    const at = desk()
    await callTool(tool, { body: JSON.parse('{"__proto__": "x"}') as JsonObject }, at)
    expect(at.sent[0]?.body).toBe('{"__proto__":"x"}')
    await expect(callTool(tool, { body: { constructor: 'x' } as unknown as JsonObject }, at)).rejects.toThrow(
      'must be integer',
    )
    const inherited = documentOf({ '/x': { get: { ...ok, parameters: [{ $ref: '#/constructor' }] } } })
    expect((await openApiTools(inherited, all)).refused).toMatchObject([{ code: 'OPENAPI_INVALID' }])
  })

  test('a pattern that JavaScript cannot read forbids nothing', async () => {
    const tool = await only('/x', {
      parameters: [{ name: 'p', in: 'query', schema: { type: 'string', pattern: '(?i)[a' } }],
    })
    const at = desk()
    await callTool(tool, { p: 'anything' }, at)
    expect(at.sent[0]?.target).toBe('/v1/x?p=anything')
  })
})
