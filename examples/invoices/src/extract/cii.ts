import type { InvoiceDocument, InvoiceLine, PrecedingInvoice, Problem, Segment, TaxShare } from './document.ts'
import { isRealDate } from './dates.ts'
import { scaled } from './numbers.ts'
import type { XmlElement } from './xml-tree.ts'

/**
 * Reads UN/CEFACT Cross Industry Invoices: Factur-X and ZUGFeRD 2.x in every profile and XRechnung (root
 * CrossIndustryInvoice, D16B), and ZUGFeRD 1.0 (root CrossIndustryDocument). The two differ in the names of the
 * groups, hardly in the fields; a profile only decides which fields are there.
 */
export type CiiReading =
  | {
      readonly kind: 'invoice'
      readonly profile?: string
      readonly document: InvoiceDocument
      readonly segments: readonly Segment[]
      readonly problems: readonly Problem[]
    }
  | { readonly kind: 'other'; readonly reason: string }

const CII = 'urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:'
const CII_1 = 'urn:ferd:CrossIndustryDocument:invoice:1p0'
const LIBRARY = 'urn:un:unece:uncefact:data:standard:'
const SEGMENTS = { count: 5_000, length: 1_000 } as const

interface At {
  readonly element: XmlElement
  readonly path: string
}

export function readCii(root: XmlElement): CiiReading {
  const v1 = root.ns === CII_1 && root.name === 'CrossIndustryDocument'
  if (!v1 && !(root.ns.startsWith(CII) && root.name === 'CrossIndustryInvoice')) {
    return { kind: 'other', reason: `its root is ${root.name} in ${root.ns || 'no namespace'}` }
  }
  const problems: Problem[] = []
  const known = withoutForeign(root, problems)
  const top: At = { element: known, path: '' }
  const context = one(top, v1 ? 'SpecifiedExchangedDocumentContext' : 'ExchangedDocumentContext')
  const profile = text(path(context, 'GuidelineSpecifiedDocumentContextParameter', 'ID'))
  // A guideline of the family that names another kind of document (ferd:CrossIndustryDocument:order) is no invoice.
  if (profile !== undefined && /CrossIndustryDocument:(?!invoice)/.test(profile)) {
    return { kind: 'other', reason: `its guideline is ${profile}` }
  }
  const head = one(top, v1 ? 'HeaderExchangedDocument' : 'ExchangedDocument')
  const deal = one(top, v1 ? 'SpecifiedSupplyChainTradeTransaction' : 'SupplyChainTradeTransaction')
  if (head === undefined || deal === undefined) return { kind: 'other', reason: 'it has no header or no transaction' }
  const reader = new Reader(v1, problems)
  const document = reader.document(head, deal)
  problems.push(...contradictions(document))
  return { kind: 'invoice', ...given({ profile }), document, segments: segments(known), problems }
}

/** Reads fields of one document and notes what is not as the format asks. */
class Reader {
  readonly v1: boolean
  readonly problems: Problem[]
  constructor(v1: boolean, problems: Problem[]) {
    this.v1 = v1
    this.problems = problems
  }

  document(head: At, deal: At): InvoiceDocument {
    const agreement = one(deal, this.v1 ? 'ApplicableSupplyChainTradeAgreement' : 'ApplicableHeaderTradeAgreement')
    const settlement = one(deal, this.v1 ? 'ApplicableSupplyChainTradeSettlement' : 'ApplicableHeaderTradeSettlement')
    const sums = one(settlement, `SpecifiedTradeSettlement${this.v1 ? '' : 'Header'}MonetarySummation`)
    const currency = this.matching(one(settlement, 'InvoiceCurrencyCode'), /^[A-Z]{3}$/, 'a currency code')
    const lines = many(deal, 'IncludedSupplyChainTradeLineItem').map((item, index) => this.line(item, index))
    const taxes = many(settlement, 'ApplicableTradeTax').map((tax) => this.tax(tax))
    const preceding = many(settlement, 'InvoiceReferencedDocument').flatMap((ref) => this.preceding(ref))
    return given({
      number: text(one(head, 'ID')),
      type: this.matching(one(head, 'TypeCode'), /^[0-9A-Z]{1,3}$/, 'a UNTDID 1001 code'),
      date: this.date(path(head, 'IssueDateTime', 'DateTimeString')),
      seller: text(path(agreement, 'SellerTradeParty', 'Name')),
      sellerVatId: vatId(path(agreement, 'SellerTradeParty')),
      buyer: text(path(agreement, 'BuyerTradeParty', 'Name')),
      currency,
      lineTotal: this.amount(one(sums, 'LineTotalAmount')),
      allowances: this.amount(one(sums, 'AllowanceTotalAmount')),
      charges: this.amount(one(sums, 'ChargeTotalAmount')),
      net: this.amount(one(sums, 'TaxBasisTotalAmount')),
      tax: this.amount(inCurrency(many(sums, 'TaxTotalAmount'), currency)),
      grand: this.amount(inCurrency(many(sums, 'GrandTotalAmount'), currency)),
      prepaid: this.amount(one(sums, 'TotalPrepaidAmount')),
      due: this.amount(one(sums, 'DuePayableAmount')),
      po: this.order(agreement) ?? common(lines.map((line) => line.po)),
      iban: common(
        many(settlement, 'SpecifiedTradeSettlementPaymentMeans')
          .map((means) => text(path(means, 'PayeePartyCreditorFinancialAccount', 'IBANID')))
          .filter((iban) => iban !== undefined),
      ),
      lines,
      taxes: taxes.length > 0 ? taxes : undefined,
      preceding: preceding.length > 0 ? preceding : undefined,
      remarks: remarks(many(head, 'IncludedNote').map((note) => text(one(note, 'Content')))),
    })
  }

