/**
 * The ERP's HTTP surface. Owns the set of idempotency keys in flight; everything else is in the database.
 * 1. Every request leaves one audit row, except those to the audit, to the description and to the fault hook.
 * 2. Between taking a request's key and giving the key back, a second request with it is answered 409.
 */
import type { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono } from 'hono'
import type { Context } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { z } from 'zod'
import { listAudit, recordCall, summarizeAudit } from './audit.ts'
import type { Call } from './audit.ts'
import { applyCredit, createPayment, registerInvoice, reversePayment } from './effects.ts'
import type { EffectContext } from './effects.ts'
import { FaultList, misbehave, refusalOf, takesOverReply } from './faults.ts'
import type { Fault, Faults } from './faults.ts'
import { openApi } from './openapi.ts'
import { handlePost, parseIdempotencyKey } from './posts.ts'
import { problem } from './problem.ts'
import * as reads from './reads.ts'
import type { Result } from './result.ts'
import * as wire from './wire.ts'

export interface AppOptions {
  db: DatabaseSync
  /** Milliseconds since 1970. */
  now: () => number
  faults: Faults
  /** Serves POST and DELETE /__faults. */
  faultHook: boolean
  /** What the fault `crash` does. */
  crash: () => void
}

type Env = { Bindings: HttpBindings }
type Handler = (c: Context<Env>) => Promise<Response>

const bodyLimitBytes = 1_000_000

export function createApp(options: AppOptions): Hono<Env> {
  const { db, now } = options
  const app = new Hono<Env>()
  const inFlight = new Set<string>()

  const read = (path: string, query: z.ZodType<Record<string, string | undefined>>, answer: Answer): void => {
    app.get(path, (c) =>
      serve(c, options, async (call, fault) => {
        await pause(fault, 'before')
        const result = readOnce(c, call, options, query, answer)
        await pause(fault, 'after')
        return result
      }),
    )
  }
  const change = <Body>(path: string, schema: z.ZodType<Body>, effect: Effect<Body>): void => {
    const handler: Handler = (c) =>
      serve(c, options, (call, fault) => changeOnce(c, { call, fault, options, inFlight }, schema, effect))
    const onError: Handler = (c) =>
      serve(c, options, async (call) => {
        const refusal = problem(413, 'BODY_TOO_LARGE', `a body may have ${bodyLimitBytes} bytes`)
        // What is left of the body stays unread, so this connection has no use for a second request.
        return refuse(options, call, { ...refusal, headers: { Connection: 'close' } })
      })
    app.post(path, bodyLimit({ maxSize: bodyLimitBytes, onError: (c) => onError(c as Context<Env>) }), handler)
  }

  read('/vendors', wire.VendorQuery, (_, query) => reads.findVendors(db, query))
  read('/vendors/:id', wire.NoQuery, (param) => reads.getVendor(db, param('id')))
  read('/purchase-orders', wire.OrderQuery, (_, query) => reads.findOrders(db, query))
  read('/purchase-orders/:number', wire.NoQuery, (param) => reads.getOrder(db, param('number')))
  read('/purchase-orders/:number/receipts', wire.NoQuery, (param) => reads.getReceipts(db, param('number')))
  read('/purchase-orders/:number/payments', wire.NoQuery, (param) => reads.getOrderPayments(db, param('number')))
  read('/articles/:article/prices', wire.NoQuery, (param) => reads.getPrices(db, param('article')))
  read('/invoices', wire.InvoiceQuery, (_, query) => reads.findInvoices(db, query))
  read('/payments', wire.PaymentQuery, (_, query) => reads.findPayments(db, query))
  read('/idempotency-keys/:key', wire.NoQuery, (param) => reads.getReply(db, param('key')))
  change('/invoices', wire.NewInvoice, (context, body) => registerInvoice(context, body))
  change('/payments', wire.NewPayment, (context, body) => createPayment(context, body))
  change('/credits', wire.NewCredit, (context, body) => applyCredit(context, body))
  change('/payments/:id/reversal', wire.NewReversal, (context, _, param) => reversePayment(context, param('id')))

  app.get('/openapi.json', (c) => c.json(openApi))
  app.get('/audit', () => reply(listAudit(db)))
  app.get('/audit/summary', () => reply(summarizeAudit(db)))
  if (options.faultHook) {
    app.post('/__faults', async (c) => {
      const parsed = FaultList.safeParse(await c.req.json().catch(() => undefined))
      if (!parsed.success) return reply(problem(400, 'BODY_INVALID', parsed.error.message))
      options.faults.add(parsed.data)
      return c.body(null, 204)
    })
    app.delete('/__faults', (c) => {
      options.faults.clear()
      return c.body(null, 204)
    })
  }
  app.notFound((c) =>
    serve(c, options, async (call) => {
      const unknown = problem(404, 'ROUTE_UNKNOWN', `no ${call.method} ${call.path}; see /openapi.json`)
      recordCall(db, now(), call, { applied: call.method === 'GET' ? 'read' : 'refused', status: 404 })
      return unknown
    }),
  )
  return app
}

