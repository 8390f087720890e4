import { z } from 'zod'

/** A decimal as a string: no exponent, no grouping, a dot before the fraction, as many digits as the source states. */
export const decimal: z.ZodString = z.string().regex(/^-?\d+(\.\d+)?$/, 'a decimal such as 1190.00')

/** A calendar date, YYYY-MM-DD. */
export const isoDate: z.ZodString = z.string().regex(/^\d{4}-\d{2}-\d{2}$/, 'a date as YYYY-MM-DD')

const line = z.strictObject({
  /** The line's own number where one is stated, else its position counted from 1. */
  id: z.string(),
  description: z.string().optional(),
  /** The seller's article number; where there is none, the buyer's, else a global one (GTIN). */
  article: z.string().optional(),
  quantity: decimal.optional(),
  /** A UN/ECE Recommendation 20 code from XML, the printed word from a text layer. */
  unit: z.string().optional(),
  /** Price of `priceBasis` units (of one, where that is absent). */
  price: decimal.optional(),
  priceBasis: decimal.optional(),
  /** Per cent off quantity × price, where the page states it beside a price before discount; XML states net prices. */
  discount: decimal.optional(),
  net: decimal.optional(),
  po: z.string().optional(),
})

const tax = z.strictObject({
  /** UNTDID 5305 code: S, E, Z, AE, K, G, O ... */
  category: z.string().optional(),
  /** Per cent. */
  rate: decimal.optional(),
  basis: decimal.optional(),
  amount: decimal.optional(),
})

const reference = z.strictObject({ number: z.string(), date: isoDate.optional() })

/**
 * An invoice as it was read. A field that could not be read is absent, never guessed; amounts are in `currency`.
 * Names of the EN 16931 terms: net BT-109, tax BT-110, grand BT-112, due BT-115, lineTotal BT-106, allowances
 * BT-107, charges BT-108, prepaid BT-113, po BT-13, iban BT-84, preceding BG-3.
 */
export const invoiceDocument = z.strictObject({
  number: z.string().optional(),
  /** UNTDID 1001 code: 380 invoice, 381 credit note, 384 corrected invoice, 326 partial invoice ... */
  type: z.string().optional(),
  date: isoDate.optional(),
  seller: z.string().optional(),
  sellerVatId: z.string().optional(),
  buyer: z.string().optional(),
  /** ISO 4217. */
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/)
    .optional(),
  lineTotal: decimal.optional(),
  allowances: decimal.optional(),
  charges: decimal.optional(),
  net: decimal.optional(),
  tax: decimal.optional(),
  grand: decimal.optional(),
  prepaid: decimal.optional(),
  due: decimal.optional(),
  po: z.string().optional(),
  /** As stated, so perhaps with spaces: compare through `compactIban`. */
  iban: z.string().optional(),
  lines: z.array(line),
  taxes: z.array(tax).optional(),
  /** Invoices that this one corrects or follows. */
  preceding: z.array(reference).optional(),
  /** What the seller wrote beside all fields (BT-22): free text, 1,000 characters at most. */
  remarks: z.string().max(1000).optional(),
})

export type InvoiceDocument = z.infer<typeof invoiceDocument>
export type InvoiceLine = InvoiceDocument['lines'][number]
export type TaxShare = NonNullable<InvoiceDocument['taxes']>[number]
export type PrecedingInvoice = NonNullable<InvoiceDocument['preceding']>[number]

/** A quotable piece of the source: an XML field as `path = value`, or one line of a page. Ids are unique in a document. */
export interface Segment {
  readonly id: string
  readonly text: string
}

/** Something in the source that is not as its format asks; the field concerned is absent. */
export interface Problem {
  readonly code: 'XML_INVALID' | 'XML_FIELD_INVALID' | 'XML_FOREIGN_ELEMENT' | 'NOT_AN_INVOICE' | 'CONTRADICTION'
  /** Path of the XML field or name of the document's field. */
  readonly at?: string
  readonly reason: string
}

export type FailureCode =
  'PDF_UNREADABLE' | 'PDF_ENCRYPTED' | 'TOO_LARGE' | 'TOO_SLOW' | 'NO_TEXT' | 'NOT_AN_INVOICE' | 'XML_INVALID'

export type Extracted =
  | {
      readonly ok: true
      readonly source: 'xml' | 'text'
      readonly document: InvoiceDocument
      /** The guideline id that the XML names. */
      readonly profile?: string
      readonly text: readonly Segment[]
      readonly problems: readonly Problem[]
    }
  | { readonly ok: false; readonly code: FailureCode; readonly reason: string }

export interface ExtractOptions {
  /** Read the text layer even where the PDF carries XML. */
  readonly ignoreAttachments?: boolean
  /** Larger files are refused with TOO_LARGE. */
  readonly maxBytes?: number
}

/** The electronic form of an IBAN (ISO 13616): no spaces, upper case. */
export function compactIban(iban: string): string {
  return iban.replace(/\s+/g, '').toUpperCase()
}
