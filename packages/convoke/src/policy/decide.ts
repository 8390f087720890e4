import { violation, type Constraint } from '../core/constraint.ts'
import type { Json } from '../core/json.ts'
import type { Labels } from '../core/labels.ts'
import { matches } from '../core/patterns.ts'
import { nameOf, type Condition, type Delay, type Hold, type Policy, type PolicyRule } from './policy.ts'

// Policies say what must be. Every rule is looked at; the strictest that speaks about a call counts, and all holds of it
// add up: so a rule that is added makes nothing possible that was not. Pure.

/** What a policy is asked about. */
export interface PolicyCall {
  readonly tool: string
  readonly effect: string
  /** Of the tool. */
  readonly categories: readonly string[]
  readonly input: Json
  readonly labels: Labels
  readonly role: string | undefined
  readonly environment: string | undefined
  /** The category that the caller itself asks approval under. */
  readonly asked: string | undefined
}

export interface RuleHold extends Hold {
  readonly by: string
}

export interface PolicyDecision {
  readonly outcome: 'allow' | 'tell' | 'delay' | 'hold' | 'deny'
  /** Rules that speak about the call, the strictest first. */
  readonly rules: readonly string[]
  readonly deny?: { readonly by: string; readonly why: string }
  readonly holds: readonly RuleHold[]
  readonly delay?: Delay & { readonly by: string }
  readonly tell: readonly { readonly group: string; readonly by: string }[]
}

/** Whether a rule speaks about a call; `unclear` where its arguments cannot be judged. */
export type Match = 'yes' | 'no' | 'unclear'

/** Why a rule does or does not speak, for people. */
export interface RuleTrace {
  readonly rule: string
  readonly match: Match
  readonly why: string
}

/** What a policy says of most calls. */
const silent: PolicyDecision = Object.freeze({
  outcome: 'allow',
  rules: Object.freeze([]),
  holds: Object.freeze([]),
  tell: Object.freeze([]),
})

export function decide(policy: Policy, call: PolicyCall, trace?: RuleTrace[]): PolicyDecision {
  const spoke: { rule: PolicyRule; by: string }[] = []
  // A trace says of every rule why it does not speak; else those about other tools are not even looked at.
  for (const [i, rule] of trace === undefined ? rulesFor(policy, call) : policy.rules.entries()) {
    const { match, why } = judge(rule, call)
    trace?.push({ rule: nameOf(rule, i), match, why })
    // What cannot be judged is forbidden, held or delayed, and never allowed.
    const strict = rule.allow === undefined && rule.tell === undefined
    if (match === 'yes' || (match === 'unclear' && strict))
      spoke.push({ rule, by: `policy ${policy.version}, ${nameOf(rule, i)}` })
  }
  if (spoke.length === 0 && call.asked === undefined && policy.otherwise !== 'deny') return silent
  const denied = spoke.find((s) => s.rule.deny !== undefined)
  const holds: RuleHold[] = spoke.flatMap(({ rule, by }) =>
    rule.hold === undefined ? [] : [{ ...policy.categories?.[rule.hold.category], ...rule.hold, by }],
  )
  const { asked } = call
  if (asked !== undefined && !holds.some((hold) => hold.category === asked))
    holds.push({ ...policy.categories?.[asked], category: asked, by: `the call asks for ${asked}` })
  const delayed = longest(spoke)
  const tell = spoke.flatMap(({ rule, by }) => (rule.tell === undefined ? [] : [{ group: rule.tell.group, by }]))
  const rules = [
    ...spoke.filter((s) => s.rule.deny !== undefined),
    ...spoke.filter((s) => s.rule.hold !== undefined),
    ...spoke.filter((s) => s.rule.delay !== undefined),
    ...spoke.filter((s) => s.rule.tell !== undefined || s.rule.allow !== undefined),
  ].map((s) => s.by)
  const rest = { rules, holds, tell, ...(delayed === undefined ? {} : { delay: delayed }) }
  if (denied !== undefined)
    return { outcome: 'deny', ...rest, deny: { by: denied.by, why: denied.rule.deny as string } }
  if (rules.length === 0 && holds.length === 0 && policy.otherwise === 'deny')
    return {
      outcome: 'deny',
      ...rest,
      deny: { by: `policy ${policy.version}`, why: `no rule allows ${call.tool}` },
    }
  const outcome = holds.length > 0 ? 'hold' : delayed !== undefined ? 'delay' : tell.length > 0 ? 'tell' : 'allow'
  return { outcome, ...rest }
}

