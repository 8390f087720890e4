/** Which character separates the fraction. */
export type DecimalMark = ',' | '.'

/**
 * A printed number as a decimal string, digits as stated: `1.234,56`, `1,234.56`, `1 234,56`, `1'234.56`, `-5`, `5-`.
 * A lone separator before exactly three digits (`1.234`) may be grouping or a fraction: undefined, unless `mark` says
 * which character the document uses or the number starts with 0. Undefined for everything else that is not one number.
 */
export function parseNumber(text: string, mark?: DecimalMark): string | undefined {
  const trimmed = text.trim().replace(/[\u2212\u2013]/g, '-')
  const signed = /^(-?) ?(\d[\d.,'’ \u00a0\u202f]*?)(-?)$/.exec(trimmed)
  if (signed === null || (signed[1] !== '' && signed[3] !== '')) return undefined
  const sign = signed[1] === '-' || signed[3] === '-' ? '-' : ''
  const body = (signed[2] ?? '').replace(/[\u00a0\u202f]/g, ' ').replace(/’/g, "'")
  if (/^\d+$/.test(body)) return sign + plainInteger(body)
  const fraction = fractionMark(body, mark)
  if (fraction === undefined) return undefined
  const cut = fraction === 'none' ? body.length : body.lastIndexOf(fraction)
  const whole = body.slice(0, cut)
  if (!/^(?:\d+|[1-9]\d{0,2}([.,' ])\d{3}(?:\1\d{3})*)$/.test(whole)) return undefined
  const digits = body.slice(cut + 1)
  if (fraction !== 'none' && !/^\d+$/.test(digits)) return undefined
  return sign + plainInteger(whole.replace(/\D/g, '')) + (fraction === 'none' ? '' : `.${digits}`)
}

/** The character that begins the fraction, 'none' where every separator groups, undefined where that is open. */
function fractionMark(body: string, mark: DecimalMark | undefined): DecimalMark | 'none' | undefined {
  const separators = body.replace(/\d/g, '')
  const last = separators.at(-1)
  if (last === ' ' || last === "'") return 'none'
  if (last !== ',' && last !== '.') return undefined
  if (separators.length > 1) {
    // One more of the kind before it means grouping; another kind before it means that this one is the fraction.
    const found = separators.at(-2) === last ? 'none' : last
    return mark === undefined || (found === 'none' ? mark !== last : mark === last) ? found : undefined
  }
  const [whole = '', digits = ''] = body.split(last)
  if (digits.length === 3 && whole.length <= 3 && whole !== '0')
    return mark === undefined ? undefined : mark === last ? last : 'none'
  return mark === undefined || mark === last ? last : undefined
}

function plainInteger(digits: string): string {
  return digits.replace(/^0+(?=\d)/, '')
}

const CURRENCY = /€|EUR|USD|GBP|CHF|SEK|NOK|DKK|PLN|CZK|HUF|RON|JPY|CNY|CAD|AUD|[$£]/

/** An amount of money with or without its currency mark; at most two digits of fraction, as a total has them. */
export function parseAmount(text: string, mark?: DecimalMark): string | undefined {
  const bare = text.trim().replace(new RegExp(`^(-?) ?(?:${CURRENCY.source}) ?|\\s?(?:${CURRENCY.source})$`), '$1')
  const value = parseNumber(bare, mark)
  return value !== undefined && /^-?\d+(\.\d{2})?$/.test(value) ? value : undefined
}

/** The decimal mark of a document, where all its prices (two digits of fraction) agree on it. */
export function decimalMark(texts: readonly string[]): DecimalMark | undefined {
  const marks = new Set<string>()
  for (const text of texts) {
    for (const match of text.matchAll(/(?<![\d.,])\d{1,3}(?:[ .,']?\d{3})*([.,])\d{2}(?![\d.,])/g))
      marks.add(match[1] ?? '')
  }
  const [only] = marks
  return marks.size === 1 && (only === ',' || only === '.') ? only : undefined
}

/** A decimal string as a whole number of 10^-places, for exact arithmetic; the caller gives places enough. */
export function scaled(decimal: string, places: number): bigint {
  const [whole = '0', fraction = ''] = decimal.replace('-', '').split('.')
  if (fraction.length > places) throw new RangeError(`${decimal} has more than ${places} digits of fraction`)
  const value = BigInt(whole + fraction.padEnd(places, '0'))
  return decimal.startsWith('-') ? -value : value
}

/** Whether two decimals are the same number (10, 10.0 and 10.00 are). */
export function sameNumber(a: string, b: string): boolean {
  return scaled(a, 20) === scaled(b, 20)
}
