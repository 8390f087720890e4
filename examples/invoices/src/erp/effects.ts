/**
 * The ERP's changes. Each runs inside the transaction of its request (see posts.ts): it either writes and answers with
 * an effect, or answers with a problem and has written nothing.
 */
import type { DatabaseSync } from 'node:sqlite'
import { fromMinor, toMinor } from './money.ts'
import { problem } from './problem.ts'
import { balance, compactIban, invoiceOf, orderUnknown, paymentById, standingPayment, vendorUnknown } from './reads.ts'
import type { Result } from './result.ts'
import type { NewCreditWire, NewInvoiceWire, NewPaymentWire, ReversalWire } from './wire.ts'

export interface EffectContext {
  db: DatabaseSync
  /** Milliseconds since 1970. */
  now: number
  key: string
  run: string | null
}

/** Notes that an invoice was seen. Vendor and number are its identity; a second one is told what exists. */
export function registerInvoice({ db, now, run }: EffectContext, body: NewInvoiceWire): Result {
  if (!vendorExists(db, body.vendor)) return vendorUnknown(body.vendor)
  const existing = invoiceOf(db, body.vendor, body.number)
  if (existing !== undefined) {
    return problem(409, 'INVOICE_EXISTS', `invoice ${body.number} of ${body.vendor} was seen before`, { existing })
  }
  const amount = toMinor(body.amount, body.currency) ?? 0
  db.prepare('INSERT INTO invoices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)').run(
    body.vendor,
    body.number,
    body.type,
    body.date ?? null,
    body.po ?? null,
    amount,
    body.currency,
    body.document ?? null,
    now,
    run,
  )
  const made = invoiceOf(db, body.vendor, body.number)
  return { status: 201, body: made, effect: `invoice:${body.vendor}/${body.number}` }
}

/** Pays an invoice against its order, to the account that the master data names, within what the order has open. */
export function createPayment(context: EffectContext, body: NewPaymentWire): Result {
  const { db } = context
  const refused = refuse(db, body)
  if (refused !== undefined) return refused
  const [row] = db.prepare('SELECT iban FROM vendors WHERE id = ?').all(body.vendor)
  if (row?.['iban'] !== compactIban(body.iban)) {
    return problem(409, 'IBAN_MISMATCH', `${body.vendor} has another account in the master data`, { given: body.iban })
  }
  const { total, paid } = balance(db, body.po)
  const amount = toMinor(body.amount, body.currency) ?? 0
  if (amount > total - paid) {
    const print = (minor: number): string => fromMinor(minor, body.currency)
    const figures = { po: body.po, currency: body.currency, total: print(total), paid: print(paid) }
    const detail = `${body.po} has ${print(total - paid)} ${body.currency} open, ${print(amount)} requested`
    return problem(409, 'PO_EXCEEDED', detail, { ...figures, open: print(total - paid), requested: print(amount) })
  }
  return book(context, 'payment', body, amount, compactIban(body.iban))
}

/** Applies a credit note to an order: not above what was paid there. */
export function applyCredit(context: EffectContext, body: NewCreditWire): Result {
  const { db } = context
  const refused = refuse(db, body)
  if (refused !== undefined) return refused
  const { paid, credited } = balance(db, body.po)
  const amount = toMinor(body.amount, body.currency) ?? 0
  if (amount > paid - credited) {
    const print = (minor: number): string => fromMinor(minor, body.currency)
    const detail = `${body.po} has ${print(paid)} paid and ${print(credited)} credited, ${print(amount)} requested`
    const figures = { po: body.po, currency: body.currency, paid: print(paid), credited: print(credited) }
    return problem(409, 'CREDIT_EXCEEDED', detail, { ...figures, requested: print(amount) })
  }
  return book(context, 'credit', body, amount, null)
}

/** Takes a payment or a credit back. The row stays, marked; vendor and invoice may then be booked anew. */
export function reversePayment({ db, now }: EffectContext, id: string): Result {
  const found = paymentById(db, id)
  if (found === undefined) return problem(404, 'PAYMENT_UNKNOWN', `no payment ${id}`)
  if (found.status === 'reversed') {
    return problem(409, 'ALREADY_REVERSED', `${id} was reversed at ${found.reversedAt ?? ''}`, { existing: found })
  }
  const { paid, credited } = balance(db, found.po)
  const amount = toMinor(found.amount, found.currency) ?? 0
  if (found.kind === 'payment' && credited > paid - amount) {
    return problem(409, 'CREDIT_EXCEEDED', `${found.po} would have more credited than paid; reverse the credit first`)
  }
  db.prepare('UPDATE payments SET reversed_at = ? WHERE seq = ?').run(now, Number(id.slice(4)))
  const at = new Date(now).toISOString()
  const { currency, po } = found
  const body: ReversalWire = { id: `REV-${id.slice(4)}`, payment: id, amount: found.amount, currency, po, at }
  return { status: 201, body, effect: `reversal:${id}` }
}

/** What payments and credits have in common: vendor, order, currency and invoice must be right. */
function refuse(db: DatabaseSync, body: NewCreditWire): Result | undefined {
  const { vendor, po, currency, invoice } = body
  if (!vendorExists(db, vendor)) return vendorUnknown(vendor)
  const [order] = db.prepare('SELECT vendor, currency FROM orders WHERE number = ?').all(po)
  if (order === undefined) return orderUnknown(po)
  if (order['vendor'] !== vendor) {
    return problem(409, 'VENDOR_MISMATCH', `${po} was placed with ${String(order['vendor'])}, not ${vendor}`, {
      po,
      vendor,
    })
  }
  if (order['currency'] !== currency) {
    return problem(409, 'CURRENCY_MISMATCH', `${po} is in ${String(order['currency'])}, not ${currency}`, {
      po,
      currency,
    })
  }
  const existing = standingPayment(db, vendor, invoice)
  if (existing === undefined) return undefined
  return problem(409, 'ALREADY_PAID', `${invoice} of ${vendor} was booked as ${existing.id}`, { existing })
}

function book(
  { db, now, key, run }: EffectContext,
  kind: 'payment' | 'credit',
  body: NewCreditWire,
  amount: number,
  iban: string | null,
): Result {
  db.prepare(
    'INSERT INTO payments (kind, invoice, po, vendor, amount, currency, iban, key, run, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
  ).run(kind, body.invoice, body.po, body.vendor, amount, body.currency, iban, key, run, now)
  const made = standingPayment(db, body.vendor, body.invoice)
  return { status: 201, body: made, effect: `${kind}:${made?.id ?? ''}` }
}

const vendorExists = (db: DatabaseSync, id: string): boolean =>
  db.prepare('SELECT 1 FROM vendors WHERE id = ?').get(id) !== undefined
