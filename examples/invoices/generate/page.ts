import { StandardFonts, rgb } from 'pdf-lib'
import type { Color, PDFFont, PDFPage, PDFDocument } from 'pdf-lib'
import { buyer, vendors } from './catalog.ts'
import type { InboxFile, Invoice } from './catalog.ts'
import { printed, printedDate, printedIban, words } from './words.ts'
import type { Words } from './words.ts'

const left = 56
const right = 539
const ink = rgb(0.12, 0.13, 0.16)
const rule = rgb(0.7, 0.72, 0.75)

interface Sheet {
  page: PDFPage
  plain: PDFFont
  bold: PDFFont
}

/** Prints the invoice on one A4 page: everything that the XML says is also to be read there. */
export async function printInvoice(pdf: PDFDocument, file: InboxFile, invoice: Invoice): Promise<void> {
  const sheet: Sheet = {
    page: pdf.addPage([595, 842]),
    plain: await pdf.embedFont(StandardFonts.Helvetica),
    bold: await pdf.embedFont(StandardFonts.HelveticaBold),
  }
  const text = words[file.language]
  head(sheet, file, invoice, text)
  const below = table(sheet, file, invoice, text)
  totals(sheet, file, invoice, text, below)
}

function head(sheet: Sheet, file: InboxFile, invoice: Invoice, text: Words): void {
  const seller = vendors.find((vendor) => vendor.id === invoice.vendor)
  if (seller === undefined) throw new RangeError(`no such vendor in the catalog: ${invoice.vendor}`)
  put(sheet, seller.name, left, 786, { size: 14, bold: true })
  put(sheet, `${text.vatId}: ${seller.vatId}`, left, 768)
  put(sheet, seller.email, left, 755)

  if (file.language === 'en') {
    put(sheet, 'Seller', 330, 786, { bold: true })
    const address = [seller.name, seller.street, `${seller.city}, ${seller.postcode}`, seller.country]
    address.forEach((each, index) => put(sheet, each, 330, 772 - index * 12))
  } else {
    // The sender in one line above the addressee, as it shows in an envelope's window (DIN 5008).
    put(sheet, `${seller.name} · ${seller.street} · ${seller.postcode} ${seller.city}`, left, 734, { size: 7 })
  }
  put(sheet, text.buyer, left, 718, { bold: true })
  put(sheet, buyer.name, left, 704)
  put(sheet, buyer.street, left, 691)
  put(sheet, `${buyer.postcode} ${buyer.city}`, left, 678)

  const credit = invoice.type === '381'
  const rows: [string, string][] = [
    [credit ? text.creditNumber : text.number, invoice.number],
    [text.date, printedDate(invoice.date, file.language)],
    [text.order, invoice.po],
  ]
  if (invoice.precedes !== undefined) {
    rows.push([text.corrects, `${invoice.precedes.number}, ${printedDate(invoice.precedes.date, file.language)}`])
  }
  rows.push([text.due, printedDate(invoice.dueDate, file.language)])
  rows.forEach(([label, value], index) => {
    put(sheet, `${label}:`, 330, 718 - index * 14)
    put(sheet, value, right, 718 - index * 14, { end: true })
  })

  put(sheet, credit ? text.credit : text.invoice, left, 628, { size: 18, bold: true })
  if (file.make === 'copy') put(sheet, text.copy, right, 628, { size: 12, end: true })
}

/** Left edges of the first three columns, right edges of the last three. */
const columns = [left, 88, 162, 372, 452, right] as const

/** Returns where the table ends. */
function table(sheet: Sheet, file: InboxFile, invoice: Invoice, text: Words): number {
  let y = 594
  columns.forEach((x, index) => put(sheet, text.columns[index] ?? '', x, y, { bold: true, end: index > 2 }))
  line(sheet, y - 5)
  invoice.lines.forEach((item, index) => {
    y -= 18
    const amounts = [item.quantity, item.unitPrice, item.net].map((value) => printed(value, file.language))
    const cells = [String(index + 1), item.article, item.description, ...amounts]
    cells.forEach((cell, column) => put(sheet, cell, columns[column] ?? left, y, { end: column > 2 }))
  })
  line(sheet, y - 8)
  return y - 30
}

function totals(sheet: Sheet, file: InboxFile, invoice: Invoice, text: Words, below: number): void {
  const credit = invoice.type === '381'
  const amount = (value: string): string => `${printed(value, file.language)} ${invoice.currency}`
  const rows: [string, string][] = [
    [text.net, amount(invoice.net)],
    [text.tax(invoice.taxPercent), amount(invoice.tax)],
    [credit ? text.creditGrand : text.grand, amount(invoice.grand)],
    [text.payable, amount(invoice.due)],
  ]
  rows.forEach(([label, value], index) => {
    const bold = index > 1
    put(sheet, label, 330, below - index * 16, { bold })
    put(sheet, value, right, below - index * 16, { bold, end: true })
  })
  const foot = below - 100
  put(sheet, `${text.account}:`, left, foot, { bold: true })
  put(sheet, `IBAN ${printedIban(invoice.iban)}`, left, foot - 14)
  if (invoice.taxCategory !== 'S') put(sheet, text.exemption, left, foot - 42)
  if (file.remarks !== undefined) paragraph(sheet, `${text.remarks}: ${file.remarks.text}`, foot - 70, file.remarks)
}

/** Lines of at most 90 characters; white on white where they are hidden. */
function paragraph(sheet: Sheet, words: string, y: number, { hidden }: NonNullable<InboxFile['remarks']>): void {
  const lines: string[] = []
  for (const word of words.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + word.length < 90) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  const style = hidden === true ? { size: 6, color: rgb(1, 1, 1) } : { size: 9 }
  lines.forEach((each, index) => put(sheet, each, left, y - index * 1.3 * style.size, style))
}

interface Style {
  size?: number
  bold?: boolean
  /** x is where the text ends. */
  end?: boolean
  color?: Color
}

function put(sheet: Sheet, text: string, x: number, y: number, style: Style = {}): void {
  const { size = 10, bold = false, end = false, color = ink } = style
  const font = bold ? sheet.bold : sheet.plain
  const start = end ? x - font.widthOfTextAtSize(text, size) : x
  sheet.page.drawText(text, { x: start, y, size, font, color })
}

function line(sheet: Sheet, y: number): void {
  sheet.page.drawLine({ start: { x: left, y }, end: { x: right, y }, thickness: 0.6, color: rule })
}