  line(item: At, index: number): InvoiceLine {
    const agreement = one(item, this.v1 ? 'SpecifiedSupplyChainTradeAgreement' : 'SpecifiedLineTradeAgreement')
    const delivery = one(item, this.v1 ? 'SpecifiedSupplyChainTradeDelivery' : 'SpecifiedLineTradeDelivery')
    const settlement = one(item, this.v1 ? 'SpecifiedSupplyChainTradeSettlement' : 'SpecifiedLineTradeSettlement')
    const sums = one(settlement, `SpecifiedTradeSettlement${this.v1 ? '' : 'Line'}MonetarySummation`)
    const product = one(item, 'SpecifiedTradeProduct')
    const price = one(agreement, 'NetPriceProductTradePrice')
    const quantity = one(delivery, 'BilledQuantity')
    const basis = this.amount(one(price, 'BasisQuantity'))
    return given({
      id: text(path(item, 'AssociatedDocumentLineDocument', 'LineID')) ?? String(index + 1),
      description: text(one(product, 'Name')),
      article:
        text(one(product, 'SellerAssignedID')) ??
        text(one(product, 'BuyerAssignedID')) ??
        text(one(product, 'GlobalID')),
      quantity: this.amount(quantity),
      unit: quantity?.element.attrs['unitCode'],
      price: this.amount(one(price, 'ChargeAmount')),
      priceBasis: basis !== undefined && !/^1(\.0*)?$/.test(basis) ? basis : undefined,
      net: this.amount(one(sums, 'LineTotalAmount')),
      po: this.order(agreement),
    })
  }

  tax(tax: At): TaxShare {
    return given({
      category: text(one(tax, 'CategoryCode')),
      rate: this.amount(one(tax, this.v1 ? 'ApplicablePercent' : 'RateApplicablePercent')),
      basis: this.amount(one(tax, 'BasisAmount')),
      amount: this.amount(one(tax, 'CalculatedAmount')),
    })
  }

  preceding(ref: At): PrecedingInvoice[] {
    const number = text(one(ref, this.v1 ? 'ID' : 'IssuerAssignedID'))
    if (number === undefined) return []
    const date = this.date(path(ref, 'FormattedIssueDateTime', 'DateTimeString'))
    return [given({ number, date })]
  }

  order(agreement: At | undefined): string | undefined {
    return text(path(agreement, 'BuyerOrderReferencedDocument', this.v1 ? 'ID' : 'IssuerAssignedID'))
  }

  /** xs:decimal, with the forms that our own decimal has not (+5, .5, 5.) brought into it; digits stay as they are. */
  amount(at: At | undefined): string | undefined {
    const stated = text(at)
    if (at === undefined || stated === undefined) return undefined
    const parts = /^([+-]?)(\d{0,30})(?:\.(\d{0,20}))?$/.exec(stated)
    if (parts === null || (!parts[2] && !parts[3])) return this.wrong(at, 'not a decimal of at most 30 and 20 digits')
    return `${parts[1] === '-' ? '-' : ''}${parts[2] || '0'}${parts[3] ? `.${parts[3]}` : ''}`
  }

  /** UNTDID 2379 format 102, YYYYMMDD: the only one that a date of these fields may have. */
  date(at: At | undefined): string | undefined {
    const stated = text(at)
    if (at === undefined || stated === undefined) return undefined
    if (at.element.attrs['format'] !== '102')
      return this.wrong(at, `format ${at.element.attrs['format'] ?? 'missing'}, not 102`)
    const date = /^\d{8}$/.test(stated) ? `${stated.slice(0, 4)}-${stated.slice(4, 6)}-${stated.slice(6)}` : ''
    return isRealDate(date) ? date : this.wrong(at, 'not a date')
  }

  matching(at: At | undefined, pattern: RegExp, what: string): string | undefined {
    const stated = text(at)
    if (at === undefined || stated === undefined || pattern.test(stated)) return stated
    return this.wrong(at, `not ${what}`)
  }

