import type { DatabaseSync } from 'node:sqlite'
import { earlierInvoices, orders, prices, vendors } from '../../generate/catalog.ts'
import { percentOf, sum, times } from '../../generate/decimal.ts'
import { toMinor, toThousandths } from './money.ts'

/** Fills empty tables with the catalog's master data and with what was seen and paid before. Same rows every time. */
export function seed(db: DatabaseSync): void {
  const insert = (sql: string, rows: readonly (readonly (string | number | null)[])[]): void => {
    const statement = db.prepare(sql)
    for (const row of rows) statement.run(...row)
  }
  const placeholders = (count: number): string => Array(count).fill('?').join(', ')
  insert(
    `INSERT INTO vendors VALUES (${placeholders(13)})`,
    vendors.map((each) => [
      each.id,
      each.name,
      each.street,
      each.postcode,
      each.city,
      each.country,
      each.vatId,
      each.iban,
      each.bic,
      each.email,
      each.accountManager.name,
      each.accountManager.email,
      each.paymentDays,
    ]),
  )
  for (const { number, vendor, date, currency, lines, receipts } of orders) {
    const net = sum(lines.map((line) => times(line.quantity, line.unitPrice)))
    // One rate for each order, so that its tax can be taken once, as on the invoices.
    const tax = percentOf(net, lines[0]?.taxPercent ?? '0')
    insert(`INSERT INTO orders VALUES (${placeholders(6)})`, [
      [number, vendor, date, currency, minor(net, currency), minor(tax, currency)],
    ])
    insert(
      `INSERT INTO order_lines VALUES (${placeholders(8)})`,
      lines.map((each) => [
        number,
        each.line,
        each.article,
        each.description,
        thousandths(each.quantity),
        minor(each.unitPrice, currency),
        each.taxPercent,
        minor(times(each.quantity, each.unitPrice), currency),
      ]),
    )
    insert(
      `INSERT INTO receipts VALUES (${placeholders(5)})`,
      receipts.map((each) => [number, each.number, each.date, each.line, thousandths(each.quantity)]),
    )
  }
  insert(
    `INSERT INTO prices VALUES (${placeholders(6)})`,
    prices.map((each) => [
      each.article,
      each.vendor,
      each.validFrom,
      minor(each.unitPrice, each.currency),
      each.currency,
      each.source,
    ]),
  )
  for (const each of earlierInvoices) {
    const amount = minor(each.grand, each.currency)
    const seen = Date.parse(`${each.date}T08:00:00Z`)
    const paid = Date.parse(`${each.dueDate}T08:00:00Z`)
    insert(`INSERT INTO invoices VALUES (${placeholders(10)})`, [
      [each.vendor, each.number, each.type, each.date, each.po, amount, each.currency, null, seen, null],
    ])
    insert(
      'INSERT INTO payments (kind, invoice, po, vendor, amount, currency, iban, key, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      [['payment', each.number, each.po, each.vendor, amount, each.currency, each.iban, `seed:${each.number}`, paid]],
    )
  }
}

function minor(decimal: string, currency: string): number {
  return must(toMinor(decimal, currency), decimal)
}

function thousandths(decimal: string): number {
  return must(toThousandths(decimal), decimal)
}

function must(value: number | undefined, source: string): number {
  if (value === undefined) throw new RangeError(`not an amount or quantity: ${source}`)
  return value
}
