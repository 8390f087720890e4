/** The ERP's questions. Each takes the database and answers with what the wire schemas describe, or a problem. */
import type { DatabaseSync } from 'node:sqlite'
import { fromMinor, fromThousandths } from './money.ts'
import { problem } from './problem.ts'
import type { Result } from './result.ts'
import type {
  InvoiceWire,
  OrderPaymentsWire,
  PaymentWire,
  PriceWire,
  PurchaseOrderWire,
  ReceiptsWire,
  VendorWire,
} from './wire.ts'

type Value = string | number | null
type Row = Readonly<Record<string, Value>>
type Query = Readonly<Record<string, string | undefined>>

const ok = (body: unknown): Result => ({ status: 200, body })
const text = (value: Value | undefined): string => String(value ?? '')
const iso = (at: Value | undefined): string => new Date(Number(at)).toISOString()

function rows(db: DatabaseSync, sql: string, ...values: Value[]): Row[] {
  return db.prepare(sql).all(...values) as Row[]
}

/** `column = ?` for every given filter; the columns are ours, only the values come from outside. */
function where(filters: Readonly<Record<string, string | undefined>>): { clause: string; values: string[] } {
  const given = Object.entries(filters).filter((entry): entry is [string, string] => entry[1] !== undefined)
  const clause = given.length === 0 ? '' : ` WHERE ${given.map(([column]) => `${column} = ?`).join(' AND ')}`
  return { clause, values: given.map(([, value]) => value) }
}

/** Letters and digits only, without case and accents, so that "Bréval Emballages S.A.R.L." is found. */
const nameKey = (name: string): string =>
  name
    .normalize('NFKD')
    .replace(/[^\p{L}\p{N}]/gu, '')
    .toLowerCase()

export const compactIban = (iban: string): string => iban.replace(/\s/g, '').toUpperCase()

export function findVendors(db: DatabaseSync, query: Query): Result {
  const { name, vatId, iban } = query
  const items = rows(db, 'SELECT * FROM vendors ORDER BY id')
    .map(vendor)
    .filter((each) => name === undefined || (nameKey(name) !== '' && nameKey(each.name).includes(nameKey(name))))
    .filter((each) => vatId === undefined || each.vatId === compactIban(vatId))
    .filter((each) => iban === undefined || each.iban === compactIban(iban))
  return ok({ items })
}

export function getVendor(db: DatabaseSync, id: string): Result {
  const [row] = rows(db, 'SELECT * FROM vendors WHERE id = ?', id)
  return row === undefined ? vendorUnknown(id) : ok(vendor(row))
}

export function findOrders(db: DatabaseSync, query: Query): Result {
  const { vendor, article } = query
  const items = rows(
    db,
    `SELECT * FROM orders WHERE (? IS NULL OR vendor = ?)
       AND (? IS NULL OR number IN (SELECT po FROM order_lines WHERE article = ?)) ORDER BY date, number`,
    vendor ?? null,
    vendor ?? null,
    article ?? null,
    article ?? null,
  ).map((row) => order(db, row))
  return ok({ items })
}

export function getOrder(db: DatabaseSync, number: string): Result {
  const [row] = rows(db, 'SELECT * FROM orders WHERE number = ?', number)
  return row === undefined ? orderUnknown(number) : ok(order(db, row))
}

export function getReceipts(db: DatabaseSync, po: string): Result {
  if (rows(db, 'SELECT 1 FROM orders WHERE number = ?', po).length === 0) return orderUnknown(po)
  const came = rows(
    db,
    `SELECT r.number, r.date, r.line, l.article, r.quantity FROM receipts r
       JOIN order_lines l ON l.po = r.po AND l.line = r.line WHERE r.po = ? ORDER BY r.date, r.number, r.line`,
    po,
  )
  const lines = rows(
    db,
    `SELECT l.line, l.article, l.quantity AS ordered, COALESCE(SUM(r.quantity), 0) AS quantity FROM order_lines l
       LEFT JOIN receipts r ON r.po = l.po AND r.line = l.line WHERE l.po = ? GROUP BY l.line ORDER BY l.line`,
    po,
  )
  const body: ReceiptsWire = {
    po,
    items: came.map((row) => ({
      number: text(row['number']),
      date: text(row['date']),
      line: Number(row['line']),
      article: text(row['article']),
      quantity: fromThousandths(Number(row['quantity'])),
    })),
    received: lines.map((row) => ({
      line: Number(row['line']),
      article: text(row['article']),
      ordered: fromThousandths(Number(row['ordered'])),
      quantity: fromThousandths(Number(row['quantity'])),
    })),
  }
  return ok(body)
}

