import { agreed, labelOf, type Candidate } from './text-fields.ts'
import { rightOf, type Cell, type Layout, type Line } from './layout.ts'

/** Seller, buyer and the seller's VAT number of a text layer. */
export interface Parties {
  readonly seller?: string
  readonly buyer?: string
  readonly sellerVatId?: string
}

type Role = 'seller' | 'buyer' | 'other'

const ROLES: readonly (readonly [Role, RegExp])[] = [
  [
    'seller',
    /^(?:verkäufer|rechnungssteller|rechnungsersteller|lieferant|seller|vendor|supplier|from|vendeur|fournisseur|émetteur)$/,
  ],
  [
    'buyer',
    /^(?:käufer(?:\/leistungsempfänger)?|leistungsempfänger|rechnungsempfänger|rechnungsadresse|rechnung an|buyer|bill(?:ed)? to|invoice to|sold to|customer|client|acheteur|facturé à|adresse de facturation|billing address|invoice address)$/,
  ],
  [
    'other',
    /^(?:lieferadresse|lieferanschrift|warenempfänger|abweichender .*|.*bevollmächtigter.*|zahlungsempfänger|delivery address|ship(?:ped)? to|deliver to|shipping address|adresse de livraison|livré à|payee|contact commercial|sales contact)$/,
  ],
]

function roleOf(cell: Cell): Role | undefined {
  const label = labelOf(cell.text)
  return ROLES.find(([, pattern]) => pattern.test(label))?.[0]
}

export function readParties(layout: Layout): Parties {
  const headers = layout.cells.flatMap((cell) => {
    const role = roleOf(cell)
    return role === undefined ? [] : [{ cell, role }]
  })
  const labelled = (role: Role): string | undefined =>
    agreed(headers.filter((header) => header.role === role).flatMap(({ cell }) => rank1(nameUnder(layout, cell))))
  const senders = layout.lines.flatMap((line) => senderLine(line))
  const seller =
    labelled('seller') ?? withoutForm(layout, agreed(senders.map(({ name }) => ({ value: name, rank: 1 }))))
  const buyer = labelled('buyer') ?? addressee(layout, headers, senders, seller)
  const sellerVatId = readVatId(layout, headers)
  return {
    ...(seller === undefined ? {} : { seller }),
    ...(buyer === undefined || buyer === seller ? {} : { buyer }),
    ...(sellerVatId === undefined ? {} : { sellerVatId }),
  }
}

function rank1(value: string | undefined): Candidate[] {
  return value === undefined ? [] : [{ value, rank: 1 }]
}

const NAME_FIELD = /^(?:name|firma|company|nom|société)$/
const NUMBER_FIELD = /^(?:(?:globale? )?(?:nummer|number)|gln|id|kundennummer|customer (?:no|number)|n° client)\b/
const SALUTATION = /^(?:herrn?|frau|firma|mr|mrs|ms|m|mme|an|to|à)\.?$/i

/** The name in a block under its heading: the value of its field "Name", else its first line that is not a number. */
function nameUnder(layout: Layout, header: Cell): string | undefined {
  let last = header.y
  const block = layout.cells.filter((cell) => {
    const near = cell.x0 > header.x0 - 6 && cell.x0 < header.x0 + 30
    return cell.page === header.page && cell.y < header.y - 2 && near
  })
  let first: string | undefined
  for (const cell of block) {
    if (last - cell.y > (last === header.y ? 3.2 : 2.2) * Math.max(cell.size, 9)) break
    if (roleOf(cell) !== undefined) break
    last = cell.y
    const label = labelOf(cell.text)
    if (NAME_FIELD.test(label)) return plausible(rightOf(layout, cell)[0]?.text.replace(/^:\s*/, ''))
    if (first === undefined && !NUMBER_FIELD.test(label) && !SALUTATION.test(cell.text)) first = cell.text
  }
  return plausible(first)
}

/** A name has letters and is no field of its own ("Telefon: ..."), no sentence and no address line. */
function plausible(text: string | undefined): string | undefined {
  if (text === undefined || text.length < 2 || text.length > 80) return undefined
  return /\p{L}{2}/u.test(text) && !/[:@]|https?|\.$/.test(text.replace(/(?<=\p{L})\.$/u, '')) && !POSTCODE.test(text)
    ? text
    : undefined
}

const POSTCODE = /^(?:[A-Z]{1,2}[- ])?\d{4,5} \p{L}/u

/**
 * The line of a letterhead that says who sends it, name, street and town with signs between them: `A GmbH · Weg 1 ·
 * 12345 Ort` (DIN 5008 puts it above the window).
 */
function senderLine(line: Line): { name: string; cells: Cell[] }[] {
  const runs: Cell[][] = []
  for (const cell of line.cells) {
    const run = runs.at(-1)
    const last = run?.at(-1)
    if (run !== undefined && last !== undefined && cell.x0 - last.x1 < 2.5 * cell.size) run.push(cell)
    else runs.push([cell])
  }
  return runs.flatMap((cells) => {
    const parts = cells
      .map((cell) => cell.text)
      .join(' ')
      .split(/\s*[●•·|]\s*|\s+[-–—]\s+/)
      .map((part) => part.trim().replace(/,$/, ''))
      .filter((part) => part !== '')
    const name = plausible(parts[0])
    const town = parts.slice(1).some((part) => POSTCODE.test(part))
    return parts.length >= 3 && town && name !== undefined ? [{ name, cells }] : []
  })
}

