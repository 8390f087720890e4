import { canonicalize } from './canonical.ts'
import { ConvokeError } from './errors.ts'
import type { Json } from './json.ts'
import { compareDecimal } from './money.ts'

/**
 * What one place of some arguments must be like. As data, so that grants, policies and sinks can be shown, hashed and
 * compared. All that is said must hold.
 */
export interface Constraint {
  /**
   * JSON Pointer (RFC 6901) into the arguments; a segment `*` stands for every item or member, and every one of them must
   * hold (none is fine).
   */
  readonly at: string
  readonly in?: readonly Json[]
  /** A regular expression that the whole text must fit. */
  readonly matches?: string
  /** An e-mail address at exactly one of these domains, in ASCII and without a display name. */
  readonly domains?: readonly string[]
  /** Bounds, inclusive; of numbers and of decimals written as text. */
  readonly max?: number | string
  readonly min?: number | string
  /** UTF-16 code units of a text. */
  readonly maxLength?: number
  /** `date` is a calendar date or a date with a time, ISO 8601. */
  readonly type?: 'boolean' | 'date' | 'number' | 'string'
  /** Nothing may stand there. */
  readonly absent?: true
  /** May be missing; a place that is missing fails otherwise. `null` counts as missing. */
  readonly optional?: true
}

export interface Violation {
  readonly pointer: string
  readonly why: string
  /** The place could not be judged: missing, or of another type. */
  readonly unclear?: true
}

const longest = 10_000

/** @throws DEFINITION_INVALID for a bad pointer, expression or bound */
export function assertConstraint(c: Constraint, where: string): void {
  const wrong = (why: string): ConvokeError =>
    new ConvokeError('DEFINITION_INVALID', `${where}: the constraint at ${JSON.stringify(c?.at)} ${why}`, {
      next: 'see docs/governance.md for what a constraint may say',
    })
  if (typeof c?.at !== 'string' || (c.at !== '' && !c.at.startsWith('/'))) throw wrong('needs a JSON Pointer')
  if (c.matches !== undefined) {
    try {
      anchored(c.matches)
    } catch {
      throw wrong('is no regular expression')
    }
  }
  for (const bound of [c.max, c.min])
    if (bound !== undefined && decimalOf(bound) === undefined) throw wrong('has a bound that is no number')
  const said = ['in', 'matches', 'domains', 'max', 'min', 'maxLength', 'type', 'absent'] as const
  if (!said.some((key) => c[key] !== undefined)) throw wrong('says nothing')
  const known = new Set<string>([...said, 'at', 'optional', 'named'])
  const other = Object.keys(c).find((key) => !known.has(key))
  if (other !== undefined) throw wrong(`says ${JSON.stringify(other)}, which nobody knows`)
}

/** The first place that does not hold; undefined when all do. */
export function violation(value: Json, c: Constraint): Violation | undefined {
  for (const place of places(value, c.at)) {
    if (place.misfit !== undefined) return { pointer: place.pointer, why: place.misfit, unclear: true }
    const its = judge(place.value, c)
    if (its !== undefined) return { pointer: place.pointer, ...its }
  }
  return undefined
}

export interface Place {
  readonly pointer: string
  /** Undefined where nothing stands. */
  readonly value: Json | undefined
  /** The value does not have the shape that the pointer expects. */
  readonly misfit?: string
}

/** Where a pointer with `*` leads in a value. Nothing under a missing `*` is no place at all. */
export function places(value: Json, pointer: string): Place[] {
  const found: Place[] = []
  const parts = segments(pointer)
  const visit = (item: Json | undefined, i: number, at: string): void => {
    const part = parts[i]
    if (part === undefined) {
      found.push({ pointer: at, value: item })
      return
    }
    const holds = typeof item === 'object' && item !== null
    if (part === '*') {
      if (item === undefined || item === null) return
      if (!holds) found.push({ pointer: at, value: item, misfit: 'is no list' })
      else
        for (const [key, inner] of Object.entries(item as Record<string, Json>))
          visit(inner, i + 1, `${at}/${escape(key)}`)
      return
    }
    const own = holds && Object.hasOwn(item, part)
    visit(own ? (item as Record<string, Json>)[part] : undefined, i + 1, `${at}/${escape(part)}`)
  }
  visit(value, 0, '')
  return found
}

