import { sameNumber, parseAmount, scaled, type DecimalMark } from './numbers.ts'
import { below, rightOf, type Cell, type Layout } from './layout.ts'
import { labelOf } from './text-fields.ts'

/**
 * Totals of a text layer. Labels propose amounts; arithmetic decides: net + tax = grand, grand - prepaid = due. What
 * contradicts becomes absent.
 */
export interface Totals {
  readonly values: Partial<Record<TotalField, string>>
  readonly contradictions: readonly string[]
}

export type TotalField = 'lineTotal' | 'charges' | 'allowances' | 'net' | 'tax' | 'grand' | 'prepaid' | 'due'

// Matched against `simplified` labels: UST is any German or French or English word for value added tax, EXCL and INCL
// any way to say without and with.
const SUM = '(?:rechnungssumme|gesamtbetrag|gesamtsumme|summe|betrag|rechnungsbetrag|total|gesamt)'
const LABELS: readonly (readonly [TotalField, RegExp])[] = [
  ['lineTotal', /^(?:positionssumme|zwischensumme|summe positionen|subtotal|sub-total|sous-total|items? total)$/],
  ['charges', /^gesamtbetrag der zuschläge$/],
  ['allowances', /^gesamtbetrag der abschläge$/],
  [
    'net',
    new RegExp(
      `^(?:nettobetrag|nettosumme|nettogesamtbetrag|${SUM} netto|netto ?(?:summe|betrag|gesamt)?)(?: EXCL UST)?$`,
    ),
  ],
  ['net', new RegExp(`^(?:${SUM}|sub-?total|amount|invoice total) EXCL UST$`)],
  ['net', /^(?:net|net total|net amount|total net|total net amount|taxable amount)(?: EXCL UST)?$/],
  ['net', /^(?:total|montant|sous-total)(?: net)? (?:ht|h\.t|hors taxes?)$/],
  [
    'tax',
    /^(?:UST gesamt|UST total|UST amount|UST-?betrag|UST|(?:summe|gesamt|total|montant|total de la|montant de la) UST|(?:gesamt)?steuerbetrag(?: in)?|total taxes|sales UST)$/,
  ],
  [
    'grand',
    new RegExp(`^(?:bruttobetrag|bruttosumme|${SUM} brutto|endbetrag|rechnungsendbetrag|brutto)(?: INCL UST)?$`),
  ],
  [
    'grand',
    new RegExp(
      `^(?:${SUM}|grand total|invoice total|invoice amount|total amount|gross total|gross amount)(?: INCL UST)?$`,
    ),
  ],
  ['grand', /^(?:total|montant)(?: net)? (?:ttc|t\.t\.c|toutes taxes comprises)$/],
  [
    'prepaid',
    /^(?:erhaltene anzahlungen|bereits (?:be|ge)zahlt|anzahlung(?:en)?|abzgl\.? anzahlung(?:en)?|prepaid|amount paid|already paid|paid|paid to date|deposit|prepayment|acompte(?: versé)?|acomptes(?: versés)?|déjà (?:payé|réglé|versé))$/,
  ],
  [
    'due',
    /^(?:zahlbetrag|offener betrag|restbetrag|zu zahlen(?:der betrag)?|zahllast|amount due|balance due|total due|due payable|residual|amount payable|balance|outstanding(?: amount)?|solde(?: à payer| dû)?|net à payer|reste à payer|montant dû)$/,
  ],
]

/** "Summe" and "betrag" alone are headings of columns too; they count only with a word beside them. */
const BARE = /^(?:summe|betrag|amount|gesamt|netto|brutto|net|UST|paid|balance)$/

function simplified(text: string): string {
  return labelOf(text)
    .replace(/[()]/g, ' ')
    .replace(/\s*(?:\b(?:in )?(?:eur|gbp|usd|chf)|€)$/, '')
    .replace(/\b(?:umsatzsteuer|mehrwertsteuer|mwst|ust|vat|tva|tax)\b\.?/g, 'UST')
    .replace(/(?<!\p{L})(?:excl|exkl|ohne|without|w\/o|excluding|before|exclusive of)\.?(?=\s)/gu, 'EXCL')
    .replace(/(?<!\p{L})(?:incl|inkl|including|inclusive of|einschl)\.?(?=\s)/gu, 'INCL')
    .replace(/\s+/g, ' ')
    .trim()
}

function fieldOf(label: string): TotalField | undefined {
  return LABELS.find(([, pattern]) => pattern.test(label))?.[0]
}

