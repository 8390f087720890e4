import { ConvokeError, isConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { SecretRef } from '../core/redact.ts'
import type { Secrets } from '../ports/secrets.ts'

export type { Secrets } from '../ports/secrets.ts'

// Owns: which secret values this process has resolved, per source of secrets, so that none of them is ever recorded.
// Invariants: a value is known here before anybody outside this file sees it; it is known in every form in which it is
// likely to come back.

/** `secret('erp-token')` is CONVOKE_SECRET_ERP_TOKEN. */
export function envSecrets(env: Readonly<Record<string, string | undefined>>): Secrets {
  const variable = (name: string): string => `CONVOKE_SECRET_${name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`
  return { get: (name) => env[variable(name)], hint: (name) => `set ${variable(name)}` }
}

/** Asks one source after the other. */
export function firstOf(...sources: readonly Secrets[]): Secrets {
  return {
    async get(name) {
      for (const source of sources) {
        const value = await source.get(name)
        if (value !== undefined && value !== '') return value
      }
      return undefined
    },
    hint: (name) => sources.flatMap((source) => source.hint?.(name) ?? []).join(', or '),
  }
}

interface Known {
  /** What stands in the place of each form of each value. The newest last. */
  readonly marks: Map<string, string>
  /** All forms that are long enough to be looked for inside of text, the longest first; made when needed. */
  pattern: RegExp | undefined
}

const resolved = new WeakMap<Secrets, Known>()

/** Access tokens come and go; the oldest of so many have long expired. */
const mostForms = 8_000
/** Replacing one or two characters everywhere would tell more than it hides. */
const shortest = 4

/** @throws SECRET_MISSING when the source has no value, an empty one, or fails */
export async function resolveSecret(secrets: Secrets | undefined, name: string | SecretRef): Promise<string> {
  const key = typeof name === 'string' ? name : name.$secret
  let value: string | undefined
  let failure: unknown
  try {
    value = await secrets?.get(key)
  } catch (error) {
    // What a source says may quote what it holds.
    if (isConvokeError(error)) throw error
    failure = error
  }
  if (secrets === undefined || typeof value !== 'string' || value === '')
    throw new ConvokeError(
      'SECRET_MISSING',
      failure === undefined
        ? `secret ${JSON.stringify(key)} has no value`
        : `the source of secrets failed when it was asked for ${JSON.stringify(key)}`,
      { details: { secret: key }, next: secrets?.hint?.(key) ?? 'give the app a source of secrets' },
    )
  conceal(secrets, value, key)
  return value
}

/** Makes a value known, so that it is kept out of whatever leaves a call. */
export function conceal(secrets: Secrets | undefined, value: string, name: string): void {
  if (secrets === undefined || value === '') return
  let known = resolved.get(secrets)
  if (known === undefined) resolved.set(secrets, (known = { marks: new Map(), pattern: undefined }))
  const mark = `[secret:${name}]`
  if (known.marks.get(value) === mark) return
  for (const form of formsOf(value)) known.marks.set(form, mark)
  for (const oldest of known.marks.keys()) {
    if (known.marks.size <= mostForms) break
    known.marks.delete(oldest)
  }
  known.pattern = undefined
}

function formsOf(value: string): readonly string[] {
  const bytes = Buffer.from(value, 'utf8')
  const base64 = bytes.toString('base64')
  const percent = encodeURIComponent(value)
  const forms = [
    value,
    percent,
    percent.replace(/%[0-9A-F]{2}/g, (hex) => hex.toLowerCase()),
    new URLSearchParams({ v: value }).toString().slice(2),
    JSON.stringify(value).slice(1, -1),
    ...(value.length < shortest
      ? []
      : [base64, base64.replace(/=+$/, ''), bytes.toString('base64url'), bytes.toString('hex')]),
  ]
  // What every base64 text holds that has the value inside of it, at whatever offset: a Basic header, a token's payload.
  if (bytes.length >= 9) {
    if (base64.endsWith('=')) forms.push(base64.replace(/=+$/, '').slice(0, -1))
    for (const before of [1, 2]) {
      const shifted = Buffer.concat([Buffer.alloc(before), bytes])
        .toString('base64')
        .replace(/=+$/, '')
      const inner = shifted.slice(before === 1 ? 2 : 3, shifted.length - (shifted.length % 4 === 0 ? 0 : 1))
      forms.push(inner, inner.replaceAll('+', '-').replaceAll('/', '_'))
    }
  }
  return forms
}

function patternOf(known: Known): RegExp {
  known.pattern ??= new RegExp(
    [...known.marks.keys()]
      .filter((form) => form.length >= shortest)
      .sort((a, b) => b.length - a.length)
      .map((form) => form.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'))
      .join('|') || '(?!)',
    'g',
  )
  return known.pattern
}

export function scrubText(secrets: Secrets | undefined, text: string): string {
  const known = secrets === undefined ? undefined : resolved.get(secrets)
  if (known === undefined) return text
  const whole = text.length < shortest ? known.marks.get(text) : undefined
  return whole ?? text.replace(patternOf(known), (form) => known.marks.get(form) ?? '[secret]')
}

/** Replaces every secret that was ever resolved from this source, in values and in keys. */
export function scrub<T extends Json | undefined>(secrets: Secrets | undefined, value: T): T {
  if (secrets === undefined || !resolved.has(secrets)) return value
  return walk(secrets, value) as T
}

/** Gives the value itself where nothing is to be hidden. */
function walk(secrets: Secrets, value: Json | undefined): Json | undefined {
  if (typeof value === 'string') return scrubText(secrets, value)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    const items = (value as readonly Json[]).map((item) => walk(secrets, item) as Json)
    return items.some((item, i) => item !== value[i]) ? items : value
  }
  // Anything but plain data is refused later, with its own name.
  const proto: unknown = Object.getPrototypeOf(value)
  if (proto !== Object.prototype && proto !== null) return value
  let changed = false
  const entries = Object.entries(value).map(([key, item]) => {
    const [name, part] = [scrubText(secrets, key), walk(secrets, item as Json) as Json]
    changed ||= name !== key || part !== item
    return [name, part] as const
  })
  return changed ? Object.fromEntries(entries) : value
}

/**
 * The second net, before every append and for everything that is watched: what got past a call's own scrubbing, whatever
 * the way, is not written either.
 */
export function scrubbing(secrets: Secrets): (value: Json) => Json {
  return (value) => scrub(secrets, value)
}
