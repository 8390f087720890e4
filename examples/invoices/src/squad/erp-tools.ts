import type { OpenApiTools } from '@convoke/openapi'
import { tool, type JsonObject, type ToolContext } from 'convoke'
import { z } from 'zod'

// The ERP, as the squad may use it: operations of its OpenAPI document, in the words of the squad. Every call goes through
// the gateway: reads are repeated freely, and what changes the books carries the gateway's idempotency key, which the ERP
// honours.

const id = z.string().min(1)
const found = z.looseObject({ found: z.boolean() })
const items = z.looseObject({ items: z.array(z.looseObject({})) })

/** Why the ERP will not: an answer of the business, not a failure of the call. */
const refusal = z.looseObject({ status: z.literal('refused'), code: z.string(), detail: z.string() })
export type Refusal = z.infer<typeof refusal>

/** The ERP runs on this machine, which tools reach only where they say so; and nothing else is reached. */
const network = { hosts: ['127.0.0.1'], inside: ['loopback'] }

const changes = ['registerInvoice', 'createPayment', 'applyCredit', 'reversePayment']
const reads = [
  'findVendors',
  'getPurchaseOrder',
  'findPurchaseOrders',
  'getReceipts',
  'getOrderPayments',
  'getPriceHistory',
  'findInvoices',
]

/** A test holds the document against OpenAPI's schema, so it is not checked at every start. */
async function importErp(url: () => Promise<string>): Promise<OpenApiTools> {
  const [{ openApiTools }, { openApi }] = await Promise.all([import('@convoke/openapi'), import('../erp/openapi.ts')])
  return openApiTools(openApi as unknown as JsonObject, {
    name: 'erp',
    operations: [...reads, ...changes],
    checked: true,
    server: url,
    network,
    effects: Object.fromEntries(changes.map((operation) => [operation, 'keyed'])),
    fill: { 'X-Convoke-Run': (context) => context.run },
    answers: Object.fromEntries([...reads, ...changes].map((operation) => [operation, [404, 409]])),
  })
}

interface Problem {
  readonly code?: string
  readonly detail?: string
}

/** The ERP's own no, of which the operations' `answers` make a value. */
function refusedWith(answer: unknown): { readonly status: number; readonly body: Problem } | undefined {
  const { status, body } = answer as { readonly status?: unknown; readonly body?: Problem }
  return (status === 404 || status === 409) && body !== undefined && !(answer instanceof Response)
    ? { status, body }
    : undefined
}

/** Without the members that are undefined. */
function given(input: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined))
}

