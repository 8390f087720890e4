/**
 * An operation whose answer is lost, and another that says whether it happened. What came of it is counted at the
 * counterpart, a real server that keeps what it was told under the key it was told it with.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { convoke, workflow, type AnyTool, type App, type Json, type JsonObject } from 'convoke'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { bearer, openApiTools, type OpenApiOptions, type Reconcile } from './index.ts'

interface Arrived {
  readonly what: string
  readonly key: string | undefined
  readonly auth: string | undefined
}

const arrived: Arrived[] = []
const transfers = new Map<string, JsonObject>()
/** What the server does with the first order that reaches it, and how it answers questions. */
let order: 'commits' | 'loses' = 'commits'
let question: 'knows' | 'fails' | 'moved' | 'says otherwise' = 'knows'
let server: Server
let url: string
let dir: string
let app: App | undefined

beforeEach(async () => {
  arrived.length = 0
  transfers.clear()
  order = 'commits'
  question = 'knows'
  dir = await mkdtemp(join(tmpdir(), 'convoke-reconcile-'))
  server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      const key = request.headers['x-request-id'] as string | undefined
      const what = `${request.method ?? ''} ${(request.url ?? '').split('?')[0] ?? ''}`
      const first = !arrived.some((a) => a.what === what)
      arrived.push({ what, key, auth: request.headers.authorization })
      const reply = (status: number, body: Json): void =>
        void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      if (request.method === 'GET') {
        const its = transfers.get(new URL(request.url ?? '', url).searchParams.get('key') ?? '')
        if (question === 'fails') reply(500, { error: 'down' })
        else if (question === 'moved') reply(404, { error: 'no such route' })
        else if (question === 'says otherwise') reply(200, { status: 'fine' })
        else if (its === undefined) reply(404, { error: 'no such transfer' })
        else reply(200, its)
        return
      }
      const made = { number: `T-${transfers.size + 1}`, amount: (JSON.parse(text) as JsonObject)['amount'] ?? '' }
      if (order === 'commits' || !first) transfers.set(key ?? `${arrived.length}`, made)
      if (first) request.socket.destroy()
      else reply(201, made)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(async () => {
  await app?.close()
  app = undefined
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await rm(dir, { recursive: true, force: true })
})

const Transfer = {
  type: 'object',
  properties: { number: { type: 'string' }, amount: { type: 'string' } },
  required: ['number', 'amount'],
}
const answering = (status: string): JsonObject => ({
  responses: { [status]: { description: 'it', content: { 'application/json': { schema: Transfer } } } },
})
const document = {
  openapi: '3.1.0',
  info: { title: 'Bank', version: '1' },
  servers: [{ url: '/' }],
  components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
  security: [{ token: [] }],
  paths: {
    '/transfers': {
      post: {
        operationId: 'transfer',
        requestBody: { required: true, content: { 'application/json': { schema: { type: 'object' } } } },
        ...answering('201'),
      },
      get: {
        operationId: 'getTransfer',
        parameters: [{ name: 'key', in: 'query', required: true, schema: { type: 'string' } }],
        ...answering('200'),
      },
    },
  },
}

const byKey: Reconcile = {
  operation: 'getTransfer',
  arguments: (call) => ({ key: call.idempotencyKey }),
  happened: ({ status }) => status === 200,
  answers: [404],
}
/** Only the writing operation is a tool. */
async function imported(reconcile: Reconcile, more: Partial<OpenApiOptions> = {}): Promise<AnyTool> {
  const made = await openApiTools(document, {
    name: 'bank',
    operations: ['transfer'],
    server: url,
    auth: bearer('token'),
    effects: { transfer: { effect: 'reconcilable', reconcile, header: 'X-Request-Id' } },
    network: { inside: ['loopback'] },
    timeoutMs: 1_500,
    retry: { delayMs: 20 },
    ...more,
  })
  expect(made.tools.map((t) => t.name)).toEqual(['bank_transfer'])
  return made.tool('transfer')
}

async function outcomeOf(its: AnyTool): Promise<{ status: string; value: unknown; types: readonly string[] }> {
  const flow = workflow({ name: 'flow', input: z.unknown() }, (run) =>
    run.call(its, { body: { amount: '5.00' } } as never, { businessKey: 'R-17' }),
  )
  app = convoke({
    store: dir,
    durability: 'process-crash-only',
    workflows: { flow },
    tools: [its],
    secrets: { get: (name: string) => Promise.resolve(name === 'token' ? 'secret-token-123' : undefined) },
  })
  const handle = await app.start('flow', {}, { id: 'r' })
  await app.idle()
  const ledger = await app.ledger()
  for (let i = 0; i < 1_200; i++) {
    const row = await ledger.run({ tenant: 'local', stream: 'run/r' })
    if (row?.status === 'done' || row?.status === 'failed' || row?.parkedOn === 'person') {
      const records = await ledger.read({ tenant: 'local', stream: 'run/r' })
      return {
        status: row.parkedOn ?? row.status,
        value: row.status === 'done' ? await handle.result() : undefined,
        types: records.map((r) => r.type).filter((type) => /^(?:tool|approval)\./.test(type)),
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('it came to no end')
}
const posts = (): Arrived[] => arrived.filter((a) => a.what === 'POST /transfers')
const asked = (): Arrived[] => arrived.filter((a) => a.what === 'GET /transfers')

describe('a transfer whose answer is lost', () => {
  test('it happened: what was read is the result, and it is not sent again', { timeout: 60_000 }, async () => {
    const { status, value, types } = await outcomeOf(await imported(byKey))
    expect([status, value]).toEqual(['done', { number: 'T-1', amount: '5.00' }])
    expect([posts().length, asked().length, transfers.size]).toEqual([1, 1, 1])
    // The same credentials, and the question knows the key that the order went out with.
    expect(asked()[0]?.auth).toBe('Bearer secret-token-123')
    expect([...transfers.keys()]).toEqual([posts()[0]?.key])
    expect(types).toEqual(['tool.dispatched', 'tool.doubted'])
  })

  test('it did not: known for certain, it is sent again, under another key', { timeout: 60_000 }, async () => {
    order = 'loses'
    const { status, types } = await outcomeOf(await imported(byKey))
    expect([status, transfers.size, posts().length]).toEqual(['done', 1, 2])
    expect(new Set(posts().map((p) => p.key)).size).toBe(2)
    expect(types).toEqual(['tool.dispatched', 'tool.doubted', 'tool.not-executed', 'tool.dispatched'])
  })

  test.each([
    ['the server fails', 'fails', {}],
    ['404 is no answer unless said: a route may have moved', 'moved', { answers: [] }],
    ['an answer that does not fit the document', 'says otherwise', {}],
    [
      'code that throws',
      'knows',
      {
        happened: () => {
          throw new Error('no')
        },
      },
    ],
    ['arguments that do not fit', 'knows', { arguments: () => ({ key: 7 }) }],
  ] as const)('no answer is no "no": %s', { timeout: 60_000 }, async (_, how, its) => {
    question = how
    order = 'loses'
    const { status, types } = await outcomeOf(await imported({ ...byKey, ...its }))
    expect([status, posts().length]).toEqual(['person', 1])
    expect(types).toEqual([
      'tool.dispatched',
      'tool.doubted',
      'tool.unreconciled',
      'tool.unreconciled',
      'tool.unreconciled',
      'approval.requested',
    ])
  })

  test('unknown: a person is asked at once', { timeout: 60_000 }, async () => {
    const { status, types } = await outcomeOf(await imported({ ...byKey, happened: () => 'unknown' }))
    expect([status, posts().length]).toEqual(['person', 1])
    expect(types).toEqual(['tool.dispatched', 'tool.doubted', 'approval.requested'])
  })

  test('a result of its own, from what was sent and what was read', { timeout: 60_000 }, async () => {
    const happened: Reconcile['happened'] = ({ body }, call) => ({
      happened: true,
      value: {
        ...(body as JsonObject),
        amount: `${call.businessKey ?? ''} ${(call.input['body'] as { amount: string }).amount}`,
      },
    })
    const { value } = await outcomeOf(await imported({ ...byKey, happened }))
    expect(value).toEqual({ number: 'T-1', amount: 'R-17 5.00' })
  })
})

describe('OPENAPI_UNSUPPORTED: what cannot say it', () => {
  const refused = (reconcile: Partial<Reconcile>): Promise<unknown> =>
    openApiTools(document, {
      name: 'bank',
      operations: ['transfer'],
      server: 'https://bank.example',
      auth: bearer('token'),
      effects: { transfer: { effect: 'reconcilable', reconcile: { ...byKey, ...reconcile } as Reconcile } },
    })

  test.each([
    ['an operation that is not there', { operation: 'nope' }, 'does not have'],
    ['one that does more than read', { operation: 'transfer' }, 'does more than read'],
    ['no way to judge', { happened: undefined as never }, 'needs `reconcile'],
  ])('%s', async (_, its, why) => {
    await expect(refused(its)).rejects.toMatchObject({
      code: 'OPENAPI_UNSUPPORTED',
      message: expect.stringContaining(why) as string,
    })
  })

  test('it reaches the hosts of both, and no others', async () => {
    const other = { ...document.paths['/transfers'].get, servers: [{ url: 'https://read.example' }] }
    const made = await openApiTools(
      {
        ...document,
        servers: [{ url: 'https://bank.example' }],
        paths: { '/transfers': { ...document.paths['/transfers'], get: other } },
      },
      {
        name: 'bank',
        operations: ['transfer'],
        auth: bearer('token'),
        effects: { transfer: { effect: 'reconcilable', reconcile: byKey } },
      },
    )
    expect(made.tool('transfer').network).toEqual({ hosts: ['bank.example', 'read.example'] })
  })
})
