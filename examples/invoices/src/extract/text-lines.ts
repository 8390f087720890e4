import type { InvoiceLine } from './document.ts'
import type { Cell, Layout } from './layout.ts'
import { parseAmount, parseNumber, scaled, type DecimalMark } from './numbers.ts'
import { labelOf } from './text-fields.ts'
import { totalLabel, type TotalField } from './text-totals.ts'

type Column = 'position' | 'description' | 'quantity' | 'price' | 'net'

const HEADINGS: readonly (readonly [Column, RegExp])[] = [
  ['position', /^(?:pos|pos\.-?nr|position|nr|#|item|line|ligne)\b/],
  [
    'description',
    /^(?:beschreibung|bezeichnung|artikelbeschreibung|artikelbezeichnung|artikel|produkt|leistung|description|product|item|item description|désignation|libellé)$/,
  ],
  ['quantity', /^(?:menge|anzahl|quantity|qty|quantité|qté|amount)$/],
  [
    'price',
    /^(?:preis|preis\/|nettopreis|einzelpreis|einzel(?:\/€)?|stückpreis|price|unit price|rate|prix|prix unitaire|p\.u|pu ht|prix u\.? ht)$/,
  ],
  [
    'net',
    /^(?:nettobetrag|gesamtbetrag|betrag|entgelt|gesamt(?:preis)?(?:\/€)?|positions-|total|line total|net amount|amount|prix ht|montant(?: ht)?|total ht|price w\/o)$/,
  ],
]

type Columns = Readonly<Partial<Record<Column, Cell>>> & Readonly<Record<'quantity' | 'price' | 'net', Cell>>

/**
 * The lines of the table of an invoice. They count only as a whole: every line must come out as quantity times price
 * (less a discount that it states), and all of them as the sum that the page states. Otherwise there are none.
 */
export function readLines(
  layout: Layout,
  mark: DecimalMark | undefined,
  sums: Partial<Record<TotalField, string>>,
): InvoiceLine[] {
  const columns = findColumns(layout)
  if (columns === undefined) return []
  const rows = tableRows(layout, columns)
  const lines = rows.map((cells) => readRow(layout, cells, columns, mark))
  const read = lines.filter((line) => line !== undefined)
  if (read.length === 0 || read.length !== lines.length) return []
  const total = sums.lineTotal ?? sums.net
  const sum = read.reduce((all, line) => all + scaled(line.net, 2), 0n)
  if (total === undefined || sum !== scaled(total, 2)) return []
  const numbered =
    read.every((line) => line.id !== undefined) && new Set(read.map((line) => line.id)).size === read.length
  return read.map((line, index) => ({ ...line, id: numbered && line.id !== undefined ? line.id : String(index + 1) }))
}

/** The heading row: one that has a quantity, a price and an amount, the labels within two and a half lines. */
function findColumns(layout: Layout): Columns | undefined {
  for (const anchor of layout.cells) {
    if (!is('quantity', anchor)) continue
    const band = layout.cells.filter(
      (cell) => cell.page === anchor.page && Math.abs(cell.y - anchor.y) <= 2.6 * anchor.size,
    )
    const price = band.find((cell) => cell !== anchor && is('price', cell))
    const net = band
      .filter((cell) => cell !== anchor && cell !== price && is('net', cell))
      .sort((a, b) => b.x1 - a.x1)[0]
    if (price === undefined || net === undefined || net.x0 < price.x0) continue
    const position = band.find((cell) => is('position', cell) && cell.x1 < price.x0)
    const description = band.find((cell) => is('description', cell) && cell !== position)
    return { quantity: anchor, price, net, ...(position && { position }), ...(description && { description }) }
  }
  return undefined
}

function is(column: Column, cell: Cell): boolean {
  const label = labelOf(cell.text)
  return HEADINGS.some(([name, pattern]) => name === column && pattern.test(label))
}

/** Rows with a number under the price and something under the quantity, down to the first total. */
function tableRows(layout: Layout, columns: Columns): Cell[][] {
  const rows: Cell[][] = []
  const head = columns.quantity
  const bottom = Math.min(head.y, columns.price.y, columns.net.y)
  for (const line of layout.lines) {
    const first = line.cells[0]
    if (first === undefined || first.page < head.page || (first.page === head.page && first.y >= bottom - 2)) continue
    const stop = line.cells.some((cell) => ['net', 'lineTotal', 'grand', 'tax'].includes(totalLabel(cell.text) ?? ''))
    const price = under(line.cells, columns.price, columns)
    const quantity = under(line.cells, columns.quantity, columns)
    const repeated = is('quantity', quantity ?? first) || is('price', price ?? first)
    if (stop && !repeated && rows.length > 0) break
    const priced = price !== undefined && price !== quantity && /^-?\d[\d.,' ]*(?: ?(?:€|EUR))?$/.test(price.text)
    if (priced && quantity !== undefined && !repeated) rows.push([...line.cells])
  }
  return rows
}

/** The cell of a row in a column: the one nearest to its heading, if the heading is also the nearest to it. */
function under(cells: readonly Cell[], heading: Cell, columns: Columns): Cell | undefined {
  const own = cells
    .filter((cell) => gap(cell, heading) < 20)
    .filter((cell) =>
      Object.values(columns).every((other) => other === heading || gap(cell, heading) <= gap(cell, other)),
    )
  return own.sort((a, b) => gap(a, heading) - gap(b, heading) || centre(a, heading) - centre(b, heading))[0]
}

function gap(a: Cell, b: Cell): number {
  return Math.max(0, a.x0 - b.x1, b.x0 - a.x1)
}

function centre(a: Cell, b: Cell): number {
  return Math.abs(a.x0 + a.x1 - b.x0 - b.x1) / 2
}

interface ReadLine extends Omit<InvoiceLine, 'id' | 'net'> {
  readonly id?: string
  readonly net: string
}

function readRow(
  layout: Layout,
  cells: readonly Cell[],
  columns: Columns,
  mark: DecimalMark | undefined,
): ReadLine | undefined {
  const priceCell = under(cells, columns.price, columns)
  const quantityCell = under(cells, columns.quantity, columns)
  if (priceCell === undefined || quantityCell === undefined) return undefined
  // Some layouts set the amount of a line half a line lower than the rest.
  const level = under(cells, columns.net, columns)
  const lower = layout.cells.filter(
    (cell) => cell.page === priceCell.page && cell.y < priceCell.y && priceCell.y - cell.y <= 1.3 * priceCell.size,
  )
  const netCell = level ?? under(lower, columns.net, columns)
  const net = netCell === undefined ? undefined : parseAmount(netCell.text, mark)
  const price = parseNumber(priceCell.text.replace(/ ?(?:€|EUR)$/, ''), mark)
  const counted = /^(-?[\d.,' ]*\d)(?: ?(\p{L}.*))?$/u.exec(quantityCell.text)
  const quantity = counted === null ? undefined : parseNumber(counted[1] ?? '', mark)
  if (net === undefined || price === undefined || (quantity === undefined && /\d/.test(quantityCell.text)))
    return undefined
  const percents = cells.flatMap((cell) => /^(\d{1,2}(?:[.,]\d+)?) ?%$/.exec(cell.text)?.[1]?.replace(',', '.') ?? [])
  const fits = [undefined, ...percents].filter((percent) => comesOut(quantity ?? '1', price, net, percent))
  if (fits.length === 0) return undefined
  const discount = fits[0]
  const unit = counted?.[2]?.trim()
  const position = columns.position && under(cells, columns.position, columns)?.text
  const description = describe(layout, cells, columns, [priceCell, quantityCell])
  return {
    ...(position !== undefined && /^\d{1,5}$/.test(position) ? { id: position } : {}),
    ...(description === undefined ? {} : { description }),
    ...(quantity === undefined ? {} : { quantity }),
    ...(unit === undefined ? {} : { unit }),
    price,
    ...(discount === undefined ? {} : { discount }),
    net,
  }
}

/**
 * Whether quantity × price, less a discount, is the amount. The price may have been rounded for print, so half a unit
 * of its last digit is allowed for each of the quantity, and half a cent for the amount.
 */
function comesOut(quantity: string, price: string, net: string, discount: string | undefined): boolean {
  const places = 12
  const decimals = price.split('.')[1]?.length ?? 0
  const one = 10n ** BigInt(places)
  const abs = (value: bigint): bigint => (value < 0n ? -value : value)
  const many = abs(scaled(quantity, places))
  const share = discount === undefined ? one : one - scaled(discount, places) / 100n
  const expected = (many * abs(scaled(price, places)) * share) / one / one
  const slack = decimals < 2 ? one / 200n : one / 200n + (many * 5n) / 10n ** BigInt(decimals + 1)
  return abs(expected - abs(scaled(net, places))) <= slack
}

/** The text of the description's column and the lines that go on directly under it. */
function describe(
  layout: Layout,
  cells: readonly Cell[],
  columns: Columns,
  taken: readonly Cell[],
): string | undefined {
  const worded = cells.filter(
    (cell) => /\p{L}{2}/u.test(cell.text) && !taken.includes(cell) && cell.x1 < columns.net.x0,
  )
  const heading = columns.description
  const own = heading && worded.find((cell) => gap(cell, heading) === 0 && cell.x0 >= heading.x0 - 12)
  const first = own ?? (worded.length === 1 ? worded[0] : undefined)
  if (first === undefined || /^(?:GTIN|EAN)\b/.test(first.text)) return undefined
  const parts = [first.text]
  let last = first
  for (const cell of layout.cells) {
    if (cell.page !== first.page || Math.abs(cell.x0 - first.x0) > 2 || cell.y >= last.y) continue
    if (last.y - cell.y > 1.35 * last.size || /^(?:GTIN|EAN)\b/.test(cell.text)) break
    parts.push(cell.text)
    last = cell
  }
  return parts.join(' ').slice(0, 300)
}
