import { parseForeign } from '../core/foreign-json.ts'
import type { Json } from '../core/json.ts'
import { datesIn, datesOf, yearOf } from './dates.ts'

// Which numbers, dates and identifiers a text holds, in spellings that can be compared. A text offers facts (generous:
// every reading of an ambiguous spelling), a statement needs them (strict: one reading).

const maxMissing = 100

/** What evidence offers. */
export interface Facts {
  /** Decimals: no group marks, no outer zeros, '-' for negative ones; negative ones offer their amount as well. */
  readonly numbers: ReadonlySet<string>
  /** YYYY-MM-DD */
  readonly dates: ReadonlySet<string>
  /** Every run of letters, digits and what joins them, as it stands in the text. */
  readonly runs: ReadonlySet<string>
}

interface Offers {
  readonly numbers: Set<string>
  readonly dates: Set<string>
  readonly runs: Set<string>
}

// Letters and digits, joined by single marks: INV-1001, PO/2026/17. Points, commas, colons and apostrophes join only
// digits (1.420,00, 10:30), so that `Nr.41`, `Qty:100` and a sentence without its blank come apart.
const run = /[\p{L}\p{N}]+(?:(?:[-/_]|(?<=\d)[.,:'’](?=\d))[\p{L}\p{N}]+)*/gu
const digit = /\p{N}/u
const groupedBySpace = /(?<![\p{L}\p{N}.,'’/_-])\d{1,3}(?: \d{3})+(?:[.,]\d+)?(?![\p{L}\p{N}]|[-.,/'’]\p{N})/gu
const iban = /(?<![\p{L}\p{N}])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![\p{L}\p{N}]|[-.,/]\p{N})/gu
// An amount with what it is an amount of: 100kg, 3rd, 99.50/pc, 30-day, EUR1190.00.
const amounts = [
  /^(\d[\d.,'’]*)(?:st|nd|rd|th|x|kg|g|mg|t|lbs?|oz|m?l|[kcm]?m|h|d|pcs?|stk|eur|usd|gbp|chf|k)$/i,
  /^(\d[\d.,'’]*)\/\p{L}+$/u,
  /^(\d[\d.,'’]*)-\p{Ll}+$/u,
  /^(?:EUR|USD|GBP|CHF|JPY|SEK|NOK|DKK|PLN|CZK|CAD|AUD)(\d[\d.,'’]*)$/,
]

/** NFC, and every white space one blank: what texts are compared in. */
export function plainText(text: string): string {
  return text.normalize('NFC').replace(/\s+/g, ' ').trim()
}

/** The facts of an evidence text. Canonical JSON is read leaf by leaf, so that `[1,420]` is two numbers. */
export function factsOf(text: string): Facts {
  const offers: Offers = { numbers: new Set(), dates: new Set(), runs: new Set() }
  const first = text.trimStart()[0]
  const value = first === '{' || first === '[' ? parsed(text) : undefined
  if (value === undefined) offerText(text, offers)
  else offerJson(value, offers)
  return offers
}

function parsed(text: string): Json | undefined {
  try {
    return parseForeign(text).value
  } catch {
    return undefined
  }
}

function offerJson(value: Json, offers: Offers): void {
  if (typeof value === 'string') offerText(value, offers)
  else if (typeof value === 'number') offerNumber(decimal(String(value)), offers)
  else if (typeof value === 'object' && value !== null)
    for (const [key, item] of Object.entries(value)) {
      if (!Array.isArray(value)) offerText(key, offers)
      offerJson(item, offers)
    }
}

function offerText(raw: string, offers: Offers): void {
  const text = joined(raw)
  for (const [spelled] of text.matchAll(groupedBySpace))
    for (const number of readings(spelled.replaceAll(' ', "'"), true)) offerNumber(number, offers)
  for (const [spelled] of text.matchAll(iban)) {
    // What follows an account number can look like its end.
    let account = ''
    for (const part of spelled.split(' ')) if ((account += part).length >= 15) offers.runs.add(account)
  }
  for (const { dates } of datesIn(text)) for (const date of dates) offerDate(date, offers)
  for (const found of runsIn(text)) {
    offers.runs.add(found.text)
    for (const date of datesOf(found.text)) offerDate(date, offers)
    for (const number of readings(found.amount, true)) offerNumber(found.negative ? `-${number}` : number, offers)
  }
}

function offerNumber(number: string, offers: Offers): void {
  offers.numbers.add(number)
  if (number.startsWith('-')) offers.numbers.add(number.slice(1))
}

function offerDate(date: string, offers: Offers): void {
  offers.dates.add(date)
  offers.numbers.add(yearOf(date))
}

/** What a statement says that none of the facts has, as it is spelled there. */
export function missingFrom(statement: string, evidence: readonly Facts[]): string[] {
  const has = (set: keyof Facts, item: string): boolean => evidence.some((facts) => facts[set].has(item))
  const isNumber = (spelled: string, sign: string = ''): boolean =>
    readings(spelled, false).some((number) => has('numbers', sign + number))
  const text = joined(statement)
  const missing: string[] = []
  // What several runs say together is judged together; `judged` says where.
  const judged: { readonly from: number; readonly to: number }[] = []
  const judge = (spelled: string, from: number, supported: boolean): void => {
    judged.push({ from, to: from + spelled.length })
    if (!supported) missing.push(spelled)
  }
  for (const { spelled, at, dates } of datesIn(text))
    judge(
      spelled,
      at,
      dates.some((date) => has('dates', date)),
    )
  const accounts: { readonly spelled: string; readonly from: number; readonly to: number }[] = []
  for (const { 0: spelled, index } of text.matchAll(iban))
    if (has('runs', spelled.replaceAll(' ', ''))) judge(spelled, index, true)
    else accounts.push({ spelled, from: index, to: index + spelled.length })
  // Two numbers beside each other look like one with a blank in it: only if that one is there, they are one.
  for (const { 0: spelled, index } of text.matchAll(groupedBySpace))
    if (isNumber(spelled.replaceAll(' ', "'"))) judge(spelled, index, true)
  judged.sort((a, b) => a.from - b.from)
  let next = 0
  let covered = 0
  for (const { at, text: found, amount, negative } of runsIn(text)) {
    for (; next < judged.length && (judged[next]?.from ?? 0) <= at; next++)
      covered = Math.max(covered, judged[next]?.to ?? 0)
    if (at < covered) continue
    const supported =
      (!negative && has('runs', found)) ||
      isNumber(amount, negative ? '-' : '') ||
      datesOf(found).some((date) => has('dates', date)) ||
      (/^\d+(?:[-/]\d+)+$/.test(found) && found.split(/[-/]/).every((part) => isNumber(part)))
    if (supported) continue
    if (missing.length >= maxMissing) break
    const account = accounts.find(({ from, to }) => at >= from && at < to)
    missing.push(account?.spelled ?? (negative ? `-${found}` : found))
  }
  return [...new Set(missing)]
}

interface Run {
  readonly at: number
  readonly text: string
  /** The number in it, apart from a unit or currency; the run itself when there is none. */
  readonly amount: string
  readonly negative: boolean
}

/** Runs with a digit in them. A sign or a leading point just before belongs to the number. */
function* runsIn(text: string): Generator<Run> {
  for (const match of text.matchAll(run)) {
    const [found] = match
    if (!digit.test(found)) continue
    const before = text.slice(Math.max(0, match.index - 2), match.index)
    const isFraction = /(?:^|[^\p{L}\p{N}])\.$/u.test(before) && /^\d+$/.test(found)
    const spelled = isFraction ? `0.${found}` : found
    const amount = amounts.map((pattern) => pattern.exec(spelled)?.[1]).find((part) => part !== undefined) ?? spelled
    yield { at: match.index, text: spelled, amount, negative: /(?:^|[\s(])[-−]$/u.test(before) && /^\d/.test(found) }
  }
}

/** Group marks that cannot be anything else (no-break and thin spaces) become apostrophes. */
function joined(text: string): string {
  return plainText(text.normalize('NFC').replace(/(?<=\d)[\u00a0\u2007\u2009\u202f](?=\d{3}(?!\d))/g, "'"))
}

/**
 * The numbers a spelling can mean. `1.420,00`, `1,420.00`, `1'420` and `1420` are one. One mark before exactly three
 * digits groups thousands; `generous` also takes it for the decimal point, as machines write it.
 */
function readings(spelled: string, generous: boolean): string[] {
  const [, whole = '', marks = ''] = /^(\d+)((?:[.,'’]\d+)*)$/.exec(spelled) ?? []
  if (whole === '') return []
  // Digits with leading zeros are a number on a form, not an amount: 007 is not 7.
  if (marks === '') return whole.length > 1 && whole.startsWith('0') ? [] : [decimal(spelled)]
  const groups = [...marks.matchAll(/([.,'’])(\d+)/g)].map(([, mark, digits]) => ({ mark, digits: digits as string }))
  const last = groups.at(-1) as { readonly mark: string | undefined; readonly digits: string }
  const inner = groups.slice(0, -1)
  const grouped = (list: typeof groups): boolean =>
    whole.length <= 3 &&
    !whole.startsWith('0') &&
    list.every(({ mark, digits }) => mark === list[0]?.mark && digits.length === 3)
  const digitsOf = (list: typeof groups): string => whole + list.map(({ digits }) => digits).join('')
  const out: string[] = []
  const isThousands = grouped(groups)
  if (isThousands) out.push(decimal(digitsOf(groups)))
  const isPoint = last.mark === '.' || last.mark === ','
  const isDecimal = isPoint && (inner.length === 0 || (grouped(inner) && inner[0]?.mark !== last.mark))
  if (isDecimal && (!isThousands || generous)) out.push(decimal(`${digitsOf(inner)}.${last.digits}`))
  return out
}

/** Without outer zeros; exponents, as JSON may have them, written out when small. */
function decimal(text: string): string {
  if (/[eE]/.test(text)) return text
  const negative = text.startsWith('-')
  const [whole = '', fraction = ''] = (negative ? text.slice(1) : text).split('.')
  let from = 0
  while (from < whole.length - 1 && whole[from] === '0') from++
  let to = fraction.length
  while (to > 0 && fraction[to - 1] === '0') to--
  const plain = (whole.slice(from) || '0') + (to === 0 ? '' : `.${fraction.slice(0, to)}`)
  return negative && plain !== '0' ? `-${plain}` : plain
}
