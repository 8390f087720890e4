import { agent, answer, role, type Agent, type AgentContext, type Role } from 'convoke'
import { z } from 'zod'
import { compactIban, invoiceDocument, type InvoiceDocument } from '../extract/index.ts'
import { add, close, compare, equal, isDecimal, percentOf, times } from './decimals.ts'
import { desk, type Desk, type Seen } from './desk.ts'
import { isRefusal, type Erp, type Order } from './erp-tools.ts'
import { lookUp } from './scopes.ts'
import { validationResult, type Finding, type ValidationResult, type VendorFacts } from './types.ts'

const task = z.strictObject({ document: invoiceDocument })

export const validation: Role<{ document: InvoiceDocument }, ValidationResult> = role({
  name: 'validation',
  description: 'Checks an invoice against vendor, purchase order, receipts and earlier invoices in the ERP.',
  input: task,
  output: validationResult,
  evidence: 'optional',
  grants: lookUp('findVendors', 'getPurchaseOrder', 'getReceipts', 'getOrderPayments', 'findInvoices'),
})

/** The checks of one invoice: each finding is a claim with quotes from the books. */
class Check {
  readonly findings: Finding[] = []
  readonly desk: Desk
  readonly document: InvoiceDocument
  readonly erp: Erp

  constructor(context: AgentContext, document: InvoiceDocument, erp: Erp) {
    this.desk = desk(context)
    this.document = document
    this.erp = erp
  }

  found(finding: Finding, ...evidence: readonly { readonly ref: string; readonly quote: string }[]): void {
    this.findings.push(finding)
    if (evidence.length > 0) this.desk.claim(finding.booked ?? 'not in the books', ...evidence)
  }

  async vendor(): Promise<VendorFacts | undefined> {
    const { seller, sellerVatId } = this.document
    const by = sellerVatId !== undefined ? { vatId: sellerVatId } : seller !== undefined ? { name: seller } : undefined
    if (by === undefined) {
      this.found({ kind: 'incomplete', says: 'the invoice names no seller' })
      return undefined
    }
    const seen = await this.desk.call(this.erp.findVendors, by)
    const [first] = seen.value.items
    if (first === undefined) {
      this.found(
        { kind: 'vendor-unknown', says: `no vendor ${seller ?? sellerVatId ?? ''} in the books`, billed: seller ?? '' },
        { ref: seen.id, quote: '"items":[]' },
      )
      return undefined
    }
    const { iban } = this.document
    if (iban !== undefined && compactIban(iban) !== compactIban(first.iban))
      this.found(
        { kind: 'iban', says: 'the account is not the one on file', billed: compactIban(iban), booked: first.iban },
        { ref: seen.id, quote: seen.quote('items', 0, 'iban') },
      )
    return { id: first.id, name: first.name, iban: first.iban, contact: first.accountManager }
  }

  async earlier(vendor: VendorFacts): Promise<void> {
    const { number } = this.document
    if (number === undefined) return
    const seen = await this.desk.call(this.erp.findInvoices, { vendor: vendor.id, number })
    const [first] = seen.value.items
    // The row that this very run left before is not a duplicate; registering tells, since it is decided there once.
    if (first !== undefined && first.paid)
      this.found(
        { kind: 'duplicate', says: `invoice ${number} was seen and paid before`, billed: number, booked: number },
        { ref: seen.id, quote: seen.quote('items', 0, 'number') },
      )
  }

  sums(): void {
    const { net, tax, grand, lines, lineTotal, taxes } = this.document
    if (isDecimal(net) && isDecimal(tax) && isDecimal(grand) && !equal(add(net, tax), grand))
      this.found({
        kind: 'total',
        says: `net ${net} and tax ${tax} make ${add(net, tax)}, not ${grand}`,
        billed: grand,
        booked: add(net, tax),
      })
    for (const share of taxes ?? [])
      if (
        isDecimal(share.basis) &&
        isDecimal(share.rate) &&
        isDecimal(share.amount) &&
        !close(percentOf(share.basis, share.rate), share.amount)
      )
        this.found({
          kind: 'tax',
          says: `${share.rate} % of ${share.basis} is ${percentOf(share.basis, share.rate)}`,
          billed: share.amount,
          booked: percentOf(share.basis, share.rate),
        })
    const known = lines.flatMap((line) => (isDecimal(line.net) ? [line.net] : []))
    if (isDecimal(lineTotal) && known.length > 0 && known.length === lines.length && !close(add(...known), lineTotal))
      this.found({
        kind: 'line-sum',
        says: `the lines make ${add(...known)}, not ${lineTotal}`,
        billed: lineTotal,
        booked: add(...known),
      })
  }

