import { readFileSync } from 'node:fs'
import type { Guardrail, GuardPoint, TextRule } from 'convoke'

/** How rules become a guardrail. */
export interface RailOptions {
  /** `secrets` or `personal-data` unless said. */
  readonly name?: string
  /** What becomes of what is found; redacted unless said. */
  readonly act?: TextRule['act']
  /** Everywhere unless said. */
  readonly at?: readonly GuardPoint[]
  /** Tool names with `*`; all tools unless said. */
  readonly tools?: string
  /** Roles whose models it is about, with `*`; all unless said. */
  readonly roles?: string
  /** Where it asks. */
  readonly asks?: { readonly category: string; readonly group?: string }
}

interface Manifest {
  readonly version: string
  readonly dependencies: Readonly<Record<string, string>>
}

const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as Manifest

/** A guardrail's version names this package, and so the rule sets that it was released with: they are pinned exactly. */
export function guardrail(name: string, rule: Omit<TextRule, 'act'>, options: RailOptions): Guardrail {
  const { act = 'redact', at, tools, roles, asks } = options
  return {
    name: options.name ?? name,
    version: manifest.version,
    text: { ...rule, act, ...(at === undefined ? {} : { at }) },
    ...(tools === undefined ? {} : { tools }),
    ...(roles === undefined ? {} : { roles }),
    ...(asks === undefined ? {} : { asks }),
  }
}
