/** The OpenAPI 3.1 description of the ERP, at GET /openapi.json. Paths by hand; schemas are those that check requests. */
import { z } from 'zod'
import * as wire from './wire.ts'

type Schema = Readonly<Record<string, unknown>>
export interface Operation {
  operationId: string
  summary: string
  description?: string
  parameters?: readonly Schema[]
  requestBody?: Schema
  responses: Readonly<Record<string, Schema>>
}
export interface OpenApiDocument {
  openapi: '3.1.0'
  info: Schema
  servers: readonly { url: string }[]
  paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  components: { schemas: Readonly<Record<string, Schema>> }
}

const components = {
  Vendor: wire.Vendor,
  VendorList: wire.VendorList,
  PurchaseOrder: wire.PurchaseOrder,
  PurchaseOrderList: wire.PurchaseOrderList,
  Receipts: wire.Receipts,
  OrderPayments: wire.OrderPayments,
  PriceList: wire.PriceList,
  Invoice: wire.Invoice,
  InvoiceList: wire.InvoiceList,
  Payment: wire.Payment,
  PaymentList: wire.PaymentList,
  Reversal: wire.Reversal,
  StoredReply: wire.StoredReply,
  AuditList: wire.AuditList,
  AuditSummary: wire.AuditSummary,
  Problem: wire.Problem,
  NewInvoice: wire.NewInvoice,
  NewPayment: wire.NewPayment,
  NewCredit: wire.NewCredit,
  NewReversal: wire.NewReversal,
}
type Component = keyof typeof components

const ref = (name: Component): Schema => ({ $ref: `#/components/schemas/${name}` })
const json = (name: Component, description: string): Schema => ({
  description,
  content: { 'application/json': { schema: ref(name) } },
})
const refusal = (description: string): Schema => ({
  description,
  content: { 'application/problem+json': { schema: ref('Problem') } },
})
const inPath = (name: string, description: string): Schema => ({
  name,
  in: 'path',
  required: true,
  description,
  schema: { type: 'string' },
})
const inQuery = (name: string, description: string): Schema => ({
  name,
  in: 'query',
  required: false,
  description,
  schema: { type: 'string' },
})
const runHeader: Schema = {
  name: 'X-Convoke-Run',
  in: 'header',
  required: false,
  description: 'the run on whose behalf; kept in the audit',
  schema: { type: 'string' },
}
const keyHeader: Schema = {
  name: 'Idempotency-Key',
  in: 'header',
  required: true,
  description: 'unique to this request; the same key and body again gets the same reply and no second effect',
  schema: {
    type: 'string',
    maxLength: 257,
  },
}

const busy = { 429: refusal('RATE_LIMITED'), 500: refusal('INTERNAL') }

function read(
  operationId: string,
  summary: string,
  reply: Component,
  { parameters = [], unknown }: { parameters?: readonly Schema[]; unknown?: string } = {},
): { get: Operation } {
  const missing = unknown === undefined ? {} : { 404: refusal(unknown) }
  const responses = { 200: json(reply, summary), 400: refusal('QUERY_INVALID'), ...missing, ...busy }
  return { get: { operationId, summary, parameters: [...parameters, runHeader], responses } }
}

function change(
  operationId: string,
  summary: string,
  [body, reply]: readonly [Component, Component],
  refusals: { unknown: string; conflict: string; parameters?: readonly Schema[] },
): { post: Operation } {
  const { unknown, conflict, parameters = [] } = refusals
  return {
    post: {
      operationId,
      summary,
      parameters: [...parameters, keyHeader, runHeader],
      requestBody: { required: body !== 'NewReversal', content: { 'application/json': { schema: ref(body) } } },
      responses: {
        201: json(reply, 'done, or done before with the same key (then with the header Idempotency-Replayed: true)'),
        400: refusal('BODY_INVALID, IDEMPOTENCY_KEY_MISSING, IDEMPOTENCY_KEY_INVALID'),
        404: refusal(unknown),
        409: refusal(`${conflict}, IDEMPOTENCY_KEY_IN_FLIGHT`),
        413: refusal('BODY_TOO_LARGE'),
        422: refusal('IDEMPOTENCY_KEY_REUSED'),
        ...busy,
      },
    },
  }
}

const po = inPath('number', 'purchase order number')