export function getOrderPayments(db: DatabaseSync, po: string): Result {
  const [row] = rows(db, 'SELECT * FROM orders WHERE number = ?', po)
  if (row === undefined) return orderUnknown(po)
  const currency = text(row['currency'])
  const { total, paid, credited } = balance(db, po)
  const body: OrderPaymentsWire = {
    po,
    currency,
    total: fromMinor(total, currency),
    paid: fromMinor(paid, currency),
    credited: fromMinor(credited, currency),
    open: fromMinor(total - paid, currency),
    items: rows(db, 'SELECT * FROM payments WHERE po = ? ORDER BY seq', po).map(payment),
  }
  return ok(body)
}

export function getPrices(db: DatabaseSync, article: string): Result {
  const found = rows(db, 'SELECT * FROM prices WHERE article = ? ORDER BY vendor, valid_from', article)
  if (found.length === 0) return problem(404, 'ARTICLE_UNKNOWN', `no prices for article ${article}`)
  const items = found.map((row): PriceWire => {
    const currency = text(row['currency'])
    return {
      article,
      vendor: text(row['vendor']),
      validFrom: text(row['valid_from']),
      unitPrice: fromMinor(Number(row['unit_price']), currency),
      currency,
      source: text(row['source']),
    }
  })
  return ok({ items })
}

export function findInvoices(db: DatabaseSync, query: Query): Result {
  const { clause, values } = where({ vendor: query['vendor'], number: query['number'] })
  const found = rows(
    db,
    `SELECT *, ${paidColumn} FROM invoices${clause} ORDER BY registered_at, vendor, number`,
    ...values,
  )
  return ok({ items: found.map(invoice) })
}

export function findPayments(db: DatabaseSync, query: Query): Result {
  const { key, vendor, invoice, po } = query
  const { clause, values } = where({ key, vendor, invoice, po })
  return ok({ items: rows(db, `SELECT * FROM payments${clause} ORDER BY seq`, ...values).map(payment) })
}

/** What became of an idempotency key: for a caller that never saw the reply. */
export function getReply(db: DatabaseSync, key: string): Result {
  const [row] = rows(db, 'SELECT * FROM replies WHERE key = ?', key)
  if (row === undefined) return problem(404, 'KEY_UNKNOWN', 'no request with this idempotency key was completed')
  const effect = row['effect'] === null ? {} : { effect: text(row['effect']) }
  const { status, at, body } = row
  return ok({ key, status: Number(status), at: iso(at), ...effect, body: JSON.parse(text(body)) as unknown })
}

/** Sums of what stands, in minor units of the order's currency. */
export function balance(db: DatabaseSync, po: string): { total: number; paid: number; credited: number } {
  const [row] = rows(
    db,
    `SELECT net + tax AS total,
       (SELECT COALESCE(SUM(amount), 0) FROM payments WHERE po = number AND kind = 'payment' AND reversed_at IS NULL) AS paid,
       (SELECT COALESCE(SUM(amount), 0) FROM payments WHERE po = number AND kind = 'credit' AND reversed_at IS NULL) AS credited
       FROM orders WHERE number = ?`,
    po,
  )
  return {
    total: Number(row?.['total'] ?? 0),
    paid: Number(row?.['paid'] ?? 0),
    credited: Number(row?.['credited'] ?? 0),
  }
}

export function standingPayment(db: DatabaseSync, vendorId: string, number: string): PaymentWire | undefined {
  const sql = 'SELECT * FROM payments WHERE vendor = ? AND invoice = ? AND reversed_at IS NULL'
  const [row] = rows(db, sql, vendorId, number)
  return row === undefined ? undefined : payment(row)
}

