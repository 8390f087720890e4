import { z } from 'zod'
import { invoiceDocument } from '../extract/index.ts'

// What the roles hand each other. Amounts, prices and quantities are strings of decimals.

/** A file of the inbox: its bytes stand in the ledger under their hash, so a run never depends on a folder. */
export const inboxFile = z.strictObject({
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  mediaType: z.literal('application/pdf'),
  ignoreAttachments: z.boolean().optional(),
})
export type InboxFile = z.infer<typeof inboxFile>

export const intakeResult = z.union([
  z.strictObject({
    readable: z.literal(true),
    source: z.enum(['xml', 'text']),
    profile: z.string().optional(),
    document: invoiceDocument,
    notes: z.array(z.string()),
  }),
  z.strictObject({ readable: z.literal(false), code: z.string(), reason: z.string() }),
])
export type IntakeResult = z.infer<typeof intakeResult>

export const findingKind = z.enum([
  'vendor-unknown',
  'po-missing',
  'po-unknown',
  'vendor-mismatch',
  'currency',
  'quantity',
  'price',
  'line-unknown',
  'line-sum',
  'tax',
  'total',
  'iban',
  'duplicate',
  'overdraw',
  'refused',
  'incomplete',
  'reference',
  'payment-order',
  'misled',
])

/** One discrepancy: what the invoice says against what the books say. */
export const finding = z.strictObject({
  kind: findingKind,
  says: z.string(),
  /** As billed, as booked. */
  billed: z.string().optional(),
  booked: z.string().optional(),
  article: z.string().optional(),
  line: z.string().optional(),
})
export type Finding = z.infer<typeof finding>

export const vendorFacts = z.strictObject({
  id: z.string(),
  name: z.string(),
  iban: z.string(),
  contact: z.strictObject({ name: z.string(), email: z.string() }),
})
export type VendorFacts = z.infer<typeof vendorFacts>

/** What is to be paid, and where to. */
export const paymentOrder = z.strictObject({
  invoice: z.string(),
  po: z.string(),
  vendor: z.string(),
  amount: z.string(),
  currency: z.string(),
  iban: z.string(),
})
export type PaymentOrder = z.infer<typeof paymentOrder>

export const validationResult = z.strictObject({
  matches: z.boolean(),
  findings: z.array(finding),
  vendor: vendorFacts.optional(),
  po: z.string().optional(),
  /** What may be paid or credited now, when it matches. */
  payable: z.strictObject({ order: paymentOrder, kind: z.enum(['payment', 'credit']) }).optional(),
})
export type ValidationResult = z.infer<typeof validationResult>

/** What a piece of research found, one sentence a fact, each to be quoted. */
export const research = z.strictObject({ topic: z.string(), facts: z.array(z.string()) })
export type Research = z.infer<typeof research>

export const caseFile = z.strictObject({
  number: z.string(),
  seller: z.string().optional(),
  po: z.string().optional(),
  grand: z.string().optional(),
  currency: z.string().optional(),
  findings: z.array(finding),
  /** What the sender wrote beside the fields. */
  remarks: z.string().optional(),
})
export type CaseFile = z.infer<typeof caseFile>

export const explanation = z.strictObject({ summary: z.string(), facts: z.array(z.string()) })
export type Explanation = z.infer<typeof explanation>

export const mailDraft = z.strictObject({
  subject: z.string(),
  body: z.string(),
  invoice: z.string(),
  po: z.string(),
})
export type MailDraft = z.infer<typeof mailDraft>

export const draftTask = z.strictObject({
  case: caseFile,
  explanation,
  recipient: z.strictObject({ name: z.string(), email: z.string() }),
  /** For asking Validation again. */
  document: invoiceDocument.optional(),
})
export type DraftTask = z.infer<typeof draftTask>

/** What Compliance judges: a draft against its case, or a payment against the documents. */
export const complianceTask = z.union([
  z.strictObject({ what: z.literal('draft'), case: caseFile, draft: mailDraft }),
  z.strictObject({ what: z.literal('payment'), document: invoiceDocument, order: paymentOrder }),
])
export type ComplianceTask = z.infer<typeof complianceTask>

/** With a payment that passes comes the order that Compliance signs: what is paid is what it signed. */
export const verdict = z.strictObject({
  ok: z.boolean(),
  problems: z.array(z.string()),
  order: paymentOrder.optional(),
})

export const squadResult = z.strictObject({
  status: z.enum(['paid', 'waiting', 'exception', 'set-aside']),
  reason: z.string(),
  source: z.enum(['xml', 'text']).optional(),
  document: invoiceDocument.optional(),
})
export type SquadResult = z.infer<typeof squadResult>
