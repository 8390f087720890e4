import { tool, type ToolContext } from 'convoke'
import { z } from 'zod'

// The ERP, as the squad may use it. Every call goes through the gateway: reads are repeated freely, and what changes
// the books carries the gateway's idempotency key, which the ERP honours.

const id = z.string().min(1)
const found = z.looseObject({ found: z.boolean() })
const items = z.looseObject({ items: z.array(z.looseObject({})) })

/** Why the ERP will not: an answer of the business, not a failure of the call. */
const refusal = z.looseObject({ status: z.literal('refused'), code: z.string(), detail: z.string() })
export type Refusal = z.infer<typeof refusal>

/** The ERP runs on this machine, which tools reach only where they say so; and nothing else is reached. */
const network = { hosts: ['127.0.0.1'], inside: ['loopback'] }

/** `url` is asked at each call: the ERP of a resumed store may listen elsewhere, and no address may enter a record. */
export function makeErpTools(url: () => Promise<string>) {
  async function get(context: ToolContext, path: string): Promise<Response> {
    return context.fetch(new URL(path, await url()), { headers: { 'X-Convoke-Run': context.run } })
  }

  async function getOne(context: ToolContext, path: string): Promise<unknown> {
    const response = await get(context, path)
    if (response.status === 404) return { found: false }
    if (!response.ok) return response
    return { found: true, ...((await response.json()) as object) }
  }

  async function post(
    context: ToolContext,
    path: string,
    body: unknown,
    done: (value: object) => unknown,
  ): Promise<unknown> {
    const response = await context.fetch(new URL(path, await url()), {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'Idempotency-Key': context.idempotencyKey,
        'X-Convoke-Run': context.run,
      },
      body: JSON.stringify(body),
    })
    if (response.ok) return done((await response.json()) as object)
    const problem =
      response.status === 404 || response.status === 409
        ? ((await response.clone().json()) as { code?: string; detail?: string })
        : {}
    if (problem.code === undefined || problem.code === 'IDEMPOTENCY_KEY_IN_FLIGHT') return response
    return { ...problem, status: 'refused', code: problem.code, detail: problem.detail ?? problem.code }
  }

  const seg = encodeURIComponent
  const query = (input: Readonly<Record<string, string | undefined>>): string =>
    new URLSearchParams(
      Object.entries(input).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ).toString()
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
      execute: (input, context) => get(context, `/vendors?${query(input)}`),
    }),
    getPurchaseOrder: tool({
      name: 'erp.getPurchaseOrder',
      description: 'A purchase order with its lines.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ number: id }),
      outputSchema: found,
      execute: ({ number }, context) => getOne(context, `/purchase-orders/${seg(number)}`),
    }),
    findPurchaseOrders: tool({
      name: 'erp.findPurchaseOrders',
      description: 'Purchase orders of a vendor, or with an article.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ vendor: z.string().optional(), article: z.string().optional() }),
      outputSchema: items,
      execute: (input, context) => get(context, `/purchase-orders?${query(input)}`),
    }),
    getReceipts: tool({
      name: 'erp.getReceipts',
      description: 'Goods received for a purchase order.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ number: id }),
      outputSchema: found,
      execute: ({ number }, context) => getOne(context, `/purchase-orders/${seg(number)}/receipts`),
    }),
    getOrderPayments: tool({
      name: 'erp.getOrderPayments',
      description: 'What was paid on a purchase order and what is still open.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ number: id }),
      outputSchema: found,
      execute: ({ number }, context) => getOne(context, `/purchase-orders/${seg(number)}/payments`),
    }),
    getPriceHistory: tool({
      name: 'erp.getPriceHistory',
      description: 'Prices of an article over time.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ article: id }),
      outputSchema: found,
      execute: ({ article }, context) => getOne(context, `/articles/${seg(article)}/prices`),
    }),
    findInvoices: tool({
      name: 'erp.findInvoices',
      description: 'Invoices that were seen before.',
      effect: 'read',
      network,
      inputSchema: z.strictObject({ vendor: id, number: id }),
      outputSchema: items,
      execute: (input, context) => get(context, `/invoices?${query(input)}`),
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
      execute: (input, context) => post(context, '/invoices', input, (value) => ({ ...value, status: 'registered' })),
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
        post(context, '/payments', input, (value) => ({
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
        post(context, '/credits', input, (value) => ({
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
        post(context, `/payments/${seg(payment)}/reversal`, { reason }, (value) => ({ ...value, status: 'reversed' })),
    }),
  }
}

export type Erp = ReturnType<typeof makeErpTools>