/** Every scalar in a value, with its pointer. */
export function leaves(value: Json): Place[] {
  const found: Place[] = []
  const visit = (item: Json, at: string): void => {
    if (typeof item !== 'object' || item === null) found.push({ pointer: at, value: item })
    else for (const [key, inner] of Object.entries(item)) visit(inner as Json, `${at}/${escape(key)}`)
  }
  visit(value, '')
  return found
}

/** Whether a pointer with `*` names this place. */
export function names(pattern: string, pointer: string): boolean {
  const a = segments(pattern)
  const b = segments(pointer)
  return a.length === b.length && a.every((part, i) => part === '*' || part === b[i])
}

function judge(value: Json | undefined, c: Constraint): Omit<Violation, 'pointer'> | undefined {
  if (value === undefined || value === null) {
    if (c.absent === true || c.optional === true) return undefined
    return { why: 'is missing', unclear: true }
  }
  if (c.absent === true) return { why: 'may not be given' }
  if (c.type !== undefined && !isOf(value, c.type)) return { why: `is no ${c.type}`, unclear: true }
  if (c.in !== undefined) {
    const text = canonicalize(value)
    if (!c.in.some((one) => canonicalize(one) === text)) return { why: `is not one of ${listed(c.in)}` }
  }
  if (c.max !== undefined || c.min !== undefined) {
    const its = decimalOf(value)
    if (its === undefined) return { why: 'is no number', unclear: true }
    if (c.max !== undefined && compareDecimal(its, decimalOf(c.max) as string) > 0)
      return { why: `is more than ${c.max}` }
    if (c.min !== undefined && compareDecimal(its, decimalOf(c.min) as string) < 0)
      return { why: `is less than ${c.min}` }
  }
  if (c.matches === undefined && c.domains === undefined && c.maxLength === undefined) return undefined
  if (typeof value !== 'string') return { why: 'is no text', unclear: true }
  if (value.length > Math.min(longest, c.maxLength ?? longest))
    return { why: `is longer than ${c.maxLength ?? longest}` }
  if (c.matches !== undefined && !anchored(c.matches).test(value)) return { why: `does not fit ${c.matches}` }
  if (c.domains !== undefined && !atDomain(value, c.domains))
    return { why: `is no address at ${c.domains.join(' or ')}` }
  return undefined
}

const compiled = new Map<string, RegExp>()

function anchored(source: string): RegExp {
  let made = compiled.get(source)
  if (made === undefined) compiled.set(source, (made = new RegExp(`^(?:${source})$`, 'su')))
  return made
}

/** RFC 5321 in its plain form: whatever could be read as a second address, a comment or a name is refused. */
function atDomain(text: string, domains: readonly string[]): boolean {
  const match = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@([A-Za-z0-9.-]{1,255})$/.exec(text)
  return match !== null && domains.some((domain) => domain.toLowerCase() === (match[1] as string).toLowerCase())
}

function isOf(value: Json, type: NonNullable<Constraint['type']>): boolean {
  return type === 'date' ? isDate(value) : typeof value === type
}

/** A calendar date, with a time of day or not; nothing else fits in the text. */
function isDate(value: Json): boolean {
  if (typeof value !== 'string') return false
  const match =
    /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:\d{2})?)?$/.exec(value)
  if (match === null) return false
  const [, y, m, d, h = '0', min = '0', s = '0'] = match
  const month = Number(m)
  const days =
    month === 2 && (Number(y) % 4 !== 0 || (Number(y) % 100 === 0 && Number(y) % 400 !== 0)) ? 28 : lengths[month - 1]
  return (
    days !== undefined && Number(d) >= 1 && Number(d) <= days && Number(h) < 24 && Number(min) < 60 && Number(s) < 61
  )
}

const lengths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

function decimalOf(value: Json): string | undefined {
  const text = typeof value === 'number' ? plain(value) : value
  return typeof text === 'string' && /^-?\d{1,400}(\.\d{1,400})?$/.test(text) ? text : undefined
}

/** A number's digits without an exponent. */
function plain(value: number): string {
  const text = String(value)
  if (!text.includes('e')) return text
  return Number.isInteger(value) ? BigInt(value).toString() : text
}

function listed(values: readonly Json[]): string {
  const text = values
    .slice(0, 5)
    .map((v) => canonicalize(v))
    .join(', ')
  return values.length > 5 ? `${text} and ${values.length - 5} more` : text
}

function segments(pointer: string): string[] {
  if (pointer === '') return []
  return pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function escape(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1')
}