/** `url` is asked at each call: the ERP of a resumed store may listen elsewhere, and no address may enter a record. */
export function makeErpTools(url: () => Promise<string>) {
  let imported: Promise<OpenApiTools> | undefined
  const erp = (): Promise<OpenApiTools> =>
    (imported ??= importErp(url).catch((error: unknown) => {
      imported = undefined
      throw error
    }))

  async function ask(operation: string, input: JsonObject, context: ToolContext): Promise<unknown> {
    return (await erp()).tool(operation).execute?.(given(input) as never, context)
  }

  /** What is not there is an answer, and so is found. */
  async function askForOne(operation: string, input: JsonObject, context: ToolContext): Promise<unknown> {
    const answer = await ask(operation, input, context)
    if (refusedWith(answer) !== undefined) return { found: false }
    return answer instanceof Response ? answer : { found: true, ...(answer as object) }
  }

  async function change(
    operation: string,
    input: JsonObject,
    context: ToolContext,
    done: (value: object) => unknown,
  ): Promise<unknown> {
    const answer = await ask(operation, input, context)
    const refused = refusedWith(answer)
    if (refused === undefined) return answer instanceof Response ? answer : done(answer as object)
    const { status, body } = refused
    // Another try with the same key is under way: no answer of the business, and the gateway knows what to do.
    if (body.code === undefined || body.code === 'IDEMPOTENCY_KEY_IN_FLIGHT') return Response.json(body, { status })
    return { ...body, status: 'refused', code: body.code, detail: body.detail ?? body.code }
  }

  return {
    findVendors: tool({
      name: 'erp.findVendors',
      description: 'Vendors by name, VAT id or IBAN.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({
        name: z.string().optional(),
        vatId: z.string().optional(),
        iban: z.string().optional(),
      }),
      outputSchema: items,
      execute: (input, context) => ask('findVendors', input as JsonObject, context),
    }),
    getPurchaseOrder: tool({
      name: 'erp.getPurchaseOrder',
      description: 'A purchase order with its lines.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ number: id }),
      outputSchema: found,
      execute: (input, context) => askForOne('getPurchaseOrder', input, context),
    }),
    findPurchaseOrders: tool({
      name: 'erp.findPurchaseOrders',
      description: 'Purchase orders of a vendor, or with an article.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ vendor: z.string().optional(), article: z.string().optional() }),
      outputSchema: items,
      execute: (input, context) => ask('findPurchaseOrders', input as JsonObject, context),
    }),
    getReceipts: tool({
      name: 'erp.getReceipts',
      description: 'Goods received for a purchase order.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ number: id }),
      outputSchema: found,
      execute: (input, context) => askForOne('getReceipts', input, context),
    }),
    getOrderPayments: tool({
      name: 'erp.getOrderPayments',
      description: 'What was paid on a purchase order and what is still open.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ number: id }),
      outputSchema: found,
      execute: (input, context) => askForOne('getOrderPayments', input, context),
    }),
    getPriceHistory: tool({
      name: 'erp.getPriceHistory',
      description: 'Prices of an article over time.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ article: id }),
      outputSchema: found,
      execute: (input, context) => askForOne('getPriceHistory', input, context),
    }),
    findInvoices: tool({
      name: 'erp.findInvoices',
      description: 'Invoices that were seen before.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ vendor: id, number: id }),
      outputSchema: items,
      execute: (input, context) => ask('findInvoices', input, context),
    }),
    registerInvoice: tool({
      name: 'erp.registerInvoice',
      description: 'Notes that an invoice was seen; refuses a second one of the same vendor and number.',
      effect: 'keyed',
      network,
      inputSchema: z.strictObject({
        vendor: id,
        number: id,
        type: z.enum(['380', '381']),
        date: z.string().optional(),
        po: z.string().optional(),
        amount: z.string(),
        currency: z.string(),
        document: z.string(),
      }),
      outputSchema: z.union([refusal, z.looseObject({ status: z.literal('registered') })]),
      execute: (input, context) =>
        change('registerInvoice', { body: given(input as JsonObject) }, context, (value) => ({
          ...value,
          status: 'registered',
        })),
    }),
    createPayment: tool({
      name: 'erp.createPayment',
      description: 'Pays an invoice, once, as far as its purchase order is open.',
      effect: 'keyed',
      network,
      inputSchema: z.strictObject({
        invoice: id,
        po: id,
        vendor: id,
        amount: z.string(),
        currency: z.string(),
        iban: z.string(),
      }),
      outputSchema: z.union([refusal, z.looseObject({ status: z.literal('paid'), payment: z.string() })]),
      execute: (input, context) =>
        change('createPayment', { body: input }, context, (value) => ({
          ...value,
          payment: (value as { id: string }).id,
          status: 'paid',
        })),
    }),
    applyCredit: tool({
      name: 'erp.applyCredit',
      description: 'Books a credit note against its purchase order.',
      effect: 'keyed',
      network,
      inputSchema: z.strictObject({ invoice: id, po: id, vendor: id, amount: z.string(), currency: z.string() }),
      outputSchema: z.union([refusal, z.looseObject({ status: z.literal('credited'), payment: z.string() })]),
      execute: (input, context) =>
        change('applyCredit', { body: input }, context, (value) => ({
          ...value,
          payment: (value as { id: string }).id,
          status: 'credited',
        })),
    }),
    reversePayment: tool({
      name: 'erp.reversePayment',
      description: 'Takes a payment back.',
      effect: 'keyed',
      network,
      inputSchema: z.strictObject({ payment: id, reason: z.string().max(500) }),
      outputSchema: z.union([refusal, z.looseObject({ status: z.literal('reversed') })]),
      execute: ({ payment, reason }, context) =>
        change('reversePayment', { id: payment, body: { reason } }, context, (value) => ({
          ...value,
          status: 'reversed',
        })),
    }),
  }
}

export type Erp = ReturnType<typeof makeErpTools>
