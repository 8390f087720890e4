import { endorser, type Endorser, type Json } from 'convoke'
import { compactIban } from '../extract/index.ts'
import { compare, isDecimal } from './decimals.ts'
import { isRefusal, type Order, type OrderPayments, type Refusal, type Vendor } from './erp-tools.ts'
import type { Finding, PaymentOrder } from './types.ts'

// Where an untrusted payment order becomes a trusted one. A model that read the invoice signed it, so every word of it may
// be the sender's. The workflow reads the books for the ids in it, and this holds it against them:
//
//   vendor, po   are entries of the books, and belong to each other        → one of a list that the firm keeps
//   iban         is the account in the vendor's master data                → nobody can name another
//   currency     is the order's                                            → nobody can name another
//   amount       is above zero and no more than the order has open         → bounded by what the firm ordered
//   invoice      letters, digits and . / _ - #, 40 at most                 → the sender's own word; it goes to the books only
//
// So whoever has taken the model over can choose which open order of a vendor is paid to that vendor, and how much of what
// is open: never whom, never more. That the goods came, at the agreed price, is Validation's to say, which is code.

/** A payment order beside what the books say about the ids in it. */
export interface Checked {
  readonly kind: 'payment' | 'credit'
  readonly order: PaymentOrder
  readonly vendor: Vendor | Refusal
  readonly po: Order | Refusal
  readonly payments: OrderPayments | Refusal
}

/** Why an order may not be paid; undefined when the books bear it out. Pure. */
export function objection({ kind, order, vendor, po, payments }: Checked): Finding | undefined {
  const no = (says: string, billed: string, booked?: string): Finding => ({
    kind: 'payment-order',
    says,
    billed,
    ...(booked === undefined ? {} : { booked }),
  })
  if (isRefusal(vendor) || vendor.id !== order.vendor)
    return no(`it is for vendor ${order.vendor}, which the books do not have`, order.vendor)
  if (isRefusal(po) || isRefusal(payments) || po.number !== order.po || payments.po !== order.po)
    return no(`it is for ${order.po}, which the books do not have`, order.po)
  if (po.vendor !== vendor.id) return no(`${po.number} was given to another vendor`, order.vendor, po.vendor)
  if (compactIban(order.iban) !== vendor.iban)
    return no(`${compactIban(order.iban)} is not the account of ${vendor.name}`, compactIban(order.iban), vendor.iban)
  if (order.currency !== po.currency) return no(`${po.number} is in ${po.currency}`, order.currency, po.currency)
  if (!/^[\p{L}\p{N}][\p{L}\p{N}./_#-]{0,39}$/u.test(order.invoice))
    return no(`${JSON.stringify(order.invoice)} is no number of an invoice`, order.invoice)
  if (!isDecimal(order.amount) || compare(order.amount, '0') <= 0)
    return no(`${order.amount} is no amount to be paid`, order.amount)
  if (kind === 'payment' && compare(order.amount, payments.open) > 0)
    // As Validation says it: which of the two sees it first depends on who pays meanwhile.
    return {
      kind: 'overdraw',
      says: `${order.amount} billed, ${payments.open} open on ${po.number}`,
      billed: order.amount,
      booked: payments.open,
    }
  if (kind === 'credit' && compare(order.amount, payments.paid) > 0)
    return no(`${order.amount} is more than the ${payments.paid} that were paid`, order.amount, payments.paid)
  return undefined
}

export const borneOut: Endorser = endorser({
  name: 'payment-order',
  version: '1',
  check: (value: Json) => objection(value as unknown as Checked)?.says ?? true,
})
