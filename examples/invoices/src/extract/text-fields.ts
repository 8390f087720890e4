import { DATE, parseDate, type DayOrder } from './dates.ts'
import { below, rightOf, type Cell, type Layout } from './layout.ts'

/**
 * Rules for the single fields of a text layer: a label (whole cell, or the start of one) and the value beside it.
 * Each rule yields candidates; a field is known where the strongest candidates agree, and absent otherwise.
 */
export interface Candidate {
  readonly value: string
  /** Larger is stronger: a form field outranks a mention in a sentence. */
  readonly rank: number
}

/** The value of the strongest candidates, if they agree. */
export function agreed(candidates: readonly Candidate[]): string | undefined {
  const top = Math.max(...candidates.map((candidate) => candidate.rank))
  const values = new Set(candidates.filter((candidate) => candidate.rank === top).map((candidate) => candidate.value))
  return values.size === 1 ? [...values][0] : undefined
}

/** Lower case, one space, no trailing colon. */
export function labelOf(text: string): string {
  return text
    .toLowerCase()
    .replace(/\s+/g, ' ')
    .replace(/[\s:.]+$/, '')
    .trim()
}

/**
 * What stands beside each cell that is the label, or begins with it (`Label: value`, `Label value`); where nothing
 * `fits` there, what stands aligned under the label, as in a row of headings over a row of values.
 */
export function valuesOf(layout: Layout, label: RegExp, fits: (value: string) => boolean): string[] {
  const whole = new RegExp(`^(?:${label.source})$`, 'i')
  const starts = new RegExp(`^(?:${label.source})\\s*(?::|#|\\s)\\s*(?=\\S)`, 'i')
  return layout.cells.flatMap((cell) => {
    if (!whole.test(labelOf(cell.text))) {
      const match = starts.exec(cell.text)
      const rest = match === null ? '' : cell.text.slice(match[0].length).replace(/^:\s*/, '').trim()
      return fits(rest) ? [rest] : []
    }
    const beside = rightOf(layout, cell).map((other) => other.text.replace(/^:\s*/, ''))
    const next = beside.find((text) => text !== '')
    if (next !== undefined && fits(next)) return [next]
    const under = below(layout, cell, 2.2)
    if (under === undefined || !fits(under.text)) return []
    return Math.abs(under.x0 - cell.x0) <= 3 || Math.abs(under.x1 - cell.x1) <= 3 ? [under.text] : []
  })
}

/** An identifier: no spaces, at least one digit. */
const ID = /[\p{L}\d](?:[\p{L}\d._/-]*[\p{L}\d])?/u

/** An identifier on its own, which a date is not. */
function isId(value: string): boolean {
  return (
    new RegExp(`^${ID.source}$`, 'u').test(value.trim()) &&
    /\d/.test(value) &&
    parseDate(value) === undefined &&
    !LIKE_DATE.test(value)
  )
}

const LIKE_DATE =
  /^(?:\d{1,4}[./-] ?\d{1,2}[./-] ?\d{2,4}|\d{1,2}\S* \p{L}+\.?,? \d{4}|\p{L}+\.? \d{1,2}\S* \d{4})\.?$/u
