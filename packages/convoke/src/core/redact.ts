import type { Json, JsonObject } from './json.ts'

// Nothing secret is ever appended. A secret travels as a reference that only the transport resolves; and before every
// append the record's payload passes the app's redaction, in case one is in there anyway.

/** Stands for a secret's value wherever plain data goes. */
export interface SecretRef extends JsonObject {
  readonly $secret: string
}

export function secret(name: string): SecretRef {
  return Object.freeze({ $secret: name })
}

export function isSecretRef(value: unknown): value is SecretRef {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    typeof (value as { $secret?: unknown }).$secret === 'string' &&
    Object.keys(value).length === 1
  )
}

/** What is known of the place a value is about to be written to; where a caller knows less, fields are absent. */
export interface RedactionPlace {
  readonly tenant?: string
  readonly stream?: string
  readonly type?: string
  readonly path?: string
}

/** Returns the value itself where nothing is to be hidden. Must be deterministic, and must not throw. */
export type Redact = (value: Json, at: RedactionPlace) => Json

export type RedactionRule =
  | Redact
  /** Members of these names, at any depth, whatever they hold; upper and lower case are the same. */
  | { readonly keys: readonly string[]; readonly replacement?: string }
  /** Every match in any string, names of members apart. Choose patterns without nested repetition: they see all text. */
  | { readonly pattern: RegExp; readonly replacement?: string }

const hidden = '[redacted]'
const maxDepth = 500

/** One hook out of many rules, applied in order. Secret references pass untouched. */
export function redactor(rules: readonly RedactionRule[]): Redact {
  const hooks = rules.map(hookOf)
  return (value, at) => hooks.reduce((current, hook) => hook(current, at), value)
}

function hookOf(rule: RedactionRule): Redact {
  if (typeof rule === 'function') return rule
  const replacement = rule.replacement ?? hidden
  if ('keys' in rule) {
    const names = new Set(rule.keys.map((key) => key.toLowerCase()))
    return (value) =>
      walk(value, 0, (item, key) => (key !== undefined && names.has(key.toLowerCase()) ? replacement : item))
  }
  const { source, flags } = rule.pattern
  const pattern = new RegExp(source, flags.replace(/[gy]/g, '') + 'g')
  return (value) =>
    walk(value, 0, (item) => (typeof item === 'string' ? item.replace(pattern, () => replacement) : item))
}

/** Rebuilds only what a change lies in. What is nested deeper than canonical JSON allows is refused later anyway. */
function walk(value: Json, depth: number, change: (item: Json, key?: string) => Json): Json {
  if (typeof value !== 'object' || value === null) return change(value)
  if (depth >= maxDepth || isSecretRef(value)) return value
  if (Array.isArray(value)) {
    const items = value as readonly Json[]
    let out: Json[] | undefined
    for (let i = 0; i < items.length; i++) {
      const next = walk(items[i] as Json, depth + 1, change)
      if (next !== items[i]) (out ??= [...items])[i] = next
    }
    return out ?? value
  }
  let out: Record<string, Json> | undefined
  for (const [key, item] of Object.entries(value)) {
    if (isSecretRef(item)) continue
    const replaced = change(item, key)
    const next = replaced === item && typeof item === 'object' ? walk(item, depth + 1, change) : replaced
    if (next !== item) define((out ??= shallow(value as JsonObject)), key, next)
  }
  return out ?? value
}

function shallow(value: JsonObject): Record<string, Json> {
  const out: Record<string, Json> = {}
  for (const [key, item] of Object.entries(value)) define(out, key, item)
  return out
}

/** `__proto__` is just a key, which only a definition makes it. */
function define(target: Record<string, Json>, key: string, value: Json): void {
  if (key === '__proto__')
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true })
  else target[key] = value
}
