/** True for a calendar day as YYYY-MM-DD that exists, between 1990 and 2099 (outside of that it is no invoice's date). */
export function isRealDate(date: string): boolean {
  const parts = /^(\d{4})-(\d{2})-(\d{2})$/.exec(date)
  if (parts === null) return false
  const [year, month, day] = [Number(parts[1]), Number(parts[2]), Number(parts[3])]
  if (year < 1990 || year > 2099 || month < 1 || month > 12 || day < 1) return false
  const lengths = [
    31,
    year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28,
    31,
    30,
    31,
    30,
    31,
    31,
    30,
    31,
    30,
    31,
  ]
  return day <= (lengths[month - 1] ?? 0)
}

/** How a document writes dates such as 03/11/2017. */
export type DayOrder = 'day-first' | 'month-first'

const MONTHS: readonly (readonly string[])[] = [
  ['january', 'jan', 'januar', 'jänner', 'janvier', 'janv'],
  ['february', 'feb', 'februar', 'février', 'fevrier', 'févr'],
  ['march', 'mar', 'märz', 'maerz', 'mrz', 'mars'],
  ['april', 'apr', 'avril', 'avr'],
  ['may', 'mai'],
  ['june', 'jun', 'juni', 'juin'],
  ['july', 'jul', 'juli', 'juillet', 'juil'],
  ['august', 'aug', 'août', 'aout'],
  ['september', 'sep', 'sept', 'septembre'],
  ['october', 'oct', 'oktober', 'okt', 'octobre'],
  ['november', 'nov', 'novembre'],
  ['december', 'dec', 'dezember', 'dez', 'décembre', 'déc'],
]

const ISO = /(\d{4})-(\d{2})-(\d{2})/
const DOTTED = /(\d{1,2})\. ?(\d{1,2})\. ?(\d{4})/
const SLASHED = /(\d{1,2})[/-](\d{1,2})[/-](\d{4})/
const DAY_MONTH = /(\d{1,2})(?:\.|er|st|nd|rd|th)? (\p{L}+)\.?,? (\d{4})/u
const MONTH_DAY = /(\p{L}+)\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})/u

/** The source of every date form that is read, for use inside a larger pattern. */
export const DATE: string = [ISO, DOTTED, SLASHED, DAY_MONTH, MONTH_DAY]
  .map((form) => form.source.replace(/\((?!\?)/g, '(?:'))
  .join('|')

/**
 * A printed date as YYYY-MM-DD. Dots mean day first (DIN 5008 and its kin); with slashes or hyphens the order counts
 * only where it is certain: a part above 12, equal parts, or the `order` that the document is known to use.
 * Two-digit years and dates that do not exist are undefined.
 */
export function parseDate(text: string, order?: DayOrder): string | undefined {
  const trimmed = text.trim().replace(/[.,;]+$/, '')
  const whole = (form: RegExp): RegExpExecArray | null => new RegExp(`^(?:${form.source})$`, form.flags).exec(trimmed)
  let match = whole(ISO)
  if (match !== null) return real(match[1], match[2], match[3])
  match = whole(DOTTED)
  if (match !== null) return real(match[3], match[2], match[1])
  match = whole(SLASHED)
  if (match !== null) {
    const known = order ?? slashOrder(match)
    if (known === undefined) return match[1] === match[2] ? real(match[3], match[2], match[1]) : undefined
    return known === 'day-first' ? real(match[3], match[2], match[1]) : real(match[3], match[1], match[2])
  }
  match = whole(DAY_MONTH)
  if (match !== null) return real(match[3], month(match[2]), match[1])
  match = whole(MONTH_DAY)
  if (match !== null) return real(match[3], month(match[1]), match[2])
  return undefined
}

/** What the dates with slashes on all pages prove about their order; undefined where none does or two disagree. */
export function dayOrder(texts: readonly string[]): DayOrder | undefined {
  const found = new Set<DayOrder>()
  for (const text of texts) {
    for (const match of text.matchAll(new RegExp(`(?<![\\d/-])${SLASHED.source}(?![\\d/-])`, 'g'))) {
      const order = slashOrder(match)
      if (order !== undefined) found.add(order)
    }
  }
  return found.size === 1 ? [...found][0] : undefined
}

function slashOrder(match: RegExpMatchArray): DayOrder | undefined {
  const [first, second] = [Number(match[1]), Number(match[2])]
  if (first > 12 && second <= 12) return 'day-first'
  if (second > 12 && first <= 12) return 'month-first'
  return undefined
}

function month(name: string | undefined): string | undefined {
  const at = MONTHS.findIndex((names) => names.includes((name ?? '').toLowerCase()))
  return at < 0 ? undefined : String(at + 1)
}

function real(year: string | undefined, monthNumber: string | undefined, day: string | undefined): string | undefined {
  if (year === undefined || monthNumber === undefined || day === undefined) return undefined
  const date = `${year}-${monthNumber.padStart(2, '0')}-${day.padStart(2, '0')}`
  return isRealDate(date) ? date : undefined
}
