import { describe, expect, test } from 'vitest'
import type { Json, JsonObject } from 'convoke'
import { jsonSchemaOf } from './schemas.ts'
import { callTool, desk, only, type Sent } from './kit.ts'

async function post(content: JsonObject, body: Json): Promise<Sent> {
  const at = desk()
  const tool = await only('/x', { method: 'post', requestBody: { required: true, content } })
  await callTool(tool, { body }, at)
  return at.sent[0] as Sent
}

describe('bodies', () => {
  test('JSON is preferred, and of its kind', async () => {
    const content = { 'text/plain': { schema: {} }, 'application/vnd.api+json': { schema: { type: 'object' } } }
    const sent = await post(content, { a: [1, { b: null }] })
    expect([sent.headers.get('content-type'), sent.body]).toEqual(['application/vnd.api+json', '{"a":[1,{"b":null}]}'])
  })

  test('forms, with the encoding of their members', async () => {
    const sent = await post(
      {
        'application/x-www-form-urlencoded': {
          schema: { type: 'object' },
          encoding: {
            ids: { style: 'form', explode: false },
            address: { style: 'deepObject' },
            raw: { contentType: 'application/json' },
          },
        },
      },
      { name: 'a b&c=d', ids: [1, 2], tags: ['x', 'y'], address: { city: 'Köln' }, raw: { z: 1 } },
    )
    expect(sent.headers.get('content-type')).toBe('application/x-www-form-urlencoded')
    expect(sent.body).toBe('name=a+b%26c%3Dd&ids=1,2&tags=x&tags=y&address%5Bcity%5D=K%C3%B6ln&raw=%7B%22z%22%3A1%7D')
  })

  test('multipart with files, from base64 and from a file of the run', async () => {
    const schema = {
      type: 'object',
      properties: {
        title: { type: 'string' },
        meta: { type: 'object' },
        file: { type: 'string', format: 'binary' },
        more: { type: 'array', items: { type: 'string', contentMediaType: 'image/png' } },
      },
      required: ['file'],
    }
    const sent = await post(
      { 'multipart/form-data': { schema, encoding: { file: { contentType: 'application/pdf' } } } },
      {
        title: 'x',
        meta: { a: 1 },
        file: { base64: Buffer.from('bytes').toString('base64'), name: '../a"b.pdf' },
        more: [{ blob: 'known', type: 'image/png' }],
      },
    )
    expect(sent.headers.get('content-type')).toMatch(/^multipart\/form-data; boundary=/)
    expect(sent.body).toContain('name="file"; filename=".._a_b.pdf"\r\nContent-Type: application/pdf\r\n\r\nbytes\r\n')
    expect(sent.body).toContain('name="more"; filename="file"\r\nContent-Type: image/png\r\n\r\nfrom a blob')
    expect(sent.body).toContain('name="title"\r\n\r\nx')
    expect(sent.body).toContain('Content-Type: application/json\r\n\r\n{"a":1}')
  })

  test('bytes and text', async () => {
    const bytes = await post(
      { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
      { base64: 'AAEC' },
    )
    expect([bytes.headers.get('content-type'), Buffer.from(bytes.body).toString('hex')]).toEqual([
      'application/octet-stream',
      '000102',
    ])
    const xml = await post({ 'application/xml': { schema: { type: 'object' } } }, '<a/>')
    expect([xml.headers.get('content-type'), xml.body]).toEqual(['application/xml', '<a/>'])
  })

  test('what is no base64, and a file that the run does not have, are refused', async () => {
    const tool = await only('/x', { method: 'post', requestBody: { content: { 'image/png': {} } } })
    await expect(callTool(tool, { body: { base64: 'no base64!' } }, desk())).rejects.toMatchObject({
      code: 'TOOL_INPUT_INVALID',
    })
    await expect(callTool(tool, { body: { blob: 'unknown' } }, desk())).rejects.toMatchObject({ code: 'BLOB_MISSING' })
    await expect(callTool(tool, { body: { base64: 'AA==', path: '/etc/passwd' } }, desk())).rejects.toThrow(
      'there is no "path" here',
    )
  })

  test('a GET has no body, whatever its document says', async () => {
    const tool = await only('/x', { requestBody: { content: { 'application/json': {} } } })
    expect(jsonSchemaOf(tool, 'input')).not.toHaveProperty('properties.body')
  })
})

describe('answers', () => {
  const answer = (content: JsonObject, more: JsonObject = {}): JsonObject => ({
    responses: { 200: { description: 'ok', content, ...more } },
  })

  test('JSON, text, bytes, and nothing', async () => {
    const tool = await only('/x', {})
    const bytes = Buffer.from([0, 255])
    for (const [response, expected] of [
      [Response.json({ a: 1 }), { a: 1 }],
      [new Response('{"a":1}', { headers: { 'content-type': 'application/hal+json; charset=utf-8' } }), { a: 1 }],
      [new Response('a,b', { headers: { 'content-type': 'text/csv' } }), 'a,b'],
      [
        new Response(bytes, { headers: { 'content-type': 'image/png' } }),
        { mediaType: 'image/png', base64: bytes.toString('base64') },
      ],
      [new Response(null, { status: 204 }), null],
      [new Response('', { headers: { 'content-type': 'application/json' } }), null],
    ] as const)
      expect(
        await callTool(
          tool,
          {},
          desk(() => response),
        ),
      ).toEqual(expected)
  })

  test('failures are left to the gateway, except those that are answers of the business', async () => {
    const refuse = (): Response => Response.json({ code: 'ALREADY_PAID' }, { status: 409 })
    const document = {
      method: 'post',
      responses: {
        201: { description: 'ok' },
        409: { description: 'no', content: { 'application/json': { schema: { type: 'object', required: ['code'] } } } },
      },
    }
    expect(await callTool(await only('/x', document), {}, desk(refuse))).toMatchObject({ status: 409, ok: false })
    const tool = await only('/x', document, {}, { answers: { op: [409] } })
    const value = await callTool(tool, {}, desk(refuse))
    expect(value).toEqual({ status: 409, body: { code: 'ALREADY_PAID' } })
    expect((await tool.outputSchema?.['~standard'].validate(value))?.issues).toBeUndefined()
    expect((await tool.outputSchema?.['~standard'].validate({ status: 409, body: {} }))?.issues).toBeDefined()
    const later = (): Response => Response.json({ code: 'BUSY' }, { status: 409, headers: { 'retry-after': '1' } })
    expect(await callTool(tool, {}, desk(later))).toMatchObject({ status: 409, ok: false })
  })

  test('answers are held to the document, unless it is known to be wrong', async () => {
    const node = answer({
      'application/json': { schema: { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] } },
    })
    const strict = await only('/x', node)
    const issues = async (tool: typeof strict, value: Json): Promise<number> =>
      (await tool.outputSchema?.['~standard'].validate(value))?.issues?.length ?? 0
    expect([await issues(strict, { n: 1 }), await issues(strict, { n: 'x' }), await issues(strict, {})]).toEqual([
      0, 1, 1,
    ])
    const loose = await only('/x', node, {}, { check: 'nothing' })
    expect(await issues(loose, { n: 'x' })).toBe(0)
  })

  test('integers of 64 bits may come as text, with all their digits', async () => {
    const tool = await only('/x', answer({ 'application/json': { schema: { type: 'integer', format: 'int64' } } }))
    for (const [value, fits] of [
      [7, true],
      ['12345678901234567890', true],
      ['x', false],
    ] as const)
      expect([(await tool.outputSchema?.['~standard'].validate(value))?.issues === undefined, value]).toEqual([
        fits,
        value,
      ])
  })

  test('the next page of a Link header becomes arguments', async () => {
    const node = {
      parameters: [
        { name: 'page', in: 'query', schema: { type: 'integer' } },
        { name: 'per_page', in: 'query', schema: { type: 'integer' } },
        { name: 'q', in: 'query', schema: { type: 'string' } },
      ],
      ...answer(
        { 'application/json': { schema: { type: 'array' } } },
        { headers: { Link: { schema: { type: 'string' } } } },
      ),
    }
    const tool = await only('/x', node)
    expect(tool.description).toContain('Paginated: choose a page with page, per_page')
    const reply = (sent: Sent): Response =>
      Response.json([1], {
        headers: sent.target.includes('page=2')
          ? {}
          : {
              link: '<https://api.test/v1/x?q=a&page=1>; rel="prev", <https://api.test/v1/x?q=a&page=2&per_page=50>; rel="next"',
            },
      })
    const first = await callTool(tool, { q: 'a' }, desk(reply))
    expect(first).toEqual({ items: [1], next: { page: 2, per_page: 50 } })
    expect(await callTool(tool, { q: 'a', ...(first as { next: JsonObject }).next }, desk(reply))).toEqual({
      items: [1],
    })
  })
})