export const openApi: OpenApiDocument = {
  openapi: '3.1.0',
  info: {
    title: 'Nordhafen ERP',
    version: '1.0.0',
    description: 'Vendors, purchase orders, goods received, invoices seen and payments of a made-up firm.',
    license: { name: 'MIT', identifier: 'MIT' },
  },
  servers: [{ url: '/' }],
  paths: {
    '/vendors': read('findVendors', 'Vendors by name, VAT id or account', 'VendorList', {
      parameters: [
        inQuery('name', 'part of the name; case, accents and punctuation do not matter'),
        inQuery('vatId', 'VAT id or other tax number, exact'),
        inQuery('iban', 'account in the master data, exact; spaces do not matter'),
      ],
    }),
    '/vendors/{id}': read('getVendor', 'One vendor', 'Vendor', {
      parameters: [inPath('id', 'vendor id')],
      unknown: 'VENDOR_UNKNOWN',
    }),
    '/purchase-orders': read(
      'findPurchaseOrders',
      'Purchase orders of a vendor or with an article',
      'PurchaseOrderList',
      {
        parameters: [inQuery('vendor', 'vendor id'), inQuery('article', 'article number')],
      },
    ),
    '/purchase-orders/{number}': read('getPurchaseOrder', 'One purchase order with its lines', 'PurchaseOrder', {
      parameters: [po],
      unknown: 'PO_UNKNOWN',
    }),
    '/purchase-orders/{number}/receipts': read('getReceipts', 'Goods received for a purchase order', 'Receipts', {
      parameters: [po],
      unknown: 'PO_UNKNOWN',
    }),
    '/purchase-orders/{number}/payments': read(
      'getOrderPayments',
      'Payments of an order and its open amount',
      'OrderPayments',
      {
        parameters: [po],
        unknown: 'PO_UNKNOWN',
      },
    ),
    '/articles/{article}/prices': read('getPriceHistory', 'Prices of an article over time', 'PriceList', {
      parameters: [inPath('article', 'article number')],
      unknown: 'ARTICLE_UNKNOWN',
    }),
    '/invoices': {
      ...read('findInvoices', 'Invoices seen before', 'InvoiceList', {
        parameters: [inQuery('vendor', 'vendor id'), inQuery('number', 'invoice number, exact')],
      }),
      ...change('registerInvoice', 'Note that an invoice was seen', ['NewInvoice', 'Invoice'], {
        unknown: 'VENDOR_UNKNOWN',
        conflict: 'INVOICE_EXISTS (with the existing one)',
      }),
    },
    '/payments': {
      ...read('findPayments', 'Payments and credits by idempotency key, vendor, invoice or order', 'PaymentList', {
        parameters: [
          inQuery('key', 'idempotency key of the request that made it'),
          inQuery('vendor', 'vendor id'),
          inQuery('invoice', 'invoice number'),
          inQuery('po', 'purchase order number'),
        ],
      }),
      ...change('createPayment', 'Pay an invoice, if its order has that much open', ['NewPayment', 'Payment'], {
        unknown: 'VENDOR_UNKNOWN, PO_UNKNOWN',
        conflict: 'ALREADY_PAID, PO_EXCEEDED (with figures), VENDOR_MISMATCH, CURRENCY_MISMATCH, IBAN_MISMATCH',
      }),
    },
    '/payments/{id}/reversal': change(
      'reversePayment',
      'Take a payment or a credit back',
      ['NewReversal', 'Reversal'],
      {
        unknown: 'PAYMENT_UNKNOWN',
        conflict: 'ALREADY_REVERSED, CREDIT_EXCEEDED',
        parameters: [inPath('id', 'payment id')],
      },
    ),
    '/credits': change('applyCredit', 'Apply a credit note to an order that was paid', ['NewCredit', 'Payment'], {
      unknown: 'VENDOR_UNKNOWN, PO_UNKNOWN',
      conflict: 'ALREADY_PAID, CREDIT_EXCEEDED (with figures), VENDOR_MISMATCH, CURRENCY_MISMATCH',
    }),
    '/idempotency-keys/{key}': read('getStoredReply', 'What became of an idempotency key', 'StoredReply', {
      parameters: [inPath('key', 'idempotency key')],
      unknown: 'KEY_UNKNOWN: no request with it was completed',
    }),
    '/audit': read('listAudit', 'Every call the ERP received, except those to the audit itself', 'AuditList'),
    '/audit/summary': read('summarizeAudit', 'The audit in numbers', 'AuditSummary'),
  },
  components: {
    schemas: Object.fromEntries(
      Object.entries(components).map(([name, schema]): [string, Schema] => {
        const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: name.startsWith('New') ? 'input' : 'output' })
        return [name, rest]
      }),
    ),
  },
}
