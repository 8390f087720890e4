// Exact arithmetic on strings of decimals, scaled to bigint.

const scale = 8
const unit = 10n ** BigInt(scale)

function parse(text: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d{1,8}))?$/.exec(text)
  if (match === null) throw new RangeError(`${text} is not a decimal`)
  const value = BigInt(match[2] as string) * unit + BigInt((match[3] ?? '').padEnd(scale, '0'))
  return match[1] === '-' ? -value : value
}

function print(value: bigint, digits: number): string {
  const step = 10n ** BigInt(scale - digits)
  const half = step / 2n
  const rounded = (value < 0n ? value - half : value + half) / step
  const sign = rounded < 0n ? '-' : ''
  const text = (rounded < 0n ? -rounded : rounded).toString().padStart(digits + 1, '0')
  return digits === 0 ? sign + text : `${sign}${text.slice(0, -digits)}.${text.slice(-digits)}`
}

export function add(...parts: readonly string[]): string {
  return print(
    parts.map(parse).reduce((sum, part) => sum + part, 0n),
    2,
  )
}

/** Rounded half away from zero to two digits, as invoices do. */
export function times(a: string, b: string): string {
  return print((parse(a) * parse(b)) / unit, 2)
}

export function percentOf(base: string, percent: string): string {
  return print((parse(base) * parse(percent)) / unit / 100n, 2)
}

export function compare(a: string, b: string): number {
  const difference = parse(a) - parse(b)
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

export function equal(a: string, b: string): boolean {
  return compare(a, b) === 0
}

/** Whether two amounts differ by no more than what rounding of lines may add up to. */
export function close(a: string, b: string, tolerance = '0.02'): boolean {
  const difference = parse(a) - parse(b)
  const bound = parse(tolerance)
  return difference <= bound && -difference <= bound
}

export function isDecimal(text: string | undefined): text is string {
  return text !== undefined && /^-?\d+(\.\d{1,8})?$/.test(text)
}
