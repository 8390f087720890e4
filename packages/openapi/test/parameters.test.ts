import { describe, expect, test } from 'vitest'
import type { JsonObject } from 'convoke'
import { callTool, desk, only } from './kit.ts'

async function send(path: string, parameters: readonly JsonObject[], input: JsonObject): Promise<string> {
  const at = desk()
  const tool = await only(path, { parameters: parameters.map((p) => ({ schema: {}, ...p })) })
  await callTool(tool, input, at)
  return at.sent[0]?.target.slice('/v1'.length) ?? ''
}

const list = ['blue', 'black', 'brown']
const color = { R: 100, G: 200, B: 150 }

describe('styles of parameters, as the examples of the OpenAPI specification have them', () => {
  test.each([
    ['simple', false, '5', '/5'],
    ['simple', false, list, '/blue,black,brown'],
    ['simple', true, list, '/blue,black,brown'],
    ['simple', false, color, '/R,100,G,200,B,150'],
    ['simple', true, color, '/R=100,G=200,B=150'],
    ['label', false, 'blue', '/.blue'],
    ['label', false, list, '/.blue,black,brown'],
    ['label', true, list, '/.blue.black.brown'],
    ['label', false, color, '/.R,100,G,200,B,150'],
    ['label', true, color, '/.R=100.G=200.B=150'],
    ['matrix', false, 'blue', '/;color=blue'],
    ['matrix', false, list, '/;color=blue,black,brown'],
    ['matrix', true, list, '/;color=blue;color=black;color=brown'],
    ['matrix', false, color, '/;color=R,100,G,200,B,150'],
    ['matrix', true, color, '/;R=100;G=200;B=150'],
  ] as const)('path, %s, explode %s: %j', async (style, explode, color, expected) => {
    const parameter = { name: 'color', in: 'path', required: true, style, explode }
    expect(await send('/{color}', [parameter], { color: color as never })).toBe(expected)
  })

  test.each([
    ['form', true, 'blue', '?color=blue'],
    ['form', true, '', '?color='],
    ['form', true, list, '?color=blue&color=black&color=brown'],
    ['form', false, list, '?color=blue,black,brown'],
    ['form', true, color, '?R=100&G=200&B=150'],
    ['form', false, color, '?color=R,100,G,200,B,150'],
    ['form', true, [], ''],
    ['spaceDelimited', false, list, '?color=blue%20black%20brown'],
    ['pipeDelimited', false, list, '?color=blue%7Cblack%7Cbrown'],
    ['deepObject', true, color, '?color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150'],
    ['deepObject', true, { a: { b: [1, 2] } }, '?color%5Ba%5D%5Bb%5D%5B0%5D=1&color%5Ba%5D%5Bb%5D%5B1%5D=2'],
    ['form', true, 'a&b=c#d?e/f+g h', '?color=a%26b%3Dc%23d%3Fe%2Ff%2Bg%20h'],
    ['form', true, true, '?color=true'],
  ] as const)('query, %s, explode %s: %j', async (style, explode, color, expected) => {
    expect(await send('/x', [{ name: 'color', in: 'query', style, explode }], { color: color as never })).toBe(
      `/x${expected}`,
    )
  })

  test('allowReserved leaves what cannot end the value', async () => {
    const parameter = { name: 'q', in: 'query', allowReserved: true }
    expect(await send('/x', [parameter], { q: 'a/b:c?d@e!$()*,;f&g=h#i+j[k]' })).toBe(
      '/x?q=a/b:c?d@e!$()*,;f%26g%3Dh%23i%2Bj%5Bk%5D',
    )
  })

  test('a parameter with content is JSON; a querystring is the whole query', async () => {
    const content = { 'application/json': { schema: {} } }
    const at = desk()
    const tool = await only('/x', { parameters: [{ name: 'filter', in: 'query', content }] })
    await callTool(tool, { filter: { a: [1] } }, at)
    expect(at.sent[0]?.target).toBe('/v1/x?filter=%7B%22a%22%3A%5B1%5D%7D')
    const form = { 'application/x-www-form-urlencoded': { schema: { type: 'object' } } }
    const whole = await only(
      '/x',
      { parameters: [{ name: 'all', in: 'querystring', content: form }] },
      { openapi: '3.2.0' },
    )
    await callTool(whole, { all: { a: 'b c', d: [1, 2] } }, at)
    expect(at.sent[1]?.target).toBe('/v1/x?a=b%20c&d=1&d=2')
  })

  test('headers and cookies', async () => {
    const at = desk()
    const tool = await only('/x', {
      parameters: [
        { name: 'X-List', in: 'header', schema: { type: 'array' } },
        { name: 'X-Object', in: 'header', schema: { type: 'object' }, explode: true },
        { name: 'session', in: 'cookie', schema: { type: 'string' } },
        { name: 'other', in: 'cookie', schema: { type: 'string' } },
        // Never a document's to set.
        { name: 'Host', in: 'header', schema: { type: 'string' } },
        { name: 'Content-Length', in: 'header', schema: { type: 'string' } },
        { name: 'Authorization', in: 'header', schema: { type: 'string' } },
      ],
    })
    const input = { 'X-List': ['a', 'b'], 'X-Object': { k: 'v', l: 1 }, session: 'a;b=c', other: 'd' }
    await callTool(tool, input, at)
    expect(at.sent[0]?.headers.get('x-list')).toBe('a,b')
    expect(at.sent[0]?.headers.get('x-object')).toBe('k=v,l=1')
    expect(at.sent[0]?.headers.get('cookie')).toBe('session=a%3Bb%3Dc; other=d')
    for (const name of ['Host', 'Content-Length', 'Authorization'])
      await expect(callTool(tool, { [name]: 'x' }, at)).rejects.toThrow(`there is no "${name}" here`)
  })

  test('what a header cannot hold is refused (TOOL_INPUT_INVALID)', async () => {
    const tool = await only('/x', { parameters: [{ name: 'X-Note', in: 'header', schema: { type: 'string' } }] })
    for (const note of ['a\r\nX-Admin: 1', 'a\nb', 'a\0b', 'snow ☃'])
      await expect(callTool(tool, { 'X-Note': note }, desk())).rejects.toMatchObject({ code: 'TOOL_INPUT_INVALID' })
  })

  test('names that clash keep their places apart', async () => {
    const at = desk()
    const tool = await only('/x/{id}', {
      parameters: [
        { name: 'id', in: 'path', required: true, schema: { type: 'string' } },
        { name: 'id', in: 'query', schema: { type: 'string' } },
        { name: 'filter[name]', in: 'query', schema: { type: 'string' } },
        { name: 'body', in: 'query', schema: { type: 'string' } },
      ],
    })
    await callTool(tool, { id: 'a', id_query: 'b', filter_name_: 'c', body_query: 'd' }, at)
    expect(at.sent[0]?.target).toBe('/v1/x/a?id=b&filter%5Bname%5D=c&body=d')
  })
})

