import { readFile } from 'node:fs/promises'
import { openApiTools, type Declared } from '@convoke/openapi'
import type { AnyTool, JsonObject, Tool } from 'convoke'
import type { Protections } from './protections.ts'

// The ERP, as the squad may use it: operations of its OpenAPI document, with the document's own schemas. What the document
// cannot say is said here: which operations honour an idempotency key, which refusals are answers, how far their answers
// are trusted, and what may go into those that move money. Every call goes through the gateway.

const document = new URL('../../erp.openapi.json', import.meta.url)

/** The ERP runs on this machine, which tools reach only where they say so; and nothing else is reached. */
const network = { hosts: ['127.0.0.1'], inside: ['loopback'] }

/** Master data that the firm's own people keep: trusted, and nobody's business outside. */
const books = ['findVendors', 'getVendor', 'getPurchaseOrder', 'findPurchaseOrders', 'getReceipts', 'getPriceHistory']
/** Holds what suppliers wrote, such as the numbers of their invoices. */
const seen = ['getOrderPayments', 'findInvoices']
const changes = ['registerInvoice', 'createPayment', 'applyCredit', 'reversePayment']
const operations = [...books, ...seen, ...changes]

const confidentiality = ['supplier-data']

function declared({ labels }: Protections): Readonly<Record<string, Declared>> {
  if (!labels) return {}
  // Nothing that rests on what a stranger wrote moves money, whoever agrees: first it has to be endorsed.
  const money = { categories: ['financial-commitment'], accepts: { integrity: 'trusted', otherwise: 'deny' } } as const
  const inHouse = { external: false, labels: { confidentiality } }
  return {
    ...Object.fromEntries(books.map((operation) => [operation, { labels: { integrity: 'trusted', confidentiality } }])),
    ...Object.fromEntries(seen.map((operation) => [operation, { labels: { confidentiality } }])),
    createPayment: { ...money, labels: { confidentiality } },
    applyCredit: { ...money, labels: { confidentiality } },
    // Notes in the firm's own books, and the way back: neither tells anybody outside anything.
    registerInvoice: inHouse,
    reversePayment: inHouse,
  }
}

/** What the ERP says instead when it will not: an answer of the business, not a failure of the call. */
export interface Refusal {
  readonly status: 404 | 409
  readonly body: { readonly code: string; readonly detail: string; readonly open?: string }
}

export function isRefusal(answer: unknown): answer is Refusal {
  const status = (answer as { readonly status?: unknown } | null)?.status
  return status === 404 || status === 409
}

export interface Vendor {
  readonly id: string
  readonly name: string
  readonly iban: string
  readonly accountManager: { readonly name: string; readonly email: string }
}
export interface OrderLine {
  readonly line: number
  readonly article: string
  readonly description: string
  readonly quantity: string
  readonly unitPrice: string
}
export interface Order {
  readonly number: string
  readonly vendor: string
  readonly date: string
  readonly currency: string
  readonly total: string
  readonly lines: readonly OrderLine[]
}
export interface Receipts {
  readonly items: readonly { readonly number: string; readonly date: string; readonly quantity: string }[]
  readonly received: readonly { readonly line: number; readonly quantity: string }[]
}
export interface OrderPayments {
  readonly po: string
  readonly paid: string
  readonly credited: string
  readonly open: string
}
export interface Payment {
  readonly id: string
  readonly kind: 'payment' | 'credit'
  readonly status: 'applied' | 'reversed'
}
interface List<T> {
  readonly items: readonly T[]
}
type One = { readonly number: string }

/** The imported tools by operation. Their types say what the squad reads of it; their schemas, the document's, are held. */
export interface Erp {
  readonly findVendors: Tool<{ readonly name?: string; readonly vatId?: string; readonly iban?: string }, List<Vendor>>
  readonly getVendor: Tool<{ readonly id: string }, Vendor | Refusal>
  readonly getPurchaseOrder: Tool<One, Order | Refusal>
  readonly findPurchaseOrders: Tool<{ readonly vendor?: string; readonly article?: string }, List<Order>>
  readonly getReceipts: Tool<One, Receipts | Refusal>
  readonly getOrderPayments: Tool<One, OrderPayments | Refusal>
  readonly getPriceHistory: Tool<
    { readonly article: string },
    List<{ readonly unitPrice: string; readonly validFrom: string; readonly source: string }> | Refusal
  >
  readonly findInvoices: Tool<
    { readonly vendor?: string; readonly number?: string },
    List<{ readonly number: string; readonly paid: boolean }>
  >
  readonly registerInvoice: Tool<{ readonly body: JsonObject }, JsonObject | Refusal>
  readonly createPayment: Tool<{ readonly body: JsonObject }, Payment | Refusal>
  readonly applyCredit: Tool<{ readonly body: JsonObject }, Payment | Refusal>
  readonly reversePayment: Tool<
    { readonly id: string; readonly body: { readonly reason: string } },
    JsonObject | Refusal
  >
}

/**
 * Imports the ERP. `url` is asked at each call: the ERP of a resumed store may listen elsewhere, and no address may enter
 * a record. A test holds the document against OpenAPI's schema, so that is not done at every start.
 */
export async function importErp(url: () => Promise<string>, protections: Protections): Promise<Erp> {
  const erp = await openApiTools(await readFile(document, 'utf8'), {
    name: 'erp',
    names: Object.fromEntries(operations.map((operation) => [operation, `erp.${operation}`])),
    operations,
    checked: true,
    server: url,
    network,
    effects: Object.fromEntries(changes.map((operation) => [operation, 'keyed'])),
    declare: declared(protections),
    fill: { 'X-Convoke-Run': (context) => context.run },
    answers: Object.fromEntries(
      operations.filter((o) => !o.startsWith('find')).map((operation) => [operation, [404, 409]]),
    ),
  })
  return Object.fromEntries(operations.map((operation) => [operation, erp.tool(operation)])) as unknown as Erp
}

export function toolsOf(erp: Erp): readonly AnyTool[] {
  return Object.values(erp) as AnyTool[]
}
