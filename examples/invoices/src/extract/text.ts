import type { InvoiceDocument, Problem } from './document.ts'
import { given } from './cii.ts'
import { dayOrder } from './dates.ts'
import type { Layout } from './layout.ts'
import { decimalMark } from './numbers.ts'
import { readCurrency, readHeading, readIban, readOrder, readPreceding, readRemarks } from './text-fields.ts'
import { readLines } from './text-lines.ts'
import { readParties } from './text-parties.ts'
import { readTotals } from './text-totals.ts'

export interface TextReading {
  readonly document: InvoiceDocument
  readonly problems: readonly Problem[]
}

/**
 * Reads the text layer of an invoice in English, German or French by its labels and layout. The aim is exact or
 * absent: where two readings are possible, the field stays away. Returns why, where the pages are no invoice.
 */
export function readText(layout: Layout): TextReading | string {
  const texts = layout.lines.map((line) => line.text)
  const order = dayOrder(texts)
  const heading = readHeading(layout, order)
  if (!heading.titled && heading.number === undefined) return 'its pages have no title or number of an invoice'
  const mark = decimalMark(texts)
  const totals = readTotals(layout, mark)
  const { number, type, date } = heading
  const sums = totals.values
  const printed = readLines(layout, mark, sums)
  const preceding = readPreceding(layout)
  // On a credit note the type says that money flows back (UNTDID 1001, 381), so EN 16931 states its amounts without a
  // minus. Pages that print the minus as well are brought into that form; only where all of them have it.
  const stated = [sums.net, sums.tax, sums.grand, sums.due].filter((sum) => sum !== undefined)
  const flip =
    type === '381' && stated.some((sum) => isBelowZero(sum)) && stated.every((sum) => isBelowZero(sum) || isZero(sum))
  const sign = (amount: string | undefined): string | undefined =>
    flip && amount !== undefined
      ? amount.startsWith('-')
        ? amount.slice(1)
        : isZero(amount)
          ? amount
          : `-${amount}`
      : amount
  const document: InvoiceDocument = given({
    number,
    type,
    date,
    ...readParties(layout),
    currency: readCurrency(layout),
    lineTotal: sign(sums.lineTotal),
    allowances: sums.allowances,
    charges: sums.charges,
    net: sign(sums.net),
    tax: sign(sums.tax),
    grand: sign(sums.grand),
    prepaid: sums.prepaid,
    due: sign(sums.due),
    po: readOrder(layout),
    iban: readIban(layout),
    lines: printed.map((line) => given({ ...line, net: sign(line.net) })),
    preceding: preceding === undefined ? undefined : [{ number: preceding }],
    remarks: readRemarks(layout),
  })
  const problems = totals.contradictions.map((reason): Problem => ({ code: 'CONTRADICTION', reason }))
  return { document, problems }
}

function isBelowZero(amount: string): boolean {
  return amount.startsWith('-') && !isZero(amount)
}

function isZero(amount: string): boolean {
  return /^-?0+(?:\.0+)?$/.test(amount)
}
