import { describe, expect, test } from 'vitest'
import type { JsonObject } from 'convoke'
import { apiKey, basic, bearer, clientCredentials, openApiTools, type Auth } from '../src/index.ts'
import { callTool, desk, documentOf, only, type Sent } from './kit.ts'

const schemes = {
  token: { type: 'http', scheme: 'bearer' },
  user: { type: 'http', scheme: 'basic' },
  header: { type: 'apiKey', in: 'header', name: 'X-Api-Key' },
  query: { type: 'apiKey', in: 'query', name: 'api key' },
  cookie: { type: 'apiKey', in: 'cookie', name: 'sid' },
  oauth: {
    type: 'oauth2',
    flows: { clientCredentials: { tokenUrl: 'https://auth.test/token', scopes: { read: '', write: '' } } },
  },
}
const more = { components: { securitySchemes: schemes } } as JsonObject

async function sent(
  security: readonly JsonObject[],
  auth: Auth,
  reply?: (sent: Sent) => Response,
): Promise<readonly Sent[]> {
  const at = desk(reply, { t: 'tok', u: 'ada', p: 'pässword', k: 'key&=' })
  await callTool(await only('/x', { security }, more, { auth }), {}, at)
  return at.sent
}

describe('credentials', () => {
  test('go where the document says', async () => {
    expect((await sent([{ token: [] }], { token: bearer('t') }))[0]?.headers.get('authorization')).toBe('Bearer tok')
    expect((await sent([{ user: [] }], { user: basic('u', 'p') }))[0]?.headers.get('authorization')).toBe(
      `Basic ${Buffer.from('ada:pässword').toString('base64')}`,
    )
    expect((await sent([{ header: [] }], { header: apiKey('k') }))[0]?.headers.get('x-api-key')).toBe('key&=')
    expect((await sent([{ query: [] }], { query: apiKey('k') }))[0]?.target).toBe('/v1/x?api%20key=key%26%3D')
    expect((await sent([{ cookie: [] }], { cookie: apiKey('k') }))[0]?.headers.get('cookie')).toBe('sid=key%26%3D')
  })

  test('the first alternative that the app can serve is taken, all of it', async () => {
    const [one] = await sent([{ oauth: [] }, { header: [], cookie: [] }, { token: [] }], {
      token: bearer('t'),
      header: apiKey('k'),
      cookie: apiKey('k'),
    })
    expect([one?.headers.get('x-api-key'), one?.headers.get('cookie'), one?.headers.get('authorization')]).toEqual([
      'key&=',
      'sid=key%26%3D',
      null,
    ])
  })

  test('one credential may serve all operations, also where the document is silent', async () => {
    expect((await sent([], bearer('t')))[0]?.headers.get('authorization')).toBe('Bearer tok')
    expect((await sent([], apiKey('k', { in: 'header', name: 'X-Key' })))[0]?.headers.get('x-key')).toBe('key&=')
  })

  test('without them an operation is no tool (OPENAPI_UNSUPPORTED), unless it does not insist', async () => {
    await expect(only('/x', { security: [{ token: [] }] }, more)).rejects.toMatchObject({ code: 'OPENAPI_UNSUPPORTED' })
    await expect(only('/x', { security: [{ token: [] }, {}] }, more)).resolves.toMatchObject({ kind: 'tool' })
    const responses = { 200: { description: 'ok' } }
    const document = documentOf(
      {
        '/a': { get: { operationId: 'a', responses, security: [{ token: [] }] } },
        '/b': { get: { operationId: 'b', responses } },
      },
      more,
    )
    const made = await openApiTools(document, { name: 'x', operations: 'all' })
    expect([made.tools.map((t) => t.name), made.refused]).toEqual([
      ['x_b'],
      [{ operation: 'a', code: 'OPENAPI_UNSUPPORTED', why: expect.stringContaining('credentials for token') }],
    ])
    expect(() => made.tool('a')).toThrow(expect.objectContaining({ code: 'OPENAPI_UNSUPPORTED' }))
  })

  test('models are not shown parameters that carry them', async () => {
    const tool = await only(
      '/x',
      { security: [{ token: [] }], parameters: [{ name: 'Authorization', in: 'header', schema: {} }] },
      more,
      { auth: bearer('t') },
    )
    await expect(callTool(tool, { Authorization: 'Bearer mine' }, desk())).rejects.toThrow(
      'there is no "Authorization" here',
    )
  })

  test('do not travel over plain http, except inside', async () => {
    const auth = { auth: bearer('t') }
    const plain = { servers: [{ url: 'http://api.test' }] }
    await expect(only('/x', {}, plain, auth)).rejects.toMatchObject({ code: 'OPENAPI_UNSUPPORTED' })
    await expect(only('/x', {}, plain)).resolves.toMatchObject({ kind: 'tool' })
    await expect(only('/x', {}, plain, { ...auth, network: { inside: ['private'] } })).resolves.toMatchObject({
      kind: 'tool',
    })
    const asked = await only('/x', {}, {}, { ...auth, server: () => 'http://api.test' })
    const at = desk()
    await expect(callTool(asked, {}, at)).rejects.toMatchObject({ code: 'NETWORK_DENIED' })
    expect(at.sent).toEqual([])
    const oauth = clientCredentials({ id: 'i', secret: 's', tokenUrl: 'http://auth.test/token' })
    await expect(only('/x', {}, {}, { auth: oauth })).rejects.toMatchObject({ code: 'OPENAPI_UNSUPPORTED' })
  })

  test('a value that no header can hold is not quoted', async () => {
    const at = desk(undefined, { t: 'line\nbreak' })
    const error: unknown = await callTool(await only('/x', {}, {}, { auth: bearer('t') }), {}, at).catch(
      (e: unknown) => e,
    )
    expect(error).toMatchObject({ code: 'SECRET_MISSING' })
    expect(String(error)).not.toContain('break')
  })
})