describe('values never leave their place in the path', () => {
  const parameter = { name: 'id', in: 'path', required: true, schema: { type: 'string' } }

  test.each([
    '..',
    '.',
    '%2e%2e',
    '%2E%2e',
    '.%2e',
    '%252e%252e',
    '%25252e%25252e',
    '../admin',
    '..%2fadmin',
    '..%5cadmin',
    '..\\admin',
    'a/b',
    'a%2fb',
    'a%252fb',
    '/',
    '//evil.test',
    '\\\\evil.test',
    '..;/admin',
    '..;',
    'a\0b',
    'a%00b',
    'a\nb',
    '%0d%0aX: y',
    '',
  ])('%j is refused', async (id) => {
    const at = desk()
    const tool = await only('/users/{id}/files', { parameters: [parameter] })
    await expect(callTool(tool, { id }, at)).rejects.toThrow(/.+/)
    expect(at.sent).toEqual([])
  })

  test.each([
    ['a.b', 'a.b'],
    ['...', '...'],
    ['100%', '100%25'],
    ['a?b#c', 'a%3Fb%23c'],
    ['ünï', '%C3%BCn%C3%AF'],
    ['a;b=c', 'a%3Bb%3Dc'],
    ['@evil.test:80', '%40evil.test%3A80'],
    ['%zz', '%25zz'],
  ])('%j travels as %s', async (id, expected) => {
    expect(await send('/users/{id}/files', [parameter], { id })).toBe(`/users/${expected}/files`)
  })

  test('segments may hold slashes where the document or the app says so, and still no dots', async () => {
    const at = desk()
    const multi = await only('/c/{id}', { parameters: [{ ...parameter, 'x-multi-segment': true }] })
    await callTool(multi, { id: 'docs/a b/c.md' }, at)
    const said = await only('/c/{id}', { parameters: [parameter] }, {}, { slashes: ['op.id'] })
    await callTool(said, { id: 'feature/x' }, at)
    expect(at.sent.map((s) => s.target)).toEqual(['/v1/c/docs/a%20b/c.md', '/v1/c/feature/x'])
    for (const id of ['a/../../b', 'a/%2e%2e/b', '../x', 'a/..', 'a\\b', './x'])
      await expect(callTool(multi, { id }, at)).rejects.toMatchObject({ code: 'TOOL_INPUT_INVALID' })
  })

  test('a value that the app fills in is held to the same', async () => {
    const tool = await only('/c/{id}', { parameters: [parameter] }, {}, { fill: { id: '..' } })
    await expect(callTool(tool, {}, desk())).rejects.toMatchObject({ code: 'TOOL_INPUT_INVALID' })
  })

  test('query and fragment of a template: what is literal stays, a fragment is never sent', async () => {
    const at = desk()
    const tool = await only('/x?action=list#X-Target', { parameters: [{ name: 'n', in: 'query', schema: {} }] })
    await callTool(tool, { n: 1 }, at)
    expect(at.sent[0]?.target).toBe('/v1/x?action=list&n=1')
  })
})
