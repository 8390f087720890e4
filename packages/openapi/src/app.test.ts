import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { convoke, workflow, type App } from 'convoke'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { openApiTools } from './index.ts'

// One document, a real server, and a run of an app that calls it.

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

let server: Server
let url: string
let dir: string
let app: App | undefined
const seen: Seen[] = []

beforeEach(async () => {
  seen.length = 0
  dir = await mkdtemp(join(tmpdir(), 'convoke-openapi-'))
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      seen.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body })
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ number: 'PO-1', total: '12.50', lines: [] }))
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

const document = {
  openapi: '3.1.0',
  info: { title: 'ERP', version: '7' },
  servers: [{ url: '/' }],
  paths: {
    '/orders/{number}': {
      get: {
        operationId: 'getOrder',
        summary: 'One order',
        parameters: [
          { name: 'number', in: 'path', required: true, schema: { type: 'string' } },
          { name: 'expand', in: 'query', schema: { type: 'array', items: { type: 'string' } } },
        ],
        responses: {
          200: {
            description: 'it',
            content: { 'application/json': { schema: { $ref: '#/components/schemas/Order' } } },
          },
        },
      },
    },
    '/orders/{number}/payment': {
      post: {
        operationId: 'payOrder',
        parameters: [{ name: 'number', in: 'path', required: true, schema: { type: 'string' } }],
        requestBody: {
          required: true,
          content: {
            'application/json': {
              schema: { type: 'object', properties: { amount: { type: 'string' } }, required: ['amount'] },
            },
          },
        },
        responses: { 200: { description: 'paid', content: { 'application/json': { schema: true } } } },
      },
    },
  },
  components: {
    schemas: {
      Order: {
        type: 'object',
        properties: {
          number: { type: 'string' },
          total: { type: 'string' },
          lines: { type: 'array', items: { $ref: '#/components/schemas/Order' } },
        },
        required: ['number', 'total'],
      },
    },
  },
}

test('an operation of a document is called by a run, through the gateway', async () => {
  const erp = await openApiTools(document, {
    name: 'erp',
    operations: 'all',
    server: url,
    effects: { payOrder: 'keyed' },
    network: { hosts: ['127.0.0.1'], inside: ['loopback'] },
  })
  expect(erp.tools.map((tool) => [tool.name, tool.effect, tool.version])).toEqual([
    ['erp_getOrder', 'read', '7'],
    ['erp_payOrder', 'keyed', '7'],
  ])
  const get = erp.tool('getOrder')
  const pay = erp.tool('payOrder')
  const flow = workflow({ name: 'flow', input: z.string(), output: z.unknown() }, async (run, number) => {
    const order = await run.call(get, { number, expand: ['lines', 'a b'] })
    await run.call(pay, { number, body: { amount: '12.50' } })
    return order
  })
  app = convoke({ store: join(dir, 'store'), workflows: { flow } })
  const handle = await app.start(flow, 'PO 1?')
  expect(await handle.result()).toEqual({ number: 'PO-1', total: '12.50', lines: [] })
  expect(seen.map(({ method, url: path, body }) => [method, path, body])).toEqual([
    ['GET', '/orders/PO%201%3F?expand=lines&expand=a%20b', ''],
    ['POST', '/orders/PO%201%3F/payment', '{"amount":"12.50"}'],
  ])
  expect(seen[1]?.headers['idempotency-key']).toMatch(/^[0-9a-f]{48}$/)
})

test('a loopback server is out of reach unless the tool may call inside (NETWORK_DENIED)', async () => {
  const erp = await openApiTools(document, { name: 'erp', operations: ['getOrder'], server: url })
  const get = erp.tool('getOrder')
  const flow = workflow({ name: 'flow', input: z.string(), output: z.unknown() }, (run, number) =>
    run.call(get, { number }),
  )
  app = convoke({ store: join(dir, 'store'), workflows: { flow } })
  const handle = await app.start(flow, 'PO-1')
  const error = await handle.result().catch((thrown: unknown) => thrown)
  expect(JSON.stringify(error)).toContain('NETWORK_DENIED')
  expect(seen).toEqual([])
})
