/** Money is integer minor units inside and a string of decimals on the wire; quantities are integer thousandths. */

const fractionDigits = new Map<string, number>()

/** Digits after the point of an ISO 4217 currency: 2 for EUR, 0 for JPY. Unknown but well-formed codes have 2. */
export function minorDigits(currency: string): number {
  let digits = fractionDigits.get(currency)
  if (digits === undefined) {
    digits = new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits ?? 2
    fractionDigits.set(currency, digits)
  }
  return digits
}

/** `'1190.00'` EUR → 119000; undefined where it is no decimal or has more digits than the currency. */
export function toMinor(decimal: string, currency: string): number | undefined {
  return parse(decimal, minorDigits(currency))
}

/** 119000 EUR → `'1190.00'`. */
export function fromMinor(minor: number, currency: string): string {
  return print(minor, minorDigits(currency))
}

/** `'2.5'` → 2500. */
export function toThousandths(decimal: string): number | undefined {
  return parse(decimal, 3)
}

/** 2500 → `'2.5'`, 100000 → `'100'`. */
export function fromThousandths(thousandths: number): string {
  return print(thousandths, 3).replace(/\.?0+$/, '')
}

function parse(decimal: string, digits: number): number | undefined {
  // Twelve digits before the point and three behind it stay below 2^53.
  const match = /^(-?)(\d{1,12})(?:\.(\d+))?$/.exec(decimal)
  const fraction = (match?.[3] ?? '').replace(/0+$/, '')
  if (match === null || fraction.length > digits) return undefined
  const value = Number(`${match[2] ?? ''}${fraction.padEnd(digits, '0')}`)
  return match[1] === '-' && value !== 0 ? -value : value
}

function print(value: number, digits: number): string {
  const text = String(Math.abs(value)).padStart(digits + 1, '0')
  const sign = value < 0 ? '-' : ''
  return digits === 0 ? `${sign}${text}` : `${sign}${text.slice(0, -digits)}.${text.slice(-digits)}`
}
