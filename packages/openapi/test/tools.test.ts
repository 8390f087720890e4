import { describe, expect, test } from 'vitest'
import type { Json, JsonObject } from 'convoke'
import { openApiTools } from '../src/index.ts'
import { callTool, desk, documentOf, only } from './kit.ts'
import { jsonSchemaOf } from './schemas.ts'

const ok = { responses: { 200: { description: 'ok' } } }

describe('names', () => {
  const names = async (paths: Json, operations: 'all' | readonly string[] = 'all'): Promise<readonly string[]> =>
    (await openApiTools(documentOf(paths), { name: 'api', operations })).tools.map((t) => t.name)

  test('fit every provider, differ, and depend on the document alone', async () => {
    const long = 'a'.repeat(80)
    const paths = {
      '/1': { get: { operationId: 'repos/get-content', ...ok } },
      '/2': { get: { operationId: 'repos_get-content', ...ok } },
      '/3': { get: { operationId: `${long}1`, ...ok } },
      '/4': { get: { operationId: `${long}2`, ...ok } },
      '/5': { get: { operationId: 'Größe & Gewicht', ...ok } },
      '/6/{id}': { get: { ...ok, parameters: [{ name: 'id', in: 'path', required: true, schema: {} }] } },
      '/7': { get: { operationId: 'twice', ...ok }, post: { operationId: 'twice', ...ok } },
      '/8': { get: { operationId: 'REPOS_get-content', ...ok } },
    }
    const all = await names(paths)
    for (const name of all) expect(name).toMatch(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/)
    expect(new Set(all.map((name) => name.toLowerCase())).size).toBe(all.length)
    expect(all[0]).toMatch(/^api_repos_get-content_[0-9a-f]{8}$/)
    expect(all[4]).toBe('api_Gro_e_Gewicht')
    expect(all[5]).toBe('api_GET_6_id')
    expect(all.slice(6, 8)).toEqual(['api_GET_7', 'api_POST_7'])
    // Neither the choice nor the order changes them.
    expect(await names(paths, ['repos/get-content', `${long}2`])).toEqual([all[0], all[3]])
    expect((await names(Object.fromEntries(Object.entries(paths).reverse()))).toSorted()).toEqual(all.toSorted())
  })
})

describe('choices', () => {
  const document = documentOf({
    '/repos/{id}': {
      parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }],
      get: { operationId: 'repos/get', tags: ['repos'], ...ok },
      delete: { operationId: 'repos/delete', tags: ['repos', 'admin'], ...ok },
    },
    '/users': { get: { operationId: 'users/list', tags: ['users'], ...ok } },
  })
  const chosen = async (...operations: Parameters<typeof openApiTools>[1]['operations'] & readonly unknown[]) =>
    (await openApiTools(document, { name: 'x', operations: operations as never })).tools.map((t) => t.name)

  test('by id, tag, path and method', async () => {
    expect(await chosen('users/list')).toEqual(['x_users_list'])
    expect(await chosen({ tag: 'admin' })).toEqual(['x_repos_delete'])
    expect(await chosen({ path: '/repos/*' })).toEqual(['x_repos_get', 'x_repos_delete'])
    expect(await chosen({ path: '/repos/{id}', method: 'get' }, 'users/list')).toEqual(['x_repos_get', 'x_users_list'])
  })

  test('what meets nothing is an error', async () => {
    for (const choice of ['nope', { tag: 'nope' }, { path: '/nope/*' }])
      await expect(chosen(choice)).rejects.toMatchObject({ code: 'OPENAPI_UNSUPPORTED' })
    await expect(
      openApiTools(document, { name: 'x', operations: 'all', effects: { nope: 'keyed' } }),
    ).rejects.toMatchObject({ code: 'OPENAPI_UNSUPPORTED' })
  })
})