type Numbered = readonly (readonly [number, PolicyRule])[]
const concerning = new WeakMap<Policy, Map<string, Numbered>>()
const maxKept = 2_000

/** The rules that may speak about a tool of an effect class, whatever else the call is; found once. */
function rulesFor(policy: Policy, { tool, effect }: Pick<PolicyCall, 'tool' | 'effect'>): Numbered {
  const key = `${effect}\n${tool}`
  const kept = concerning.get(policy)
  const known = kept?.get(key)
  if (known !== undefined) return known
  const found = [...policy.rules.entries()].filter(
    ([, rule]) => mayConcern(rule, tool) && (rule.effect === undefined || anyOf(rule.effect, [effect])),
  )
  // What is not frozen may say something else the next time.
  if (Object.isFrozen(policy) && Object.isFrozen(policy.rules) && (kept?.size ?? 0) < maxKept) {
    if (kept === undefined) concerning.set(policy, new Map([[key, found]]))
    else kept.set(key, found)
  }
  return found
}

function anyOf(asked: string | readonly string[] | undefined, its: readonly string[]): boolean {
  return asked === undefined || [asked].flat().some((pattern) => its.some((name) => matches(pattern, name)))
}

function longest(spoke: readonly { rule: PolicyRule; by: string }[]): PolicyDecision['delay'] {
  let found: PolicyDecision['delay']
  for (const { rule, by } of spoke)
    if (rule.delay !== undefined && (found === undefined || rule.delay.ms > found.ms)) found = { ...rule.delay, by }
  return found
}

/** Whether any rule could ever speak about a tool, whatever the arguments. */
export function anyConcerns(policy: Policy, tool: string, effect: string): boolean {
  return rulesFor(policy, { tool, effect }).length > 0
}

/** Whether a rule could ever speak about a tool, whatever the arguments. */
export function mayConcern(rule: Condition, tool: string): boolean {
  return rule.tool === undefined || [rule.tool].flat().some((pattern) => matches(pattern, tool))
}

export function judge(rule: Condition, call: PolicyCall): { readonly match: Match; readonly why: string } {
  const no = (why: string): { match: Match; why: string } => ({ match: 'no', why })
  if (!anyOf(rule.tool, [call.tool])) return no(`it is about ${[rule.tool].flat().join(', ')}`)
  const categories = call.asked === undefined ? call.categories : [...call.categories, call.asked]
  if (!anyOf(rule.category, categories)) return no(`it is about category ${[rule.category].flat().join(', ')}`)
  if (!anyOf(rule.role, call.role === undefined ? [] : [call.role]))
    return no(`it is about role ${[rule.role].flat().join(', ')}`)
  if (!anyOf(rule.effect, [call.effect])) return no(`the effect is ${call.effect}`)
  if (!anyOf(rule.environment, call.environment === undefined ? [] : [call.environment]))
    return no(`the environment is ${call.environment ?? 'not named'}`)
  const labels = labelled(rule.labels, call.labels)
  if (labels !== undefined) return no(labels)
  return argued(rule.when, call.input)
}

function labelled(asked: Condition['labels'], its: Labels): string | undefined {
  if (asked === undefined) return undefined
  if (asked.integrity !== undefined && asked.integrity !== its.integrity) return `what it rests on is ${its.integrity}`
  if (
    asked.confidentiality !== undefined &&
    !asked.confidentiality.some((label) => its.confidentiality.includes(label))
  )
    return 'it holds no such confidential data'
  if (asked.sources !== undefined && !asked.sources.some((p) => its.sources.some((source) => matches(p, source))))
    return 'it comes from no such source'
  return undefined
}

function argued(when: Condition['when'], input: Json): { readonly match: Match; readonly why: string } {
  if (when === undefined) return { match: 'yes', why: 'it is about this call' }
  if (typeof when === 'function') {
    try {
      return when(input) ? { match: 'yes', why: 'its function says so' } : { match: 'no', why: 'its function says no' }
    } catch {
      return { match: 'unclear', why: 'its function failed' }
    }
  }
  let unclear: string | undefined
  for (const constraint of when as readonly Constraint[]) {
    const broken = violation(input, constraint)
    if (broken === undefined) continue
    const why = `${broken.pointer || 'the argument'} ${broken.why}`
    if (broken.unclear !== true) return { match: 'no', why }
    unclear ??= why
  }
  return unclear === undefined ? { match: 'yes', why: 'the arguments are such' } : { match: 'unclear', why: unclear }
}
