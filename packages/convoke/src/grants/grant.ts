import { assertConstraint, violation, type Constraint } from '../core/constraint.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { matches } from '../core/patterns.ts'

// Who may call what, and with which arguments. A list of grants allows what one of them allows; several lists that hold
// at once (a role's, and those of everyone on whose behalf it acts) allow what all of them allow. So delegation narrows.

/** What may be done with tools. As data: it can be recorded, shown and compared. */
export interface Grant {
  /** Tool names; `*` stands for any run of characters. */
  readonly tool: string
  /** Effect classes; all unless said. `['read']` is a grant to look. */
  readonly effects?: readonly string[]
  /** All of them hold for the arguments. */
  readonly args?: readonly Constraint[]
  /** Milliseconds since the epoch after which it is none. */
  readonly expires?: number
  readonly tenant?: string
  readonly run?: string
  readonly role?: string
  /** For delegation only: whoever has it may pass it on and not use it. */
  readonly passOn?: 'only'
}

/** Grants that all have to allow a call; what a run was started with, what an ask was narrowed to, what the role has. */
export interface GrantSet {
  /** Names whoever gave it: `role:clerk`, `run`, `ask:path`. */
  readonly from: string
  readonly grants: readonly Grant[]
}

export interface GrantedCall {
  readonly tool: string
  readonly effect: string
  readonly input: Json
  readonly tenant: string
  readonly run: string
  readonly role: string | undefined
  /** Milliseconds since the epoch. */
  readonly at: number
}

export interface Refusal {
  readonly from: string
  /** Position of the grant that came closest, from 1; absent when none is about the tool. */
  readonly grant?: number
  readonly why: string
  readonly pointer?: string
}

/** @throws DEFINITION_INVALID */
export function assertGrants(grants: readonly Grant[], where: string): void {
  for (const [i, grant] of grants.entries()) {
    const wrong = (why: string): ConvokeError =>
      new ConvokeError('DEFINITION_INVALID', `${where}: grant ${i + 1} ${why}`, { next: 'see docs/governance.md' })
    if (typeof grant?.tool !== 'string' || grant.tool === '') throw wrong('names no tool')
    if (grant.expires !== undefined && !Number.isFinite(grant.expires)) throw wrong('expires at no time')
    for (const constraint of grant.args ?? []) assertConstraint(constraint, `${where}, grant ${i + 1}`)
  }
}

/** Why a call may not be made; undefined when every set has a grant for it. `own`: sets that grants to pass on do not fill. */
export function refusal(sets: readonly GrantSet[], call: GrantedCall, own: GrantSet | undefined): Refusal | undefined {
  for (const set of sets) {
    const refused = refusedBy(set, call, set === own)
    if (refused !== undefined) return refused
  }
  return undefined
}

function refusedBy(set: GrantSet, call: GrantedCall, own: boolean): Refusal | undefined {
  let closest: Refusal | undefined
  for (const [i, grant] of set.grants.entries()) {
    if (!matches(grant.tool, call.tool)) continue
    if (own && grant.passOn === 'only') {
      closest ??= { from: set.from, grant: i + 1, why: 'it may only be passed on' }
      continue
    }
    const why = unfit(grant, call)
    if (why === undefined) return undefined
    closest ??= { from: set.from, grant: i + 1, ...why }
  }
  return closest ?? { from: set.from, why: `nothing grants ${call.tool}` }
}

function unfit(grant: Grant, call: GrantedCall): { readonly why: string; readonly pointer?: string } | undefined {
  if (grant.effects !== undefined && !grant.effects.includes(call.effect))
    return { why: `its effect is ${call.effect}, granted is ${grant.effects.join(', ')}` }
  if (grant.expires !== undefined && call.at > grant.expires)
    return { why: `it expired at ${new Date(grant.expires).toISOString()}` }
  if (grant.tenant !== undefined && grant.tenant !== call.tenant) return { why: 'it is of another tenant' }
  if (grant.run !== undefined && grant.run !== call.run) return { why: 'it is of another run' }
  if (grant.role !== undefined && grant.role !== call.role) return { why: `it is of role ${grant.role}` }
  for (const constraint of grant.args ?? []) {
    const broken = violation(call.input, constraint)
    if (broken !== undefined) return { why: broken.why, pointer: broken.pointer }
  }
  return undefined
}

/** Whether a list of grants says anything about a tool: what a model is shown. */
export function reaches(grants: readonly Grant[], tool: { readonly name: string; readonly effect: string }): boolean {
  return grants.some(
    (grant) =>
      matches(grant.tool, tool.name) &&
      grant.passOn !== 'only' &&
      (grant.effects === undefined || grant.effects.includes(tool.effect)),
  )
}
