import { ConvokeError } from '../core/errors.ts'
import { deepFreeze } from '../core/canonical.ts'
import type { Json } from '../core/json.ts'

/** Who is asked when, if nobody decides. */
export interface Escalation {
  readonly group: string
  /** Milliseconds after the request, or after the escalation before this one. */
  readonly afterMs: number
}

/** A call waits for a person. */
export interface Hold {
  readonly category: string
  readonly group?: string
  /** Milliseconds from the request after which the approval lapses, decided or not; never unless said. */
  readonly expiresMs?: number
  readonly escalate?: readonly Escalation[]
}

export interface PolicyRule {
  /** Tool names; `*` stands for any run of characters. */
  readonly tool: string
  readonly when?: (input: Json) => boolean
  readonly hold: Hold
}

export interface Policy {
  /** An approval holds under the version it was asked for only (R10). */
  readonly version: string
  readonly rules: readonly PolicyRule[]
  /** What `{ approval: category }` means: who is asked, and for how long. */
  readonly categories?: Readonly<Record<string, Omit<Hold, 'category'>>>
}

/** @throws DEFINITION_INVALID without a version, or for an escalation without a time */
export function policy(definition: Policy): Policy {
  const wrong = (why: string): ConvokeError => new ConvokeError('DEFINITION_INVALID', `policy: ${why}`)
  if (typeof definition.version !== 'string' || definition.version === '') throw wrong('it needs a version')
  for (const rule of definition.rules) {
    if (typeof rule.tool !== 'string' || rule.tool === '') throw wrong('a rule names no tool')
    if (typeof rule.hold?.category !== 'string') throw wrong(`the rule for ${rule.tool} has no category`)
    for (const step of rule.hold.escalate ?? [])
      if (!(step.afterMs > 0) || step.group === '') throw wrong(`the rule for ${rule.tool} escalates without a time`)
  }
  return Object.freeze({
    ...definition,
    rules: Object.freeze(
      definition.rules.map((rule) =>
        Object.freeze({ ...rule, hold: deepFreeze({ ...rule.hold } as unknown as Json) as unknown as Hold }),
      ),
    ),
  })
}

export const noPolicy: Policy = Object.freeze({ version: 'none', rules: Object.freeze([]) })

/** Whether a name fits a pattern in which `*` stands for any run of characters. */
export function matches(pattern: string, name: string): boolean {
  if (!pattern.includes('*')) return pattern === name
  const parts = pattern.split('*')
  const first = parts[0] as string
  const last = parts[parts.length - 1] as string
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false
  let at = first.length
  const end = name.length - last.length
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at)
    if (found < 0 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}

/** Why a call is held: a policy's rule, the caller's option, a guardrail, or a fork (R9). */
export interface HoldReason extends Hold {
  readonly kind: 'call' | 'held-effect'
  readonly by: string
}

/** Tells holds apart: one approval answers all holds of a category and group. */
export function holdKey(hold: HoldReason): string {
  return `${hold.kind}/${hold.category}/${hold.group ?? ''}`
}

/**
 * What the policy and the caller ask for. The first rule that matches speaks for the policy; a predicate that throws
 * holds the call (fail closed). The caller's category adds nothing when the policy already asks for it.
 */
export function holdsOf(policy: Policy, tool: string, input: Json, asked: string | undefined): HoldReason[] {
  const holds: HoldReason[] = []
  for (const [i, rule] of policy.rules.entries()) {
    if (!matches(rule.tool, tool)) continue
    let applies = true
    try {
      applies = rule.when === undefined || rule.when(input)
    } catch {
      applies = true
    }
    if (!applies) continue
    holds.push({ ...rule.hold, kind: 'call', by: `policy ${policy.version}, rule ${i + 1} (${rule.tool})` })
    break
  }
  if (asked !== undefined && !holds.some((h) => h.category === asked))
    holds.push({ ...policy.categories?.[asked], category: asked, kind: 'call', by: `the call asks for ${asked}` })
  return holds
}