describe('effects', () => {
  test('only GET and HEAD read, and the app may know better', async () => {
    const methods = ['get', 'head', 'put', 'post', 'patch', 'delete', 'options', 'trace']
    const paths = {
      '/x': Object.fromEntries(
        methods.map((m) => [m, { operationId: m, ...ok, 'x-safe': true, description: 'Safe! Has no effect!' }]),
      ),
    }
    const { tools } = await openApiTools(documentOf(paths), {
      name: 'x',
      operations: 'all',
      effects: { put: 'idempotent', post: { effect: 'keyed', header: 'X-Request-Id' }, patch: 'read' },
    })
    expect(Object.fromEntries(tools.map((t) => [t.name.slice(2), t.effect]))).toEqual({
      get: 'read',
      head: 'read',
      put: 'idempotent',
      post: 'keyed',
      patch: 'read',
      delete: 'unsafe',
      options: 'unsafe',
      trace: 'unsafe',
    })
  })

  test('the idempotency key is the gateway’s, under the name that the server knows', async () => {
    const at = desk()
    const parameters = [{ name: 'idempotency-key', in: 'header', required: true, schema: { type: 'string' } }]
    const plain = await only('/x', { method: 'post', parameters })
    const keyed = await only(
      '/x',
      { method: 'post', parameters },
      {},
      { effects: { op: { effect: 'keyed', header: 'X-Key' } } },
    )
    for (const tool of [plain, keyed]) {
      expect(jsonSchemaOf(tool, 'input')['properties']).toEqual({})
      await callTool(tool, {}, at)
    }
    expect(at.sent.map(({ headers }) => [headers.get('idempotency-key'), headers.get('x-key')])).toEqual([
      ['key-1', null],
      ['key-1', 'key-1'],
    ])
    await expect(
      only('/x', { method: 'post' }, {}, { effects: { op: { effect: 'keyed', header: 'a b' } } }),
    ).rejects.toMatchObject({ code: 'OPENAPI_UNSUPPORTED' })
  })

  test('what policies and labels need to know is the app’s to say', async () => {
    const declare = { op: { categories: ['financial-commitment'], external: true, timeoutMs: 5 } }
    expect(await only('/x', {}, {}, { declare, labels: { integrity: 'trusted' } })).toMatchObject({
      categories: ['financial-commitment'],
      external: true,
      timeoutMs: 5,
      labels: { integrity: 'trusted' },
    })
    await expect(only('/x', {}, {}, { declare: { nope: {} } })).rejects.toMatchObject({ code: 'OPENAPI_UNSUPPORTED' })
  })

  test('the app fills in what callers do not choose', async () => {
    const at = desk()
    const parameters = [
      { name: 'X-Run', in: 'header', schema: { type: 'string' } },
      { name: 'tenant', in: 'path', required: true, schema: { type: 'string' } },
    ]
    const tool = await only(
      '/{tenant}',
      { parameters },
      {},
      { fill: { 'X-Run': (context) => context.run, tenant: 'acme' } },
    )
    await callTool(tool, {}, at)
    expect([at.sent[0]?.target, at.sent[0]?.headers.get('x-run')]).toEqual(['/v1/acme', 'r1'])
    await expect(callTool(tool, { tenant: 'other' }, at)).rejects.toThrow('there is no "tenant" here')
  })
})

describe('servers', () => {
  const at = async (
    more: JsonObject,
    server?: Parameters<typeof openApiTools>[1]['server'],
  ): Promise<string | undefined> => {
    const d = desk()
    await callTool(await only('/x', {}, more, server === undefined ? {} : { server }), {}, d)
    return d.sent[0]?.url
  }
  const template = {
    servers: [
      { url: 'https://a.test/' },
      {
        url: 'https://{region}.b.test/{v}',
        variables: { region: { default: 'eu', enum: ['eu', 'us'] }, v: { default: 'v2' } },
      },
    ],
  }

  test('the first, another with its variables, one of the app’s own, or one that is asked for at each call', async () => {
    expect(await at(template)).toBe('https://a.test/x')
    expect(await at(template, { index: 1 })).toBe('https://eu.b.test/v2/x')
    expect(await at(template, { index: 1, variables: { region: 'us', v: 'v3' } })).toBe('https://us.b.test/v3/x')
    expect(await at(template, 'https://c.test/base/')).toBe('https://c.test/base/x')
    expect(await at(template, () => Promise.resolve('https://d.test'))).toBe('https://d.test/x')
    expect(await at({ servers: [{ url: '/rel' }] }, { base: 'https://e.test/openapi.json' })).toBe(
      'https://e.test/rel/x',
    )
  })

  test('an operation’s own come before those of its path and of the document', async () => {
    const d = desk()
    await callTool(await only('/x', { servers: [{ url: 'https://own.test' }] }), {}, d)
    expect(d.sent[0]?.url).toBe('https://own.test/x')
  })

  test('what is no server is refused (OPENAPI_INVALID)', async () => {
    for (const [more, server] of [
      [{ servers: [{ url: '/' }] }, undefined],
      [template, { index: 7 }],
      [template, { index: 1, variables: { region: 'evil.test/' } }],
      [template, { index: 1, variables: { nope: 'x' } }],
      [template, 'ftp://a.test'],
      [template, 'https://user:password@a.test'],
      [template, 'not an address'],
    ] as const)
      await expect(at(more, server)).rejects.toMatchObject({ code: 'OPENAPI_INVALID' })
  })

  test('a tool reaches its server’s host and no other, unless the app says so', async () => {
    expect((await only('/x', {}, template)).network).toEqual({ hosts: ['a.test'] })
    expect((await only('/x', {}, template, { network: { hosts: ['*.test'] } })).network).toEqual({ hosts: ['*.test'] })
  })
})