export function paymentById(db: DatabaseSync, id: string): PaymentWire | undefined {
  const seq = /^PAY-(\d{4,15})$/.exec(id)?.[1]
  const [row] = seq === undefined ? [] : rows(db, 'SELECT * FROM payments WHERE seq = ?', Number(seq))
  return row === undefined ? undefined : payment(row)
}

export function invoiceOf(db: DatabaseSync, vendorId: string, number: string): InvoiceWire | undefined {
  const [row] = rows(db, `SELECT *, ${paidColumn} FROM invoices WHERE vendor = ? AND number = ?`, vendorId, number)
  return row === undefined ? undefined : invoice(row)
}

export const vendorUnknown = (id: string): Result => problem(404, 'VENDOR_UNKNOWN', `no vendor ${id}`, { vendor: id })
export const orderUnknown = (po: string): Result => problem(404, 'PO_UNKNOWN', `no purchase order ${po}`, { po })

const paidColumn = `EXISTS (SELECT 1 FROM payments p WHERE p.vendor = invoices.vendor AND p.invoice = invoices.number
  AND p.reversed_at IS NULL) AS paid`

const paymentId = (seq: number): string => `PAY-${String(seq).padStart(4, '0')}`

function vendor(row: Row): VendorWire {
  const get = (column: string): string => text(row[column])
  return {
    id: get('id'),
    name: get('name'),
    street: get('street'),
    postcode: get('postcode'),
    city: get('city'),
    country: get('country'),
    vatId: get('vat_id'),
    iban: get('iban'),
    bic: get('bic'),
    email: get('email'),
    accountManager: { name: get('manager_name'), email: get('manager_email') },
    paymentDays: Number(row['payment_days']),
  }
}

function order(db: DatabaseSync, row: Row): PurchaseOrderWire {
  const [number, currency] = [text(row['number']), text(row['currency'])]
  const [net, tax] = [Number(row['net']), Number(row['tax'])]
  return {
    number,
    vendor: text(row['vendor']),
    date: text(row['date']),
    currency,
    net: fromMinor(net, currency),
    tax: fromMinor(tax, currency),
    total: fromMinor(net + tax, currency),
    lines: rows(db, 'SELECT * FROM order_lines WHERE po = ? ORDER BY line', number).map((line) => ({
      line: Number(line['line']),
      article: text(line['article']),
      description: text(line['description']),
      quantity: fromThousandths(Number(line['quantity'])),
      unitPrice: fromMinor(Number(line['unit_price']), currency),
      taxPercent: text(line['tax_percent']),
      net: fromMinor(Number(line['net']), currency),
    })),
  }
}

function payment(row: Row): PaymentWire {
  const get = (column: string): string => text(row[column])
  const currency = get('currency')
  return {
    id: paymentId(Number(row['seq'])),
    kind: row['kind'] === 'credit' ? 'credit' : 'payment',
    invoice: get('invoice'),
    po: get('po'),
    vendor: get('vendor'),
    amount: fromMinor(Number(row['amount']), currency),
    currency,
    ...(row['iban'] === null ? {} : { iban: get('iban') }),
    status: row['reversed_at'] === null ? 'applied' : 'reversed',
    idempotencyKey: get('key'),
    ...(row['run'] === null ? {} : { run: get('run') }),
    at: iso(row['at']),
    ...(row['reversed_at'] === null ? {} : { reversedAt: iso(row['reversed_at']) }),
  }
}

function invoice(row: Row): InvoiceWire {
  const get = (column: string): string => text(row[column])
  const optional = (column: string): Record<string, string> => (row[column] === null ? {} : { [column]: get(column) })
  const currency = get('currency')
  return {
    vendor: get('vendor'),
    number: get('number'),
    type: row['type'] === '381' ? '381' : '380',
    ...optional('date'),
    ...optional('po'),
    amount: fromMinor(Number(row['amount']), currency),
    currency,
    ...optional('document'),
    registeredAt: iso(row['registered_at']),
    ...optional('run'),
    paid: row['paid'] === 1,
  }
}