/** The field that a cell labels, whether or not an amount follows in the same cell. */
export function totalLabel(text: string): TotalField | undefined {
  return fieldOf(simplified(text.replace(/[\s:]+-?[\d.,' ]*\d ?(?:€|EUR)?$/, '')))
}

interface Proposal {
  readonly field: TotalField
  readonly value: string
  /** Beside its label; an amount under its label may be a column of the table instead. */
  readonly beside: boolean
}

// An amount at the end of its label's own cell: "Nettobetrag: 496,00 €".
const INLINE = /^(.*?\p{L}.*?)[:\s]\s*((?:[€$£] ?|[A-Z]{3} )?-?\d[\d.,' ]*(?: ?[€$£]| [A-Z]{3})?)$/u
const RATE = /\s*\d+(?:[.,]\d+)? ?%$/

export function readTotals(layout: Layout, mark: DecimalMark | undefined): Totals {
  const proposals: Proposal[] = []
  /** Tax by rate, as `19%  269,80`: the whole tax only where it is the one rate. */
  const shares = new Map<string, string>()
  for (const cell of layout.cells) {
    const inline = INLINE.exec(cell.text)
    const inlineValue = inline === null ? undefined : parseAmount(inline[2] ?? '', mark)
    const text = inlineValue === undefined ? cell.text : (inline?.[1] ?? '')
    const rated = RATE.test(text)
    const label = simplified(text.replace(RATE, ''))
    const field = fieldOf(label) ?? (rated ? rateLabel(label) : undefined)
    if (field === undefined || (inlineValue !== undefined && BARE.test(label) && !rated && label !== 'UST')) continue
    const amounts = inlineValue === undefined ? amountsBeside(layout, cell, mark) : [inlineValue]
    if (rated) {
      const last = amounts.at(-1)
      if (field === 'tax' && last !== undefined) shares.set(RATE.exec(text)?.[0].trim() ?? '', last)
      continue
    }
    for (const value of amounts) proposals.push({ field, value, beside: true })
    const under = amounts.length === 0 ? below(layout, cell, 2.5) : undefined
    const value = under === undefined ? undefined : parseAmount(under.text, mark)
    if (value !== undefined) proposals.push({ field, value, beside: false })
  }
  const [share] = shares.values()
  return decide(proposals, shares.size === 1 ? share : undefined)
}

/** `zzgl. Umsatzsteuer 19 %`, `Steuerbasisbetrag USt. 19%`: a share of the tax, the tax its last amount. */
function rateLabel(label: string): TotalField | undefined {
  return /^(?:zzgl\.? |zuzüglich |plus |steuerbasisbetrag )?UST$/.test(label) ? 'tax' : undefined
}

/**
 * The amounts right of a label up to the next label, currency codes skipped. A tax in two currencies has one amount
 * just above and one just below its label, so those within two thirds of a line count as well.
 */
function amountsBeside(layout: Layout, cell: Cell, mark: DecimalMark | undefined): string[] {
  const out: string[] = []
  for (const other of rightOf(layout, cell)) {
    const text = other.text.replace(/^:\s*/, '')
    const value = parseAmount(text, mark)
    if (value !== undefined) out.push(value)
    else if (!/^(?:[A-Z]{3}|[€$£]|:)?$/.test(text)) break
  }
  return out
}

function decide(proposals: readonly Proposal[], share: string | undefined): Totals {
  const distinct = (field: TotalField, beside: boolean): string[] => {
    const values = proposals.filter((p) => p.field === field && (p.beside || !beside)).map((p) => p.value)
    return values.filter((value, index) => values.findIndex((other) => sameNumber(other, value)) === index).slice(0, 12)
  }
  const single = (field: TotalField): string | undefined => {
    const values = distinct(field, true)
    return values.length === 1 ? values[0] : undefined
  }
  const contradictions: string[] = []
  const values: Partial<Record<TotalField, string>> = {}
  const taxes = distinct('tax', false)
  if (taxes.length === 0 && share !== undefined) taxes.push(share)
  const closing = distinct('net', false).flatMap((net) =>
    taxes.flatMap((tax) =>
      [...distinct('grand', false), ...distinct('due', true)]
        .filter((grand) => cents(net) + cents(tax) === cents(grand))
        .map((grand) => ({ net, tax, grand })),
    ),
  )
  const triples = new Set(closing.map((triple) => JSON.stringify([cents(triple.net), cents(triple.tax)].map(String))))
  const triple = closing[0]
  if (triples.size === 1 && triple !== undefined) Object.assign(values, triple)
  else {
    const [net, tax, grand] = [single('net'), single('tax'), single('grand')]
    const all = distinct('net', true).length > 0 && taxes.length > 0 && distinct('grand', true).length > 0
    if (all) {
      contradictions.push('net + tax is not the grand total')
    } else if (net !== undefined && grand !== undefined && magnitude(net) > magnitude(grand)) {
      contradictions.push('the net total is larger than the grand total')
    } else Object.assign(values, defined({ net, tax, grand }))
  }
  Object.assign(values, defined({ lineTotal: single('lineTotal'), charges: single('charges') }))
  Object.assign(values, defined({ allowances: unsigned(single('allowances')), prepaid: unsigned(single('prepaid')) }))
  const due = single('due')
  if (contradictions.length === 0 && due !== undefined) {
    const { grand, prepaid } = values
    const rest = grand === undefined || prepaid === undefined ? undefined : cents(grand) - cents(prepaid)
    if (rest !== undefined && rest !== cents(due))
      contradictions.push('grand total less what was paid is not the amount due')
    else if (grand !== undefined && magnitude(due) > magnitude(grand))
      contradictions.push('the amount due is above the grand total')
    else values.due = due
  }
  return { values, contradictions }
}

function cents(amount: string): bigint {
  return scaled(amount, 2)
}

function magnitude(amount: string): bigint {
  const value = cents(amount)
  return value < 0n ? -value : value
}

/** Deductions are printed with and without a minus; EN 16931 states them without. */
function unsigned(amount: string | undefined): string | undefined {
  return amount?.replace('-', '')
}

function defined<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>
}