  wrong(at: At, why: string): undefined {
    const reason = `"${at.element.text.slice(0, 60)}": ${why}`
    this.problems.push({ code: 'XML_FIELD_INVALID', at: at.path, reason })
    return undefined
  }
}

/** Notes as one text (EN 16931 BG-1). */
function remarks(notes: readonly (string | undefined)[]): string | undefined {
  const all = notes.filter((note) => note !== undefined).join('\n')
  return all === '' ? undefined : all.slice(0, 1000).toWellFormed()
}

/**
 * Sums that do not hold (EN 16931 BR-CO-10, 13, 15 and 16). What XML states stays as stated: it is the document's own
 * word, and whether to pay on it is for those who validate.
 */
function contradictions(document: InvoiceDocument): Problem[] {
  const { lineTotal, allowances, charges, net, tax, grand, prepaid, due, lines } = document
  const out: Problem[] = []
  const holds = (
    at: string,
    stated: string | undefined,
    terms: readonly (readonly [1n | -1n, string | undefined])[],
  ): void => {
    if (stated === undefined || terms.some(([, value]) => value === undefined)) return
    const sum = terms.reduce((all, [sign, value]) => all + sign * scaled(value ?? '0', 20), 0n)
    if (sum !== scaled(stated, 20))
      out.push({ code: 'CONTRADICTION', at, reason: `${stated} is not what its parts add up to` })
  }
  if (lines.length > 0) {
    const nets = lines.filter((line) => line.net !== undefined || line.quantity !== undefined)
    holds(
      'lineTotal',
      lineTotal,
      nets.map((line) => [1n, line.net] as const),
    )
  }
  holds('net', net, [
    [1n, lineTotal],
    [-1n, allowances ?? '0'],
    [1n, charges ?? '0'],
  ])
  holds('grand', grand, [
    [1n, net],
    [1n, tax],
  ])
  if (prepaid !== undefined)
    holds('due', due, [
      [1n, grand],
      [-1n, prepaid],
    ])
  return out
}

/** The VAT number (scheme VA) of a party; FC is a national tax number and not one. */
function vatId(party: At | undefined): string | undefined {
  const ids = many(party, 'SpecifiedTaxRegistration').flatMap((registration) => many(registration, 'ID'))
  return common(ids.filter((id) => id.element.attrs['schemeID'] === 'VA').map(text))
}

/** Of totals in several currencies (EN 16931 allows the tax in the accounting currency beside), the invoice's own. */
function inCurrency(totals: readonly At[], currency: string | undefined): At | undefined {
  if (totals.length < 2) return totals[0]
  const own = totals.filter((total) => total.element.attrs['currencyID'] === currency)
  return own.length === 1 ? own[0] : undefined
}

/** The one value that all of them have. */
function common(values: readonly (string | undefined)[]): string | undefined {
  return values.length > 0 && values.every((value) => value === values[0]) ? values[0] : undefined
}

function many(at: At | undefined, name: string): At[] {
  if (at === undefined) return []
  const found = at.element.children.filter((child) => child.name === name)
  return found.map((element, index) => ({
    element,
    path: `${at.path === '' ? '' : `${at.path}/`}${name}${found.length > 1 ? `[${index + 1}]` : ''}`,
  }))
}

function one(at: At | undefined, name: string): At | undefined {
  return many(at, name)[0]
}

function path(at: At | undefined, ...names: readonly string[]): At | undefined {
  return names.reduce<At | undefined>((here, name) => one(here, name), at)
}

/** White space within a value is layout of the file, so it counts as one space. */
function text(at: At | undefined): string | undefined {
  const value = at?.element.text.replace(/\s+/g, ' ')
  return value === undefined || value === '' ? undefined : value
}

function withoutForeign(element: XmlElement, problems: Problem[]): XmlElement {
  const children = element.children.filter((child) => {
    const own = child.ns.startsWith(LIBRARY) || child.ns === CII_1
    if (!own)
      problems.push({
        code: 'XML_FOREIGN_ELEMENT',
        at: child.name,
        reason: `an element of ${child.ns || 'no namespace'}`,
      })
    return own
  })
  return { ...element, children: children.map((child) => withoutForeign(child, problems)) }
}

function segments(root: XmlElement): Segment[] {
  const out: Segment[] = []
  const visit = (at: At): void => {
    if (out.length >= SEGMENTS.count) return
    const value = text(at)
    if (value !== undefined && at.element.children.length === 0) {
      const unit = at.element.attrs['unitCode'] ?? at.element.attrs['currencyID']
      const shown = value.length > SEGMENTS.length ? `${value.slice(0, SEGMENTS.length)}…` : value
      out.push({ id: `x${out.length + 1}`, text: `${at.path} = ${shown}${unit ? ` ${unit}` : ''}` })
    }
    for (const name of new Set(at.element.children.map((child) => child.name))) many(at, name).forEach(visit)
  }
  visit({ element: root, path: '' })
  return out
}

type Given<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>
}

/** Drops what is undefined, so that absent means absent. */
export function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<T>
}
