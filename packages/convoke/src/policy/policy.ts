import { assertConstraint, type Constraint } from '../core/constraint.ts'
import { canonicalize } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json } from '../core/json.ts'

/** Who is asked when, if nobody decides. */
export interface Escalation {
  readonly group: string
  /** Milliseconds after the request, or after the escalation before this one. */
  readonly afterMs: number
}

/** Who is asked, and how. */
export interface Asking {
  readonly group?: string
  /** Milliseconds from the request after which the approval lapses, decided or not; never unless said. */
  readonly expiresMs?: number
  readonly escalate?: readonly Escalation[]
  /** So many different people have to agree; 1 unless said. */
  readonly quorum?: number
  /** Whoever started the run may not decide about it. */
  readonly fourEyes?: boolean
}

/** A call waits for a person. */
export interface Hold extends Asking {
  readonly category: string
}

/** A call goes ahead after a time within which a person may stop it. */
export interface Delay extends Pick<Asking, 'group'> {
  readonly category: string
  /** Milliseconds from the request. */
  readonly ms: number
}

/** Which calls a rule is about. All that is said must hold; a list means any of it. `*` in names stands for anything. */
export interface Condition {
  /** Tool names. */
  readonly tool?: string | readonly string[]
  /** Categories of the tool, or the one that the call was made under. */
  readonly category?: string | readonly string[]
  readonly role?: string | readonly string[]
  /** Effect classes. */
  readonly effect?: string | readonly string[]
  /** The app's own name for where it runs, such as `production`. */
  readonly environment?: string | readonly string[]
  /** What the arguments are like. */
  readonly when?: readonly Constraint[] | ((input: Json) => boolean)
  /** Labels of what the call rests on; of a list of confidentiality labels or sources, any. */
  readonly labels?: {
    readonly integrity?: 'trusted' | 'untrusted'
    readonly confidentiality?: readonly string[]
    readonly sources?: readonly string[]
  }
}

/** Exactly one of `allow`, `tell`, `delay`, `hold` and `deny` is said. */
export interface PolicyRule extends Condition {
  /** Names the rule in records and answers; its position unless said. */
  readonly id?: string
  readonly allow?: true
  /** Allowed, and the group is told. */
  readonly tell?: { readonly group: string }
  readonly delay?: Delay
  readonly hold?: Hold
  /** Why not. */
  readonly deny?: string
}

/** How a category earns trust: after so many approvals in a row without a correction, people are told instead of asked. */
export interface Trust {
  readonly after: number
}

/** What is the same for all calls of a category. */
export interface Category extends Asking {
  readonly trust?: Trust
}

export interface Policy {
  /** An approval holds under the version it was asked for only (R10). */
  readonly version: string
  readonly rules: readonly PolicyRule[]
  /** What `{ approval: category }` means, and what holds of the category are like where their rule says nothing. */
  readonly categories?: Readonly<Record<string, Category>>
  /** What no rule speaks about; `allow` unless said. */
  readonly otherwise?: 'allow' | 'deny'
  /** Who belongs to a group. Where a group is listed, nobody else's decision counts. */
  readonly groups?: Readonly<Record<string, readonly string[]>>
}

const outcomes = ['allow', 'tell', 'delay', 'hold', 'deny'] as const

/** @throws DEFINITION_INVALID without a version, for a rule without an outcome or with two, or an escalation without a time */
export function policy(definition: Policy): Policy {
  const wrong = (why: string): ConvokeError =>
    new ConvokeError('DEFINITION_INVALID', `policy: ${why}`, { next: 'see docs/governance.md' })
  if (typeof definition.version !== 'string' || definition.version === '') throw wrong('it needs a version')
  const names = new Set<string>()
  for (const [i, rule] of definition.rules.entries()) {
    const name = nameOf(rule, i)
    if (rule.id !== undefined && names.has(rule.id)) throw wrong(`two rules are named ${rule.id}`)
    if (rule.id !== undefined) names.add(rule.id)
    if (outcomes.filter((o) => rule[o] !== undefined).length !== 1)
      throw wrong(`${name} must say one of ${outcomes.join(', ')}`)
    if (!conditions.some((key) => rule[key] !== undefined)) throw wrong(`${name} names no tool and no other condition`)
    if (Array.isArray(rule.when))
      for (const c of rule.when as readonly Constraint[]) assertConstraint(c, `policy: ${name}`)
    for (const asked of [rule.hold, rule.delay])
      if (asked !== undefined && typeof asked.category !== 'string') throw wrong(`${name} has no category`)
    if (rule.delay !== undefined && !(rule.delay.ms > 0)) throw wrong(`${name} delays by no time`)
    assertAsking(rule.hold ?? {}, name, wrong)
  }
  for (const [name, category] of Object.entries(definition.categories ?? {})) {
    assertAsking(category, `category ${name}`, wrong)
    if (category.trust !== undefined && !(Number.isSafeInteger(category.trust.after) && category.trust.after > 0))
      throw wrong(`category ${name} earns trust after no number of approvals`)
  }
  return freeze({ ...definition })
}

const conditions = ['tool', 'category', 'role', 'effect', 'environment', 'when', 'labels'] as const

function assertAsking(asking: Asking, name: string, wrong: (why: string) => ConvokeError): void {
  for (const step of asking.escalate ?? [])
    if (!(step.afterMs > 0) || step.group === '') throw wrong(`${name} escalates without a time`)
  if (asking.quorum !== undefined && !(Number.isSafeInteger(asking.quorum) && asking.quorum > 0 && asking.quorum <= 20))
    throw wrong(`${name} needs a quorum from 1 to 20`)
}

function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const inner of Object.values(value)) freeze(inner)
  return Object.freeze(value)
}

export const noPolicy: Policy = Object.freeze({ version: 'none', rules: Object.freeze([]) })

export function nameOf(rule: PolicyRule, index: number): string {
  if (rule.id !== undefined) return `rule ${rule.id}`
  const about = rule.tool ?? rule.category
  return `rule ${index + 1}${about === undefined ? '' : ` (${[about].flat().join(', ')})`}`
}

const digests = new WeakMap<Policy, string>()

/** Changes with whatever a policy says, also when its version does not: approvals are bound to it. */
export function policyDigest(its: Policy): string {
  let digest = digests.get(its)
  if (digest === undefined) {
    digest = sha256(canonicalize(written(its) as Json)).slice(0, 16)
    digests.set(its, digest)
  }
  return digest
}

function written(value: unknown): unknown {
  if (typeof value === 'function') return { $code: Function.prototype.toString.call(value) }
  if (Array.isArray(value)) return value.map(written)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(([key, inner]) => [key, written(inner)]),
  )
}
