import { canonicalize, decode } from '../core/canonical.ts'
import type { Json, JsonObject } from '../core/json.ts'

// Rules about text, and what is made of a text or of data by what they find. Pure.

/** A piece of a text that a rule is about; offsets in UTF-16 units, the end excluded. */
export interface Finding {
  readonly start: number
  readonly end: number
  /** What it is, in a word or two; never the text itself, since it is recorded. */
  readonly kind: string
}

/** Where a rule looks: arguments, results, what a model is shown, what it writes. */
export type GuardPoint = 'input' | 'output' | 'prompt' | 'answer'

/** A rule that finds pieces in text. Also looks at streams, piece by piece. */
export interface TextRule {
  /** Must say the same of the same text, in time linear in it. */
  readonly find: (text: string) => readonly Finding[]
  /** What is found is at most this long, and depends on at most as much text on either side. In UTF-16 units. */
  readonly reach: number
  /** Where something may have begun that is longer than `reach` and has not ended; a stream waits from there. */
  readonly open?: (text: string) => number | undefined
  /** What becomes of what is found. */
  readonly act: 'redact' | 'ask' | 'deny'
  /** Everywhere unless said. */
  readonly at?: readonly GuardPoint[]
}

/** What a rule finds in a text, and in what the text says once its JSON escapes are read. Sorted; may overlap. */
export function findIn(rule: Pick<TextRule, 'find'>, text: string): readonly Finding[] {
  const plain = rule.find(text).filter(({ start, end }) => start < end)
  if (!text.includes('\\')) return [...plain].sort(byStart)
  const { said, at } = unescaped(text)
  const inside = rule
    .find(said)
    .map(({ start, end, kind }) => ({ start: at[start] ?? 0, end: at[end] ?? text.length, kind }))
  // Half an escape would leave the other half to spoil the text.
  const whole = plain.map(({ start, end, kind }) => ({ start: floor(at, start), end: ceil(at, end), kind }))
  return [...whole, ...inside.filter(({ start, end }) => start < end)].sort(byStart)
}

const byStart = (a: Finding, b: Finding): number => a.start - b.start || b.end - a.end

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f' }

/** The text with its JSON escapes read, and for each place in it (and its end) where that stands in the text. */
function unescaped(text: string): { readonly said: string; readonly at: readonly number[] } {
  const at: number[] = []
  let said = ''
  for (let i = 0; i < text.length;) {
    at.push(i)
    const next = text[i + 1]
    if (text[i] !== '\\' || next === undefined) {
      said += text[i++]
      continue
    }
    const hex = next === 'u' ? /^[0-9a-fA-F]{4}/.exec(text.slice(i + 2, i + 6))?.[0] : undefined
    said += hex === undefined ? (escapes[next] ?? next) : String.fromCharCode(Number.parseInt(hex, 16))
    i += hex === undefined ? 2 : 6
  }
  at.push(text.length)
  return { said, at }
}

/** The last place that is not behind `offset`, and the first that is not before it: `at` rises. */
function floor(at: readonly number[], offset: number): number {
  let low = 0
  let high = at.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((at[middle] as number) <= offset) low = middle
    else high = middle - 1
  }
  return at[low] as number
}
function ceil(at: readonly number[], offset: number): number {
  const low = floor(at, offset)
  return low === offset ? offset : (at[at.indexOf(low) + 1] ?? offset)
}

/** Joins what overlaps or touches; the first kind names the whole. */
export function merged(findings: readonly Finding[]): readonly Finding[] {
  const out: Finding[] = []
  for (const finding of [...findings].sort(byStart)) {
    const last = out.at(-1)
    if (last !== undefined && finding.start < last.end)
      out[out.length - 1] = { ...last, end: Math.max(last.end, finding.end) }
    else out.push(finding)
  }
  return out
}

/** What stands where something was found. */
export function replacement(kind: string): string {
  return `[redacted:${kind.toLowerCase().replace(/[^a-z0-9]+/g, '-')}]`
}

/** The text between two offsets with everything found in it replaced; what begins before them leaves no second mark. */
export function redactText(
  text: string,
  findings: readonly Finding[],
  { from = 0, to = text.length }: { readonly from?: number; readonly to?: number } = {},
): string {
  let out = ''
  let done = from
  for (const { start, end, kind } of merged(findings)) {
    if (end <= from || start >= to) continue
    if (start >= from) out += text.slice(done, start) + replacement(kind)
    done = Math.min(end, to)
  }
  return out + text.slice(done, to)
}

/** Whole numbers of this many digits may be an account or a card. */
const tellingDigits = 8

/**
 * Redacts data: each text, name of a member and long number by itself, and then the JSON text of it all, where a rule
 * needs a member's name to know its value. `left` says what no redaction reaches without breaking the data.
 */
export function redactJson(
  rule: Pick<TextRule, 'find'>,
  value: Json,
): { readonly value: Json; readonly found: readonly Finding[]; readonly left: readonly Finding[] } {
  const found: Finding[] = []
  const inText = (text: string): string => {
    const findings = findIn(rule, text)
    if (findings.length === 0) return text
    found.push(...findings)
    return redactText(text, findings)
  }
  const walk = (item: Json): Json => {
    if (typeof item === 'string') return inText(item)
    if (typeof item === 'number') {
      const text = String(item)
      if (!Number.isInteger(item) || text.length < tellingDigits) return item
      const hidden = inText(text)
      return hidden === text ? item : hidden
    }
    if (typeof item !== 'object' || item === null) return item
    if (Array.isArray(item)) return (item as readonly Json[]).map(walk)
    // fromEntries defines members, so `__proto__` is just a key.
    return Object.fromEntries(Object.entries(item as JsonObject).map(([name, one]) => [inText(name), walk(one)]))
  }
  const walked = walk(value)
  if (typeof value !== 'object' || value === null)
    return { value: found.length === 0 ? value : walked, found, left: [] }
  const text = canonicalize(found.length === 0 ? value : walked)
  const more = findIn(rule, text)
  if (more.length === 0) return { value: found.length === 0 ? value : walked, found, left: [] }
  found.push(...more)
  try {
    const again = decode(redactText(text, more))
    return { value: again, found, left: findIn(rule, canonicalize(again)) }
  } catch {
    return { value: walked, found, left: more }
  }
}

/** What was found, counted by kind: `2 email, 1 npm token`. */
export function told(findings: readonly Finding[]): string {
  const counts = new Map<string, number>()
  for (const { kind } of merged(findings)) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return [...counts].map(([kind, count]) => `${count} ${kind}`).join(', ')
}