describe('OAuth2 client credentials', () => {
  let issued = 0
  const server =
    (options: { readonly expires?: number; readonly refuse?: () => boolean } = {}) =>
    (s: Sent): Response => {
      if (s.url === 'https://auth.test/token')
        return Response.json({
          access_token: `token-${++issued}`,
          token_type: 'bearer',
          expires_in: options.expires ?? 3600,
        })
      return options.refuse?.() === true ? Response.json({}, { status: 401 }) : Response.json({})
    }
  const secrets = { id: 'client id', sec: 's/cret' }
  const auth = { oauth: clientCredentials({ id: 'id', secret: 'sec' }) }
  const tool = () => only('/x', { security: [{ oauth: ['read', 'write'] }] }, more, { auth })

  test('a token is asked for once, kept, and concealed', async () => {
    issued = 0
    const at = desk(server(), secrets)
    const op = await tool()
    await Promise.all([callTool(op, {}, at), callTool(op, {}, at), callTool(op, {}, at)])
    await callTool(op, {}, at)
    const asked = at.sent.filter((s) => s.url.includes('auth.test'))
    expect(asked).toHaveLength(1)
    expect(asked[0]?.body).toBe('grant_type=client_credentials&scope=read+write')
    expect(asked[0]?.headers.get('authorization')).toBe(`Basic ${Buffer.from('client+id:s%2Fcret').toString('base64')}`)
    expect(at.sent.filter((s) => s.headers.get('authorization') === 'Bearer token-1')).toHaveLength(4)
    expect(at.concealed).toContain('token-1')
  })

  test('it is renewed when it has ended, and once when it was refused', async () => {
    issued = 0
    const short = desk(server({ expires: 0.001 }), secrets)
    const op = await tool()
    await callTool(op, {}, short)
    await new Promise((resolve) => setTimeout(resolve, 20))
    await callTool(op, {}, short)
    expect(issued).toBe(2)
    let refusals = 1
    const refusing = desk(server({ refuse: () => refusals-- > 0 }), secrets)
    expect(await callTool(op, {}, refusing)).toEqual({})
    expect(issued).toBe(4)
    const never = desk(server({ refuse: () => true }), secrets)
    expect(await callTool(op, {}, never)).toMatchObject({ status: 401 })
    expect(never.sent.filter((s) => s.url.includes('api.test'))).toHaveLength(2)
  })

  test('a server that gives none fails the call without saying what was sent', async () => {
    for (const [status, code] of [
      [400, 'TOOL_FAILED'],
      [503, 'TOOL_UNREACHABLE'],
      [302, 'TOOL_FAILED'],
    ] as const) {
      const at = desk(() => Response.json({ error: 'invalid_client' }, { status }), secrets)
      const error: unknown = await callTool(await tool(), {}, at).catch((e: unknown) => e)
      expect(error).toMatchObject({ code })
      expect(JSON.stringify(error)).not.toContain('s/cret')
    }
  })

  test('the token’s host is within the tool’s reach, and no other', async () => {
    expect((await tool()).network).toEqual({ hosts: ['api.test', 'auth.test'] })
  })
})
