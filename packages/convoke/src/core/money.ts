import { ConvokeError } from './errors.ts'

// Money and other amounts travel as decimal strings and are added exactly: a double cannot hold 0.1. A decimal here is
// `-?digits(.digits)?`; results keep the larger scale of both, so '1.50' + '1' is '2.50'.

interface Scaled {
  readonly units: bigint
  readonly scale: number
}

const pattern = /^(-?)(\d{1,400})(?:\.(\d{1,400}))?$/

/** @throws INPUT_INVALID when either is not a decimal */
export function addDecimal(a: string, b: string): string {
  const [x, y, scale] = aligned(a, b)
  return print(x + y, scale)
}

/**
 * Negative when a < b, 0 when they are equal in value ('1.0' and '1'), positive when a > b.
 * @throws INPUT_INVALID when either is not a decimal
 */
export function compareDecimal(a: string, b: string): number {
  const [x, y] = aligned(a, b)
  return x < y ? -1 : x > y ? 1 : 0
}

function aligned(a: string, b: string): readonly [bigint, bigint, number] {
  const x = parse(a)
  const y = parse(b)
  const scale = Math.max(x.scale, y.scale)
  return [x.units * 10n ** BigInt(scale - x.scale), y.units * 10n ** BigInt(scale - y.scale), scale]
}

function parse(text: string): Scaled {
  const match = pattern.exec(text)
  if (match === null)
    throw new ConvokeError(
      'INPUT_INVALID',
      `${JSON.stringify(text.slice(0, 60))} is not a decimal such as "-1234.50"`,
      {
        next: 'write amounts as digits with a point, without separators or exponent',
      },
    )
  const [, sign = '', whole = '', fraction = ''] = match
  return { units: BigInt(`${sign}${whole}${fraction}`), scale: fraction.length }
}

function print(units: bigint, scale: number): string {
  const digits = String(units < 0n ? -units : units).padStart(scale + 1, '0')
  const sign = units < 0n ? '-' : ''
  return scale === 0 ? sign + digits : `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}
