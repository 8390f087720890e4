import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { SecretRef } from '../core/redact.ts'

// Owns: which secret values this process has resolved, per source of secrets, so that none of them is ever recorded.
// Invariant: a value is known here before anybody outside this file sees it.

/** Where secrets come from. */
export interface Secrets {
  get(name: string): string | undefined | Promise<string | undefined>
  /** How a person gives the secret a value. */
  hint?(name: string): string
}

/** `secret('erp-token')` is CONVOKE_SECRET_ERP_TOKEN. */
export function envSecrets(env: Readonly<Record<string, string | undefined>>): Secrets {
  const variable = (name: string): string => `CONVOKE_SECRET_${name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`
  return { get: (name) => env[variable(name)], hint: (name) => `set ${variable(name)}` }
}

const resolved = new WeakMap<Secrets, Map<string, string>>()

/** @throws SECRET_MISSING when the source has no value, or an empty one */
export async function resolveSecret(secrets: Secrets | undefined, name: string | SecretRef): Promise<string> {
  const key = typeof name === 'string' ? name : name.$secret
  const value = await secrets?.get(key)
  if (secrets === undefined || value === undefined || value === '')
    throw new ConvokeError('SECRET_MISSING', `secret ${JSON.stringify(key)} has no value`, {
      details: { secret: key },
      next: secrets?.hint?.(key) ?? 'give the app a source of secrets',
    })
  let known = resolved.get(secrets)
  if (known === undefined) resolved.set(secrets, (known = new Map()))
  for (const form of [value, encodeURIComponent(value), Buffer.from(value).toString('base64')])
    known.set(form, `[secret:${key}]`)
  return value
}

// Replacing one or two characters everywhere would tell more than it hides.
const shortest = 4

export function scrubText(secrets: Secrets | undefined, text: string): string {
  const known = secrets === undefined ? undefined : resolved.get(secrets)
  if (known === undefined) return text
  let out = text
  for (const [value, mark] of known) {
    if (value.length >= shortest) out = out.replaceAll(value, mark)
    else if (out === value) out = mark
  }
  return out
}

/** Replaces every secret that was ever resolved from this source, in values and in keys. */
export function scrub<T extends Json | undefined>(secrets: Secrets | undefined, value: T): T {
  if (secrets === undefined || !resolved.has(secrets)) return value
  return walk(secrets, value) as T
}

function walk(secrets: Secrets, value: Json | undefined): Json | undefined {
  if (typeof value === 'string') return scrubText(secrets, value)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item: Json) => walk(secrets, item) as Json)
  // Anything but plain data is refused later, with its own name.
  const proto: unknown = Object.getPrototypeOf(value)
  if (proto !== Object.prototype && proto !== null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [scrubText(secrets, key), walk(secrets, item as Json) as Json]),
  )
}