const NO = /(?:nr\.?|no\.?|n°|nº|num(?:ber|éro|mer)?\.?|#)/

/** Titles and the UNTDID 1001 code that each one is. A German Gutschrift may be 381 or 389, so it says nothing. */
const TITLES: readonly (readonly [RegExp, string | undefined])[] = [
  [/handelsrechnung|rechnung|invoice|commercial invoice|tax invoice|facture|facture commerciale/, '380'],
  [/credit note|credit memo|avoir|facture d'avoir|note de crédit/, '381'],
  [/debit note|note de débit/, '383'],
  [/rechnungskorrektur|korrekturrechnung|corrected invoice|facture rectificative/, '384'],
  [/anzahlungsrechnung|prepayment invoice|facture d'acompte/, '386'],
  [/mietrechnung/, '387'],
  [/buchungshilfe - keine rechnung/, '751'],
  [/gutschrift|stornorechnung|teilrechnung|schlussrechnung|abschlagsrechnung/, undefined],
]
const TITLE = TITLES.map(([words]) => words.source).join('|')

function typeOf(title: string): string | undefined {
  return TITLES.find(([words]) => new RegExp(`^(?:${words.source})$`, 'i').test(title.trim()))?.[1]
}

export interface Heading {
  readonly titled: boolean
  readonly number?: string
  readonly type?: string
  readonly date?: string
}

/** Number, type and date from the title (`Rechnung Nr. 42 vom 03.04.2025`, `Facture FA-7`) and from their labels. */
export function readHeading(layout: Layout, order: DayOrder | undefined): Heading {
  const titles: { type: string; number?: string; date?: string }[] = []
  const dated = `(?:vom|von|du|dated|issued at|issued on|of|date[:]?)`
  const titled = new RegExp(
    `^(${TITLE})(?: ?\\((\\d{3})\\))?(?:(?: ?${NO.source})?:? ?(?=[^ ]*\\d)(${ID.source})(?: ${dated}(?: (${DATE}))?)?)?$`,
    'iu',
  )
  layout.lines.forEach((line, index) => {
    for (const text of new Set([line.text, ...line.cells.map((cell) => cell.text)])) {
      const match = titled.exec(text.trim())
      if (match === null) continue
      const [, title = '', code, number, date] = match
      const bare = number === undefined && code === undefined
      // A bare word may be a column's heading or a link; it is a title where it stands alone and shouts.
      if (bare && !(text === text.toUpperCase() || isLarge(layout, line.cells, text))) continue
      // The date may have wrapped to the next line: "Rechnung Nr. 42 vom" / "03.04.2025".
      const wrapped = date === undefined && new RegExp(` ${dated}$`, 'i').test(text)
      const stated = wrapped ? layout.lines[index + 1]?.cells[0]?.text : date
      const parsed = stated === undefined ? undefined : parseDate(stated, order ?? impliedOrder(title))
      titles.push({
        type: code ?? typeOf(title) ?? '',
        ...(number === undefined ? {} : { number }),
        ...(parsed === undefined ? {} : { date: parsed }),
      })
    }
  })
  // A credit note may name the invoice that it credits, number and all: what a page calls itself beside is stronger.
  const special = titles.filter((title) => title.type !== '380')
  const own = special.length > 0 ? special : titles
  const types = own.map(({ type, number }): Candidate => ({ value: type, rank: number === undefined ? 1 : 2 }))
  const numbers = own.flatMap(({ number }): Candidate[] => (number === undefined ? [] : [{ value: number, rank: 2 }]))
  const dates = own.flatMap(({ date }): Candidate[] => (date === undefined ? [] : [{ value: date, rank: 1 }]))
  const credit = ['381', ''].includes(agreed(types) ?? '380')
  const labelled = [...(credit ? [] : valuesOf(layout, INVOICE_NUMBER, isId)), ...valuesOf(layout, CREDIT_NUMBER, isId)]
  numbers.push(...labelled.map((value) => ({ value, rank: 2 })))
  for (const [label, implied] of DATE_LABELS) {
    const read = (value: string): string | undefined => parseDate(value, order ?? implied)
    const found = valuesOf(layout, label, (value) => LIKE_DATE.test(value)).map(read)
    // A date that stands there and cannot be read for certain must not be replaced by a weaker one.
    dates.push(...found.map((value) => ({ value: value ?? '', rank: 2 })))
  }
  const [number, type, date] = [agreed(numbers), agreed(types), agreed(dates)]
  return {
    titled: titles.length > 0,
    ...(number === undefined ? {} : { number }),
    ...(type === undefined || type === '' ? {} : { type }),
    ...(date === undefined || date === '' ? {} : { date }),
  }
}

function isLarge(layout: Layout, cells: readonly Cell[], text: string): boolean {
  const sizes = layout.cells.map((cell) => cell.size).sort((a, b) => a - b)
  const median = sizes[Math.floor(sizes.length / 2)] ?? 0
  return cells.some((cell) => cell.text === text && cell.size >= 1.25 * median)
}

/** German and French dates with slashes are written day first; English ones are written both ways. */
function impliedOrder(title: string): DayOrder | undefined {
  return /rechnung|facture|avoir|note de/i.test(title) ? 'day-first' : undefined
}

const INVOICE_NUMBER =
  /rechnungs-?(?:nummer|nr\.?)|rechnung (?:nr\.?|nummer)|rg\.?-?nr\.?|invoice (?:number|no\.?|#|id)|invoice-?no\.?|(?:numéro|n°|no) (?:de )?(?:la )?facture|facture n°/
const CREDIT_NUMBER =
  /credit note (?:number|no\.?|#)|(?:numéro|n°) (?:d'|de l')avoir|avoir n°|gutschriftsnummer|gutschrift-?nr\.?/

const DATE_LABELS: readonly (readonly [RegExp, DayOrder | undefined])[] = [
  [/rechnungsdatum|belegdatum/, 'day-first'],
  [/date de (?:la )?facture|date de facturation|date d'émission|date d'avoir|date de l'avoir/, 'day-first'],
  [/invoice date|date of invoice|date of issue|issue date|date issued|credit note date/, undefined],
]

const ORDER_FIELD =
  /(?:ihre )?bestellung|(?:ihre )?bestell-?(?:nummer|nr\.?)|(?:your )?purchase order(?: (?:number|no\.?|#))?|(?:your )?p\.?o\.? ?(?:number|no\.?|#)|po|your order(?: (?:number|no\.?|#))?|customer order(?: (?:number|no\.?))?|(?:votre |n° (?:de )?)?(?:bon de )?commande(?: n°)?|réf(?:érence|\.) (?:de )?commande/
/** The buyer's own reference: on invoices of shops that know no other order number it is the order. */
const YOUR_REFERENCE = /your ref(?:erence|\.)?|votre réf(?:érence|\.)?|ihre referenz/
const ORDER_MENTION = new RegExp(
  `(?:bestellung|purchase order|commande) ?(?:nr\\.?|no\\.?|n°|number|#) ?:? ?(${ID.source})`,
  'iu',
)

export function readOrder(layout: Layout): string | undefined {
  const candidates: Candidate[] = []
  const add = (values: readonly string[], rank: number): void => {
    candidates.push(...values.filter(isId).map((value) => ({ value: value.trim(), rank })))
  }
  add(valuesOf(layout, ORDER_FIELD, isId), 3)
  for (const line of layout.lines) {
    for (const text of new Set([line.text, ...line.cells.map((cell) => cell.text)])) {
      add([ORDER_MENTION.exec(text)?.[1] ?? ''], 2)
    }
  }
  add(valuesOf(layout, YOUR_REFERENCE, isId), 1)
  return agreed(candidates)
}

const PRECEDING =
  /facture liée|facture d'origine|original invoice(?: (?:number|no\.?))?|related invoice|zu rechnung(?: nr\.?)?|ursprungsrechnung|corrected invoice (?:number|no\.?)/

export function readPreceding(layout: Layout): string | undefined {
  return agreed(valuesOf(layout, PRECEDING, isId).map((value) => ({ value, rank: 1 })))
}

// Length of an IBAN by country (ISO 13616 registry), the part of it that trades here.
// prettier-ignore
const IBAN_LENGTH: Readonly<Record<string, number>> = {
  AT: 20, BE: 16, BG: 22, CH: 21, CY: 28, CZ: 24, DE: 22, DK: 18, EE: 20, ES: 24, FI: 18, FR: 27, GB: 22, GR: 27, HR: 21,
  HU: 28, IE: 22, IT: 27, LI: 21, LT: 20, LU: 20, LV: 21, MC: 27, MT: 31, NL: 18, NO: 15, PL: 28, PT: 25, RO: 24, SE: 24,
  SI: 19, SK: 24,
}

/**
 * The payee's account: a text beside "IBAN" of the length that its country has, in its electronic form. The length
 * shows that the layout was put together rightly; whether the check digits hold is for whoever pays.
 */
export function readIban(layout: Layout): string | undefined {
  const found: Candidate[] = []
  for (const cell of layout.cells) {
    const at = /\biban\b/i.exec(cell.text)
    if (at === null) continue
    const rest = cell.text.slice(at.index + 4).replace(/^[-.\s]*(?:nr\.?|no\.?|number)?[\s:]*/i, '')
    const stated = rest !== '' ? rest : rightOf(layout, cell).map((other) => other.text.replace(/^:\s*/, ''))[0]
    const match = /^([A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?)(?![A-Z0-9])/.exec(stated ?? '')
    const iban = match?.[1]?.replace(/ /g, '')
    if (iban !== undefined && IBAN_LENGTH[iban.slice(0, 2)] === iban.length) found.push({ value: iban, rank: 1 })
  }
  return agreed(found)
}

const CURRENCY_LABEL = /(?:rechnungs)?währung|beträge in|invoice currency|currency|devise|monnaie/
const CURRENCIES = 'EUR|USD|GBP|CHF|SEK|NOK|DKK|PLN|CZK|HUF|RON|JPY|CNY|CAD|AUD'

/** A stated currency, else the only one that the pages mention. `$` and `£` name several, so they decide nothing. */
export function readCurrency(layout: Layout): string | undefined {
  const code = new RegExp(`^(${CURRENCIES})$`)
  const stated = valuesOf(layout, CURRENCY_LABEL, (value) => code.test(value.trim()))
  if (stated.length > 0) return agreed(stated.map((value) => ({ value: value.trim(), rank: 1 })))
  const mentioned = new Set<string>()
  for (const line of layout.lines) {
    for (const match of line.text.matchAll(
      new RegExp(`€|[$£]|(?<![\\p{L}\\d])(?:${CURRENCIES})(?![\\p{L}\\d])`, 'gu'),
    )) {
      mentioned.add(match[0] === '€' ? 'EUR' : match[0])
    }
  }
  const [only] = mentioned
  return mentioned.size === 1 && only !== undefined && code.test(only) ? only : undefined
}

const REMARKS = /^(?:hinweise?|bemerkung(?:en)?|anmerkung(?:en)?|remarks?|notes?|comments?|remarques?)\s*:\s*(.*)$/i

/** The paragraph that a label such as `Remarks:` begins: beside it, and the lines that go on directly under it. */
export function readRemarks(layout: Layout): string | undefined {
  for (const cell of layout.cells) {
    const match = REMARKS.exec(cell.text)
    if (match === null) continue
    const parts = [match[1] ?? '']
    let last = cell
    for (const next of layout.cells) {
      if (next.page !== cell.page || Math.abs(next.x0 - cell.x0) > 2 || next.y >= last.y) continue
      if (last.y - next.y > 1.6 * last.size) break
      parts.push(next.text)
      last = next
    }
    const text = parts.join(' ').trim()
    if (text !== '') return text.slice(0, 1000).toWellFormed()
  }
  return undefined
}
