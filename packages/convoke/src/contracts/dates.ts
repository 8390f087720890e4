// Dates as people and machines write them, as YYYY-MM-DD. Where day and month can be told from neither each other nor
// the separator, both readings count.

const names = [
  ['january', 'januar', 'jan'],
  ['february', 'februar', 'feb'],
  ['march', 'märz', 'mar', 'mär'],
  ['april', 'apr'],
  ['may', 'mai'],
  ['june', 'juni', 'jun'],
  ['july', 'juli', 'jul'],
  ['august', 'aug'],
  ['september', 'sep', 'sept'],
  ['october', 'oktober', 'oct', 'okt'],
  ['november', 'nov'],
  ['december', 'dezember', 'dec', 'dez'],
]
const months = new Map(names.flatMap((list, i) => list.map((name) => [name, i + 1] as const)))
const month = [...months.keys()].sort((a, b) => b.length - a.length).join('|')
const dayFirst = new RegExp(
  `(?<![\\p{L}\\p{N}])(\\d{1,2})(?:\\.|st|nd|rd|th)? (${month})\\.?,? (\\d{4})(?!\\p{N})`,
  'giu',
)
const monthFirst = new RegExp(
  `(?<![\\p{L}\\p{N}])(${month})\\.? (\\d{1,2})(?:st|nd|rd|th)?,? (\\d{4})(?!\\p{N})`,
  'giu',
)

export interface SpelledDate {
  readonly spelled: string
  readonly at: number
  readonly dates: readonly string[]
}

/** Dates with the month as a word, in English or German. The text has single blanks. */
export function datesIn(text: string): SpelledDate[] {
  const found: SpelledDate[] = []
  const add = (spelled: string, at: number, year: string, name: string, day: string): void => {
    const dates = valid(Number(year), months.get(name.toLowerCase()) ?? 0, Number(day))
    if (dates.length > 0) found.push({ spelled, at, dates })
  }
  for (const { 0: spelled, index, 1: day = '', 2: name = '', 3: year = '' } of text.matchAll(dayFirst))
    add(spelled, index, year, name, day)
  for (const { 0: spelled, index, 1: name = '', 2: day = '', 3: year = '' } of text.matchAll(monthFirst))
    add(spelled, index, year, name, day)
  return found
}

/** The dates that one run of digits and marks can mean: 2026-03-01, 20260301, 01.03.2026, 3/1/26, with a time or without. */
export function datesOf(run: string): string[] {
  const iso = /^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:T[\d:.,+Z-]*)?$/.exec(run) ?? /^(\d{4})(\d{2})(\d{2})$/.exec(run)
  if (iso !== null) return valid(Number(iso[1]), Number(iso[2]), Number(iso[3]))
  const short = /^(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})$/.exec(run)
  if (short === null) return []
  const year = (short[4] as string).length === 2 ? 2000 + Number(short[4]) : Number(short[4])
  const [first, second] = [Number(short[1]), Number(short[3])]
  const german = valid(year, second, first)
  // A point is never written between month and day in that order.
  return short[2] === '.' || first === second ? german : [...german, ...valid(year, first, second)]
}

export function yearOf(date: string): string {
  return date.slice(0, 4)
}

function valid(year: number, month: number, day: number): string[] {
  const last =
    month < 1 || month > 12
      ? 0
      : ([31, isLeap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] as number)
  if (year < 1900 || year > 2199 || day < 1 || day > last) return []
  const two = (n: number): string => String(n).padStart(2, '0')
  return [`${year}-${two(month)}-${two(day)}`]
}

function isLeap(year: number): boolean {
  return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
}
