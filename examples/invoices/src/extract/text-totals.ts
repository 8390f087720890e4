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

/** Words that some use for the sum before tax: a grand total by these counts only where net + tax confirms it. */
const OPEN = /^(?:summe|betrag|total|gesamt|gesamtbetrag|gesamtsumme|total amount|invoice amount)$/

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
  /** The label leaves open which total it is. */
  readonly open: boolean
}

// An amount at the end of its label's own cell: "Nettobetrag: 496,00 €".
const INLINE = /^(.*?\p{L}.*?)[:\s]\s*((?:[€$£] ?|[A-Z]{3} )?-?\d[\d.,' ]*(?: ?[€$£]| [A-Z]{3})?)$/u
const RATE = /(?:@ ?)?(?<![\d.,])\d{1,2}(?:[.,]\d+)? ?%/

export function readTotals(layout: Layout, mark: DecimalMark | undefined): Totals {
  const proposals: Proposal[] = []
  /** Tax by rate, as `19%  269,80`: the whole tax only where it is the one rate. */
  const shares = new Map<string, string>()
  for (const cell of layout.cells) {
    const inline = INLINE.exec(cell.text)
    const inlineValue = inline === null ? undefined : parseAmount(inline[2] ?? '', mark)
    const text = inlineValue === undefined ? cell.text : (inline?.[1] ?? '')
    const ownRate = RATE.exec(text)?.[0]
    const label = simplified(text.replace(RATE, ' ').replace(/\(\s*\)/, ' '))
    const field = fieldOf(label) ?? (ownRate === undefined ? undefined : rateLabel(label))
    if (field === undefined || (inlineValue !== undefined && BARE.test(label) && field !== 'tax')) continue
    const beside = inlineValue === undefined ? amountsBeside(layout, cell, mark) : { amounts: [inlineValue] }
    const { amounts } = beside
    const rate = ownRate ?? beside.rate
    if (rate !== undefined) {
      const last = amounts.at(-1)
      if (field === 'tax' && last !== undefined) shares.set(rate, last)
      continue
    }
    const open = OPEN.test(label)
    for (const value of amounts) proposals.push({ field, value, beside: true, open })
    const under = amounts.length === 0 ? below(layout, cell, 2.5) : undefined
    const value = under === undefined ? undefined : parseAmount(under.text, mark)
    if (value !== undefined) proposals.push({ field, value, beside: false, open })
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
function amountsBeside(
  layout: Layout,
  cell: Cell,
  mark: DecimalMark | undefined,
): { readonly amounts: readonly string[]; readonly rate?: string } {
  const amounts: string[] = []
  let rate: string | undefined
  for (const other of rightOf(layout, cell)) {
    const text = other.text.replace(/^:\s*/, '')
    const value = parseAmount(text, mark)
    if (value !== undefined) amounts.push(value)
    else if (new RegExp(`^\\(?${RATE.source}\\)?$`).test(text)) rate = text
    else if (!/^(?:[A-Z]{3}|[€$£]|:)?$/.test(text)) break
  }
  return { amounts, ...(rate === undefined ? {} : { rate }) }
}

function decide(proposals: readonly Proposal[], share: string | undefined): Totals {
  const values = (field: TotalField, fits: (proposal: Proposal) => boolean = () => true): string[] =>
    distinct(proposals.filter((proposal) => proposal.field === field && fits(proposal)).map(({ value }) => value))
  const beside = (field: TotalField): string[] => values(field, (proposal) => proposal.beside)
  const stated = (field: TotalField): string | undefined => only(beside(field))
  const contradictions: string[] = []
  const out: Partial<Record<TotalField, string>> = {}
  const taxes = values('tax')
  if (taxes.length === 0 && share !== undefined) taxes.push(share)
  // A page that has no net total of its own states it as the sum of the lines, if that closes.
  const nets = values('net').length > 0 ? values('net') : values('lineTotal')
  const triple = closing(nets, taxes, distinct([...values('grand'), ...beside('due')]))
  const closed = triple !== undefined
  if (closed) Object.assign(out, triple)
  else if (beside('net').length > 0 && taxes.length > 0 && beside('grand').length > 0) {
    contradictions.push('net + tax is not the grand total')
  } else {
    const grand = only(values('grand', (proposal) => proposal.beside && !proposal.open))
    const net = stated('net')
    if (net !== undefined && grand !== undefined && magnitude(net) > magnitude(grand)) {
      contradictions.push('the net total is larger than the grand total')
    } else Object.assign(out, defined({ net, tax: stated('tax'), grand }))
  }
  Object.assign(out, defined({ lineTotal: stated('lineTotal'), charges: stated('charges') }))
  Object.assign(out, defined({ allowances: unsigned(stated('allowances')), prepaid: unsigned(stated('prepaid')) }))
  const due = stated('due')
  if (contradictions.length > 0 || due === undefined) return { values: out, contradictions }
  const rest = out.grand === undefined || out.prepaid === undefined ? undefined : cents(out.grand) - cents(out.prepaid)
  if (rest !== undefined && rest !== cents(due)) {
    contradictions.push('the grand total less what was paid is not the amount due')
    delete out.prepaid
  } else if (out.grand !== undefined && magnitude(due) > magnitude(out.grand)) {
    contradictions.push('the amount due is above the grand total')
  } else out.due = due
  if (contradictions.length > 0 && !closed) delete out.grand
  return { values: out, contradictions }
}

/** The one way, up to notation, in which a net total and a tax add up to a grand total. */
function closing(
  nets: readonly string[],
  taxes: readonly string[],
  grands: readonly string[],
): { net: string; tax: string; grand: string } | undefined {
  const all = nets.flatMap((net) =>
    taxes.flatMap((tax) =>
      grands.filter((grand) => cents(net) + cents(tax) === cents(grand)).map((grand) => ({ net, tax, grand })),
    ),
  )
  return all.length === 1 ? all[0] : undefined
}

/** The different numbers among some, as first written; at most a dozen, more is no set of totals. */
function distinct(values: readonly string[]): string[] {
  return values.filter((value, index) => values.findIndex((other) => sameNumber(other, value)) === index).slice(0, 12)
}

function only(values: readonly string[]): string | undefined {
  return values.length === 1 ? values[0] : undefined
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