  async order(vendor: VendorFacts): Promise<Seen<Order> | undefined> {
    const { po, currency } = this.document
    if (po === undefined) {
      this.found({ kind: 'po-missing', says: 'the invoice names no purchase order' })
      return undefined
    }
    // Whatever could be read as another path of the ERP is no number of an order.
    if (!/^[\p{L}\p{N}][\p{L}\p{N} ._#-]{0,63}$/u.test(po)) {
      this.found({ kind: 'po-unknown', says: `purchase order ${po.slice(0, 60)} is not in the books`, billed: po })
      return undefined
    }
    const asked = await this.desk.call(this.erp.getPurchaseOrder, { number: po })
    if (isRefusal(asked.value)) {
      this.found(
        { kind: 'po-unknown', says: `purchase order ${po} is not in the books`, billed: po },
        { ref: asked.id, quote: asked.quote('body', 'code') },
      )
      return undefined
    }
    const seen = asked as Seen<Order>
    if (seen.value.vendor !== vendor.id)
      this.found(
        {
          kind: 'vendor-mismatch',
          says: `${po} was given to another vendor`,
          billed: vendor.id,
          booked: seen.value.vendor,
        },
        { ref: seen.id, quote: seen.quote('vendor') },
      )
    if (currency !== undefined && seen.value.currency !== currency)
      this.found(
        { kind: 'currency', says: `${po} is in ${seen.value.currency}`, billed: currency, booked: seen.value.currency },
        { ref: seen.id, quote: seen.quote('currency') },
      )
    return seen
  }

  async lines(po: string, order: Seen<Order>): Promise<void> {
    const receipts = await this.desk.call(this.erp.getReceipts, { number: po })
    const all = isRefusal(receipts.value) ? [] : receipts.value.received
    for (const line of this.document.lines) {
      const index = order.value.lines.findIndex((o) => o.article === line.article || o.description === line.description)
      const ordered = order.value.lines[index]
      if (ordered === undefined) {
        this.found({ kind: 'line-unknown', says: `${line.description ?? line.id} is not on ${po}`, line: line.id })
        continue
      }
      const about = { article: ordered.article, line: line.id }
      const price =
        isDecimal(line.price) && isDecimal(line.priceBasis) && !equal(line.priceBasis, '1') ? undefined : line.price
      if (isDecimal(price) && !equal(price, ordered.unitPrice))
        this.found(
          {
            kind: 'price',
            says: `${price} billed, ${ordered.unitPrice} agreed`,
            billed: price,
            booked: ordered.unitPrice,
            ...about,
          },
          { ref: order.id, quote: order.quote('lines', index, 'unitPrice') },
        )
      const at = all.findIndex((r) => r.line === ordered.line)
      const received = all[at]?.quantity ?? '0'
      if (isDecimal(line.quantity) && compare(line.quantity, received) > 0)
        this.found(
          {
            kind: 'quantity',
            says: `${line.quantity} billed, ${received} received`,
            billed: line.quantity,
            booked: received,
            ...about,
          },
          { ref: receipts.id, quote: at < 0 ? '"received"' : receipts.quote('received', at, 'quantity') },
        )
      if (
        isDecimal(line.quantity) &&
        isDecimal(price) &&
        isDecimal(line.net) &&
        line.discount === undefined &&
        !close(times(line.quantity, price), line.net)
      )
        this.found({
          kind: 'line-sum',
          says: `${line.quantity} × ${price} is ${times(line.quantity, price)}, not ${line.net}`,
          billed: line.net,
          booked: times(line.quantity, price),
          ...about,
        })
    }
  }

  async open(po: string, amount: string): Promise<void> {
    const seen = await this.desk.call(this.erp.getOrderPayments, { number: po })
    if (isRefusal(seen.value)) return
    const { open } = seen.value
    if (isDecimal(open) && compare(amount, open) > 0)
      this.found(
        { kind: 'overdraw', says: `${amount} billed, ${open} open on ${po}`, billed: amount, booked: open },
        { ref: seen.id, quote: seen.quote('open') },
      )
  }
}

export function validationAgent(erp: Erp): Agent {
  return agent({
    role: validation,
    name: 'validation-rules',
    run: async (context, { document }) => {
      const check = new Check(context, document, erp)
      check.sums()
      const vendor = await check.vendor()
      const order = vendor === undefined ? undefined : await check.order(vendor)
      const { po, number, currency } = document
      const credit = document.type === '381'
      if (vendor !== undefined) await check.earlier(vendor)
      if (order !== undefined && po !== undefined && !credit) await check.lines(po, order)
      const amount = document.due ?? document.grand
      if (number === undefined || currency === undefined || !isDecimal(document.grand) || !isDecimal(amount))
        check.found({
          kind: 'incomplete',
          says: `the invoice states no ${number === undefined ? 'number' : currency === undefined ? 'currency' : 'total'}`,
        })
      else if (compare(amount, '0') <= 0)
        check.found({ kind: 'total', says: `nothing is due: ${amount}`, billed: amount })
      else if (order !== undefined && po !== undefined && !credit && check.findings.length === 0)
        await check.open(po, amount)
      const matches = check.findings.length === 0 && vendor !== undefined && po !== undefined
      return answer(
        {
          matches,
          findings: check.findings,
          ...(vendor === undefined ? {} : { vendor }),
          ...(po === undefined ? {} : { po }),
          ...(matches && number !== undefined && currency !== undefined && isDecimal(amount)
            ? {
                payable: {
                  order: { invoice: number, po, vendor: vendor.id, amount, currency, iban: vendor.iban },
                  kind: credit ? ('credit' as const) : ('payment' as const),
                },
              }
            : {}),
        },
        { claims: check.desk.claims },
      )
    },
  })
}
