/**
 * What travels between the ERP and its clients. These schemas check requests and become the components of the OpenAPI
 * document, so that both say the same.
 */
import { z } from 'zod'
import { problemCodes } from './problem.ts'
import { toMinor } from './money.ts'

const id = z.string().min(1).max(64)
const day = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}$/)
  .describe('YYYY-MM-DD')
const time = z.string().describe('RFC 3339, UTC')
const amount = z
  .string()
  .regex(/^-?\d{1,12}(\.\d{1,4})?$/)
  .describe('decimal string')
const positive = z
  .string()
  .regex(/^\d{1,12}(\.\d{1,4})?$/)
  .describe('decimal string above zero')
const currency = z
  .string()
  .regex(/^[A-Z]{3}$/)
  .describe('ISO 4217')
const list = <Item extends z.ZodType>(item: Item): z.ZodObject<{ items: z.ZodArray<Item> }> =>
  z.object({ items: z.array(item) })

export const Vendor = z.object({
  id,
  name: z.string(),
  street: z.string(),
  postcode: z.string(),
  city: z.string(),
  country: z.string().describe('ISO 3166-1 alpha-2'),
  vatId: z.string(),
  iban: z.string().describe('the only account that payments go to'),
  bic: z.string(),
  email: z.string(),
  accountManager: z.object({ name: z.string(), email: z.string() }),
  paymentDays: z.int(),
})

export const PurchaseOrder = z.object({
  number: id,
  vendor: id,
  date: day,
  currency,
  net: amount,
  tax: amount,
  total: amount.describe('net and tax: what payments are measured against'),
  lines: z.array(
    z.object({
      line: z.int(),
      article: z.string(),
      description: z.string(),
      quantity: amount.describe('ordered'),
      unitPrice: amount.describe('agreed, net'),
      taxPercent: amount,
      net: amount,
    }),
  ),
})

export const Receipts = z.object({
  po: id,
  items: z.array(z.object({ number: id, date: day, line: z.int(), article: z.string(), quantity: amount })),
  received: z.array(z.object({ line: z.int(), article: z.string(), ordered: amount, quantity: amount })),
})

export const Price = z.object({
  article: z.string(),
  vendor: id,
  validFrom: day,
  unitPrice: amount,
  currency,
  source: z.string(),
})

export const Invoice = z.object({
  vendor: id,
  number: id,
  type: z.enum(['380', '381']).describe('380 invoice, 381 credit note'),
  date: day.optional(),
  po: id.optional(),
  amount,
  currency,
  document: z.string().max(128).optional().describe('content hash of the file that was seen first'),
  registeredAt: time,
  run: z.string().optional(),
  paid: z.boolean().describe('a payment or credit for it stands'),
})

export const Payment = z.object({
  id,
  kind: z.enum(['payment', 'credit']),
  invoice: id,
  po: id,
  vendor: id,
  amount,
  currency,
  iban: z.string().optional(),
  status: z.enum(['applied', 'reversed']),
  idempotencyKey: z.string(),
  run: z.string().optional(),
  at: time,
  reversedAt: time.optional(),
})

export const OrderPayments = z.object({
  po: id,
  currency,
  total: amount,
  paid: amount.describe('payments that stand'),
  credited: amount.describe('credit notes that stand'),
  open: amount.describe('total less paid; a credit does not raise it'),
  items: z.array(Payment),
})

export const Reversal = z.object({ id, payment: id, amount, currency, po: id, at: time })

export const StoredReply = z.object({
  key: z.string(),
  status: z.int(),
  at: time,
  effect: z.string().optional(),
  body: z.unknown(),
})

export const AuditEntry = z.object({
  seq: z.int(),
  time,
  method: z.string(),
  path: z.string().describe('with the query'),
  idempotencyKey: z.string().nullable(),
  run: z.string().nullable().describe('the header X-Convoke-Run'),
  applied: z.enum(['applied', 'repeated', 'refused', 'read']),
  status: z.int().describe('0 where the connection was dropped before a reply was made'),
  effect: z.string().nullable(),
})

export const AuditSummary = z.object({
  calls: z.int(),
  applied: z.int(),
  repeated: z.int(),
  refused: z.int(),
  read: z.int(),
  payments: z.int().describe('payments and credits that stand'),
  repeatedEffects: z.int().describe('effects that an invoice or an idempotency key got more than once; must be 0'),
})

export const Problem = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.enum(problemCodes),
})

const payable = {
  invoice: id,
  po: id,
  vendor: id,
  amount: positive,
  currency,
}
const money = (body: { amount: string; currency: string }): boolean => {
  const minor = toMinor(body.amount, body.currency)
  return minor !== undefined && minor > 0
}
const moneyError = { path: ['amount'], error: 'must be above zero, with no more digits than the currency has' }

export const NewPayment = z.strictObject({ ...payable, iban: z.string().max(42) }).refine(money, moneyError)
export const NewCredit = z.strictObject(payable).refine(money, moneyError)
export const NewInvoice = z
  .strictObject({
    vendor: id,
    number: id,
    type: z.enum(['380', '381']),
    date: day.optional(),
    po: id.optional(),
    amount,
    currency,
    document: z.string().max(128).optional(),
  })
  .refine((body) => toMinor(body.amount, body.currency) !== undefined, moneyError)
export const NewReversal = z.strictObject({ reason: z.string().max(500).optional() })

export const VendorQuery = z.strictObject({
  name: z.string().optional(),
  vatId: z.string().optional(),
  iban: z.string().optional(),
})
export const OrderQuery = z.strictObject({ vendor: z.string().optional(), article: z.string().optional() })
export const InvoiceQuery = z.strictObject({ vendor: z.string().optional(), number: z.string().optional() })
export const PaymentQuery = z.strictObject({
  key: z.string().optional(),
  vendor: z.string().optional(),
  invoice: z.string().optional(),
  po: z.string().optional(),
})
export const NoQuery = z.strictObject({})

export const VendorList = list(Vendor)
export const PurchaseOrderList = list(PurchaseOrder)
export const PriceList = list(Price)
export const InvoiceList = list(Invoice)
export const PaymentList = list(Payment)
export const AuditList = z.array(AuditEntry)

export type VendorWire = z.infer<typeof Vendor>
export type PurchaseOrderWire = z.infer<typeof PurchaseOrder>
export type ReceiptsWire = z.infer<typeof Receipts>
export type PriceWire = z.infer<typeof Price>
export type InvoiceWire = z.infer<typeof Invoice>
export type PaymentWire = z.infer<typeof Payment>
export type OrderPaymentsWire = z.infer<typeof OrderPayments>
export type ReversalWire = z.infer<typeof Reversal>
export type AuditWire = z.infer<typeof AuditEntry>
export type AuditSummaryWire = z.infer<typeof AuditSummary>
export type NewPaymentWire = z.infer<typeof NewPayment>
export type NewCreditWire = z.infer<typeof NewCredit>
export type NewInvoiceWire = z.infer<typeof NewInvoice>
