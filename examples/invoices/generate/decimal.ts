/** Decimal arithmetic for the catalog: at most two fraction digits, exact, by way of hundredths. */

/** `'12.5'` → 1250. Throws a RangeError on anything that is not a decimal with at most two fraction digits. */
export function hundredths(decimal: string): number {
  const match = /^(-?)(\d{1,12})(?:\.(\d{1,2}))?$/.exec(decimal)
  if (match === null) throw new RangeError(`not a decimal with at most two fraction digits: ${decimal}`)
  const value = Number(match[2]) * 100 + Number((match[3] ?? '').padEnd(2, '0'))
  return match[1] === '-' && value !== 0 ? -value : value
}

/** 1250 → `'12.50'`. */
export function decimal(hundredths: number): string {
  const sign = hundredths < 0 ? '-' : ''
  const digits = String(Math.abs(hundredths)).padStart(3, '0')
  return `${sign}${digits.slice(0, -2)}.${digits.slice(-2)}`
}

/** Product of two decimals, rounded half away from zero to two fraction digits. */
export function times(a: string, b: string): string {
  return rounded(hundredths(a) * hundredths(b), 100)
}

export function sum(values: readonly string[]): string {
  return decimal(values.reduce((total, value) => total + hundredths(value), 0))
}

/** `percent` of an amount, rounded half away from zero: the tax of one rate is taken once, from its basis. */
export function percentOf(amount: string, percent: string): string {
  return rounded(hundredths(amount) * hundredths(percent), 10_000)
}

function rounded(value: number, divisor: number): string {
  const hundredths = Math.floor(Math.abs(value) / divisor + 0.5)
  return decimal(value < 0 && hundredths !== 0 ? -hundredths : hundredths)
}

/** A date so many days later; both YYYY-MM-DD. */
export function plusDays(date: string, days: number): string {
  return new Date(Date.parse(`${date}T00:00:00Z`) + days * 86_400_000).toISOString().slice(0, 10)
}