/**
 * French letterheads must name the legal form beside the company's name (Code de commerce R123-238); where the page
 * states it on its own as well ("SARL au capital de"), it is not part of the name.
 */
function withoutForm(layout: Layout, name: string | undefined): string | undefined {
  const form = / (SARL|SAS|SASU|EURL|SA|SNC|SCI)$/.exec(name ?? '')?.[1]
  if (form === undefined || !layout.lines.some((line) => line.text.includes(`${form} au capital de`))) return name
  return name?.slice(0, -form.length - 1)
}

interface Header {
  readonly cell: Cell
  readonly role: Role
}

/**
 * The buyer where nothing labels it: the address under the sender's line, or the one address of the first page that
 * neither has a heading of its own nor is the seller's.
 */
function addressee(
  layout: Layout,
  headers: readonly Header[],
  senders: readonly { cells: Cell[] }[],
  seller: string | undefined,
): string | undefined {
  if (seller === undefined) return undefined
  const names = layout.cells
    .filter(
      (cell) => cell.page === 1 && POSTCODE.test(cell.text) && !senders.some((sender) => sender.cells.includes(cell)),
    )
    .flatMap((town) => {
      const block = stack(layout, town)
      const top = block[0]
      if (top === undefined || block.length < 3) return []
      const titled = headers.some(
        ({ cell }) => Math.abs(cell.x0 - top.x0) < 30 && cell.y > top.y && cell.y - top.y < 3 * top.size,
      )
      const name = plausible(block.find((cell) => !SALUTATION.test(cell.text))?.text)
      return titled || name === undefined || name === seller || seller.startsWith(name) ? [] : [name]
    })
  return names.length === 0 ? undefined : agreed(names.map((value) => ({ value, rank: 1 })))
}

/** The left-aligned lines that end in a town, at most six, from their top; a sender's line or heading ends them. */
function stack(layout: Layout, town: Cell): Cell[] {
  const block = [town]
  for (let steps = 0; steps < 6; steps++) {
    const lowest = block[0] ?? town
    const above = layout.cells
      .filter((cell) => cell.page === town.page && Math.abs(cell.x0 - town.x0) < 3 && cell.y > lowest.y + 2)
      .sort((a, b) => a.y - b.y)[0]
    // Lines of an address stand close; in window envelopes some leave one or two lines empty.
    if (above === undefined || above.y - lowest.y > 3.5 * lowest.size || roleOf(above) !== undefined) break
    if (above.size < 0.8 * town.size || / [-–●•·|] /.test(above.text) || above.text.includes(' | ')) break
    block.unshift(above)
  }
  return block
}

// Council Directive 2006/112/EC art. 215: the country's prefix; the forms are those that the VIES service lists.
const VAT =
  /(?<![A-Z0-9])(ATU\d{8}|BE[01]\d{9}|CHE-?\d{3}\.?\d{3}\.?\d{3}|CZ\d{8,10}|DE\d{9}|DK\d{8}|ES[A-Z0-9]\d{7}[A-Z0-9]|FI\d{8}|FR[A-Z0-9]{2}\d{9}|GB\d{9}(?:\d{3})?|HU\d{8}|IE\d[A-Z0-9]\d{5}[A-Z]{1,2}|IT\d{11}|LU\d{8}|NL\d{9}B\d{2}|PL\d{10}|PT\d{9}|SE\d{12}|SK\d{10})(?![A-Z0-9])/
const VAT_LABEL = /\b(?:ust|umsatzsteuer|mwst|vat|tva)\b/i
const OF_BUYER = /\b(?:ihre|kunden?|client|customer|your|votre|käufer|buyer)\b/i

function readVatId(layout: Layout, headers: readonly Header[]): string | undefined {
  const candidates: Candidate[] = []
  for (const cell of layout.cells) {
    const value = VAT.exec(cell.text)?.[1]
    if (value === undefined) continue
    const own = VAT_LABEL.test(cell.text) ? cell.text : leftOf(layout, cell)
    if (own === undefined || !VAT_LABEL.test(own) || OF_BUYER.test(own)) continue
    const role = sectionOf(headers, cell)
    if (role === 'seller') candidates.push({ value, rank: 2 })
    else if (role === undefined) candidates.push({ value, rank: 1 })
  }
  return agreed(candidates)
}

function leftOf(layout: Layout, cell: Cell): string | undefined {
  return layout.cells
    .filter(
      (other) => other.page === cell.page && other.x1 <= cell.x0 + 1 && Math.abs(other.y - cell.y) < 0.35 * cell.size,
    )
    .sort((a, b) => b.x1 - a.x1)[0]?.text
}

/** Whose block a cell stands in: the nearest heading above it on its page that begins left of it, within reach. */
function sectionOf(headers: readonly Header[], cell: Cell): Role | undefined {
  return headers
    .filter((header) => header.cell.page === cell.page && header.cell.y > cell.y && header.cell.x0 <= cell.x0 + 6)
    .filter((header) => header.cell.y - cell.y < 200 && cell.x0 - header.cell.x0 < 250)
    .sort((a, b) => a.cell.y - b.cell.y)[0]?.role
}