type Param = (name: string) => string
type Answer = (param: Param, query: Record<string, string | undefined>) => Result
type Effect<Body> = (context: EffectContext, body: Body, param: Param) => Result

/** Around every request: the fault that is due, errors that nobody foresaw, and the reply. */
async function serve(
  c: Context<Env>,
  options: AppOptions,
  handle: (call: Call, fault: Fault | undefined) => Promise<Result>,
): Promise<Response> {
  const { method } = c.req
  const url = new URL(c.req.url)
  const header = c.req.header('Idempotency-Key')
  const key = header === undefined ? null : (parseIdempotencyKey(header) ?? null)
  const call: Call = { method, path: `${url.pathname}${url.search}`, key, run: c.req.header('X-Convoke-Run') ?? null }
  const fault = options.faults.take(method, url.pathname)

  if (fault?.kind === 'drop' && fault.when === 'before') {
    recordCall(options.db, options.now(), call, { applied: 'refused', status: 0 })
    await misbehave(c.env.outgoing, fault)
    return RESPONSE_ALREADY_SENT
  }
  const refusal = refusalOf(fault)
  if (refusal !== undefined) return reply(refuse(options, call, refusal))
  const result = await handle(call, fault).catch((error: unknown) => {
    console.error(error)
    return refuse(options, call, problem(500, 'INTERNAL', 'the ERP failed; its log says why'))
  })
  if (fault?.kind === 'crash') options.crash()
  if (fault?.kind === 'error') return reply(problem(500, 'INTERNAL', 'the request failed'))
  if (!takesOverReply(fault)) return reply(result)
  await misbehave(c.env.outgoing, fault)
  return RESPONSE_ALREADY_SENT
}

function readOnce(
  c: Context<Env>,
  call: Call,
  { db, now }: AppOptions,
  querySchema: z.ZodType<Record<string, string | undefined>>,
  answer: Answer,
): Result {
  const query = querySchema.safeParse(c.req.query())
  const result = query.success
    ? answer(paramOf(c), query.data)
    : problem(400, 'QUERY_INVALID', query.error.issues.map((issue) => issue.message).join('; '))
  recordCall(db, now(), call, { applied: 'read', status: result.status })
  return result
}

async function changeOnce<Body>(
  c: Context<Env>,
  {
    call,
    fault,
    options,
    inFlight,
  }: { call: Call; fault: Fault | undefined; options: AppOptions; inFlight: Set<string> },
  schema: z.ZodType<Body>,
  effect: Effect<Body>,
): Promise<Result> {
  const { key } = call
  if (key === null) {
    const missing = c.req.header('Idempotency-Key') === undefined
    return refuse(
      options,
      call,
      missing
        ? problem(400, 'IDEMPOTENCY_KEY_MISSING', 'send an Idempotency-Key that is unique to this request')
        : problem(
            400,
            'IDEMPOTENCY_KEY_INVALID',
            'an Idempotency-Key is a quoted string or a token of 1 to 255 characters',
          ),
    )
  }
  if (inFlight.has(key)) {
    const busy = problem(409, 'IDEMPOTENCY_KEY_IN_FLIGHT', 'a request with this Idempotency-Key is being worked on')
    return refuse(options, call, { ...busy, headers: { 'Retry-After': '1' } })
  }
  inFlight.add(key)
  try {
    const text = await c.req.text()
    const json = parseJson(text === '' ? '{}' : text)
    if (json === undefined) return refuse(options, call, problem(400, 'BODY_INVALID', 'the body is not JSON'))
    await pause(fault, 'before')
    const beforeCommit = (): void => {
      if (fault?.kind === 'crash' && fault.when === 'before') options.crash()
    }
    const context = { db: options.db, now: options.now(), call: { ...call, key }, beforeCommit }
    const result = handlePost(context, json, schema, (inside, body) => effect(inside, body, paramOf(c)))
    await pause(fault, 'after')
    return result
  } finally {
    inFlight.delete(key)
  }
}

function refuse({ db, now }: AppOptions, call: Call, refusal: Result): Result {
  recordCall(db, now(), call, { applied: call.method === 'GET' ? 'read' : 'refused', status: refusal.status })
  return refusal
}

async function pause(fault: Fault | undefined, when: 'before' | 'after'): Promise<void> {
  if (fault?.kind === 'delay' && fault.when === when) await sleep(fault.ms)
}

const paramOf =
  (c: Context<Env>): Param =>
  (name) =>
    c.req.param(name) ?? ''

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

function reply({ status, body, problem: isProblem, headers = {} }: Result): Response {
  const type = isProblem === true ? 'application/problem+json' : 'application/json'
  return new Response(JSON.stringify(body), { status, headers: { 'Content-Type': type, ...headers } })
}
