/**
 * The counterpart commits and drops the reply. What comes of it is what the effect class of the imported operation says,
 * and it is counted at the counterpart alone: what arrived, and what was done.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { convoke, decideApproval, workflow, type AnyTool, type App, type Json } from 'convoke'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { openApiTools, type OpenApiOptions } from './index.ts'

/** One request that arrived; `did`: it changed something. */
interface Arrived {
  readonly what: string
  readonly key: string | undefined
  readonly did: boolean
}

const arrived: Arrived[] = []
const payments = new Map<string, string>()
let address: string | undefined
let server: Server
let url: string
let dir: string
let app: App | undefined

beforeEach(async () => {
  arrived.length = 0
  payments.clear()
  address = undefined
  dir = await mkdtemp(join(tmpdir(), 'convoke-unknown-'))
  server = createServer((request, response) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      const what = `${request.method ?? ''} ${request.url ?? ''}`
      const key = request.headers['idempotency-key'] as string | undefined
      const first = !arrived.some((a) => a.what === what)
      const did = commit(what, key, text)
      arrived.push({ what, key, did })
      // Committed, and nobody hears of it.
      if (first && !what.startsWith('GET /payments')) request.socket.destroy()
      else response.setHeader('content-type', 'application/json').end(JSON.stringify(answerTo(what)))
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

function commit(what: string, key: string | undefined, text: string): boolean {
  if (what === 'PUT /address') {
    const before = address
    address = text
    return before !== text
  }
  if (what !== 'POST /payments' && what !== 'POST /mails') return false
  const id = what === 'POST /payments' && key !== undefined ? key : `${arrived.length}`
  if (payments.has(id)) return false
  payments.set(id, text)
  return true
}
function answerTo(what: string): Json {
  return what.startsWith('GET /payments') ? { count: payments.size } : { ok: true }
}

const ok = { 200: { description: 'it', content: { 'application/json': { schema: { type: 'object' } } } } }
const body = { required: true, content: { 'application/json': { schema: { type: 'object' } } } }
const document = {
  openapi: '3.1.0',
  info: { title: 'ERP', version: '1' },
  servers: [{ url: '/' }],
  paths: {
    '/orders': { get: { operationId: 'getOrders', responses: ok } },
    '/address': { put: { operationId: 'putAddress', requestBody: body, responses: ok } },
    '/payments': {
      post: { operationId: 'pay', requestBody: body, responses: ok },
      get: { operationId: 'countPayments', responses: ok },
    },
    '/mails': { post: { operationId: 'mail', requestBody: body, responses: ok } },
  },
}

async function imported(effects: OpenApiOptions['effects'] & object): Promise<(name: string) => AnyTool> {
  const made = await openApiTools(document, {
    name: 'erp',
    operations: 'all',
    server: url,
    effects,
    network: { inside: ['loopback'] },
  })
  return (name) => made.tool(name)
}

function open(its: AnyTool): App {
  const flow = workflow({ name: 'flow', input: z.unknown() }, (run) =>
    run.call(its, (its.effect === 'read' ? {} : { body: { amount: '5.00' } }) as never),
  )
  return (app = convoke({ store: dir, durability: 'process-crash-only', workflows: { flow }, tools: [its] }))
}

async function outcomeOf(its: AnyTool): Promise<string> {
  const opened = open(its)
  await opened.start('flow', {}, { id: 'r' })
  await opened.idle()
  const ledger = await opened.ledger()
  // A retry pauses; the run is ready again after that.
  for (let i = 0; i < 1_200; i++) {
    const row = await ledger.run({ tenant: 'local', stream: 'run/r' })
    if (row?.status === 'done' || row?.status === 'failed' || row?.parkedOn === 'person')
      return row.parkedOn ?? row.status
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('it came to no end')
}
const count = (what: string): { arrived: number; done: number; keys: number } => {
  const those = arrived.filter((a) => a.what === what)
  return {
    arrived: those.length,
    done: those.filter((a) => a.did).length,
    keys: new Set(those.map((a) => a.key)).size,
  }
}

test('read: asked again, and nothing was done', { timeout: 120_000 }, async () => {
  const its = await imported({})
  expect(its('getOrders').effect).toBe('read')
  expect(await outcomeOf(its('getOrders'))).toBe('done')
  expect(count('GET /orders')).toEqual({ arrived: 2, done: 0, keys: 1 })
})

test('idempotent: sent again, and done once', { timeout: 120_000 }, async () => {
  const its = await imported({ putAddress: 'idempotent' })
  expect(await outcomeOf(its('putAddress'))).toBe('done')
  expect(count('PUT /address')).toMatchObject({ arrived: 2, done: 1 })
})

test('keyed: sent again under the same key, and done once', { timeout: 120_000 }, async () => {
  const its = await imported({ pay: 'keyed' })
  expect(await outcomeOf(its('pay'))).toBe('done')
  expect(count('POST /payments')).toEqual({ arrived: 2, done: 1, keys: 1 })
  expect(arrived[0]!.key).toMatch(/^\S{16,}$/)
})

test('reconcilable: asked whether it happened, and not sent again', { timeout: 120_000 }, async () => {
  const its = await imported({
    pay: {
      effect: 'reconcilable',
      reconcile: {
        operation: 'countPayments',
        arguments: () => ({}),
        happened: ({ body }) => (body as { count: number }).count > 0,
      },
    },
  })
  expect(its('pay').effect).toBe('reconcilable')
  expect(await outcomeOf(its('pay'))).toBe('done')
  expect(count('POST /payments')).toMatchObject({ arrived: 1, done: 1 })
  expect(count('GET /payments').arrived).toBe(1)
})

test(
  'MAYBE_EXECUTED: unsafe, as everything that writes is unless said: never sent again by itself, whoever drives it',
  { timeout: 120_000 },
  async () => {
    const its = await imported({})
    expect(its('mail').effect).toBe('unsafe')
    expect(await outcomeOf(its('mail'))).toBe('person')
    for (let i = 0; i < 3; i++) {
      await app?.close()
      const again = open(its('mail'))
      await again.work()
      const ledger = await again.ledger()
      await ledger.post(
        { tenant: 'local', stream: 'inbox/r' },
        {
          id: `nudge${i}`,
          type: 'signal',
          at: Date.now(),
          actor: { kind: 'system', id: 'x' },
          payload: { name: 'nudge' },
        },
      )
      await again.idle()
    }
    expect(count('POST /mails')).toEqual({ arrived: 1, done: 1, keys: 1 })
    const ledger = await app!.ledger()
    const [asked] = await ledger.approvals({ tenant: 'local', status: 'pending' })
    expect(asked).toMatchObject({ kind: 'maybe-executed', run: 'r' })
    const by = { kind: 'person', id: 'ada' } as const
    await decideApproval(ledger, { tenant: 'local', id: asked!.id, decision: 'rejected', by, at: Date.now() })
    const handle = await app!.run('r')
    await expect(handle.result()).rejects.toThrow('may have taken effect')
    expect(count('POST /mails')).toEqual({ arrived: 1, done: 1, keys: 1 })
  },
)
