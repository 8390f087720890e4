import { assertConstraint, leaves, names, violation, type Constraint } from '../core/constraint.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { Labels } from '../core/labels.ts'
import { isNamed } from './named.ts'

// What a sink takes, and what an untrusted value may be without endorsement. Pure: labels and arguments in, a verdict out.

/**
 * An untrusted value that a sink takes all the same. Only what its type bounds: one of a list, a truth value, a number
 * between two bounds, a calendar date, or words that the trusted request itself contains. Whoever has taken the model
 * over can choose among those, and can put nothing of their own there.
 */
export interface Tolerance extends Constraint {
  /** The text stands, as whole words, in the trusted request: a trusted input of the run that the app names. */
  readonly named?: true
}

/** What a tool takes. Without it only the default rule holds. */
export interface Accepts {
  /** `trusted`: nothing untrusted may decide about the call or stand in it. Anything unless said. */
  readonly integrity?: 'trusted'
  /** Confidentiality labels that may go there; all unless said. */
  readonly confidentiality?: readonly string[]
  /** Untrusted arguments that are taken all the same. Every scalar of the arguments must be covered by one that holds. */
  readonly tolerates?: readonly Tolerance[]
  /** What becomes of a call that does not fit: a person is asked (`hold`, unless said), or it is denied. */
  readonly otherwise?: 'hold' | 'deny'
}

export interface FlowCall {
  readonly labels: Labels
  readonly input: Json
  readonly accepts: Accepts | undefined
  /** Whether what is passed leaves the app's own house, or changes something. */
  readonly external: boolean
  /** Texts of the trusted request. */
  readonly request: readonly string[]
}

export type FlowRule = 'integrity' | 'confidentiality' | 'untrusted-private-effect'

export interface FlowVerdict {
  /** Rules that the call breaks; none when it may pass. */
  readonly broken: readonly { readonly rule: FlowRule; readonly why: string }[]
  readonly otherwise: 'hold' | 'deny'
  /** Pointers of untrusted arguments that were taken because of their type, with the tolerance each fits. */
  readonly tolerated: readonly string[]
}

/** @throws DEFINITION_INVALID for a tolerance that lets text of anybody's making through */
export function assertAccepts(accepts: Accepts, tool: string): void {
  const wrong = (why: string): ConvokeError =>
    new ConvokeError('DEFINITION_INVALID', `tool ${tool}: accepts ${why}`, { next: 'see docs/flow.md' })
  if (accepts.integrity !== undefined && accepts.integrity !== 'trusted') throw wrong('knows integrity "trusted" only')
  if (accepts.otherwise !== undefined && accepts.otherwise !== 'hold' && accepts.otherwise !== 'deny')
    throw wrong('knows otherwise "hold" and "deny" only')
  for (const t of accepts.tolerates ?? []) {
    if (t.named !== true) assertConstraint(t, `tool ${tool}`)
    if (!isBounded(t))
      throw wrong(
        `tolerates ${t.at} without a bound: say in, named, type boolean or date, or a number with min and max`,
      )
  }
}

/** Whether a tolerance leaves nobody the choice of what text stands there. */
function isBounded(t: Tolerance): boolean {
  if (t.named === true || t.in !== undefined || t.absent === true) return true
  if (t.type === 'boolean' || t.type === 'date') return true
  return t.min !== undefined && t.max !== undefined
}

/**
 * Holds a call's labels against what its sink takes, and against the default rule: untrusted input, private data and an
 * external effect do not come together without a person.
 */
export function judgeFlow(call: FlowCall): FlowVerdict {
  const { labels, accepts, external } = call
  const untrusted = labels.integrity === 'untrusted'
  const judged = untrusted ? covered(accepts?.tolerates ?? [], call.input, call.request) : undefined
  const tainted = judged !== undefined && judged.refused !== undefined
  const confidential = labels.confidentiality.length > 0
  // Most calls can break no rule: who said what is put together for those that may.
  if (
    accepts?.confidentiality === undefined &&
    !(tainted && (accepts?.integrity === 'trusted' || (external && confidential)))
  )
    return { broken: none, otherwise: accepts?.otherwise ?? 'hold', tolerated: judged?.tolerated ?? none }
  const broken: { rule: FlowRule; why: string }[] = []
  const from = labels.sources.length === 0 ? '' : ` (${labels.sources.slice(0, 6).join(', ')})`
  if (accepts?.integrity === 'trusted' && tainted)
    broken.push({ rule: 'integrity', why: `it rests on untrusted input${from}; ${judged.refused}` })
  if (accepts?.confidentiality !== undefined) {
    const { confidentiality } = accepts
    const over = labels.confidentiality.filter((label) => !confidentiality.includes(label))
    if (over.length > 0) broken.push({ rule: 'confidentiality', why: `${over.join(', ')} may not go there${from}` })
  }
  if (external && tainted && confidential && broken.length === 0)
    broken.push({
      rule: 'untrusted-private-effect',
      why: `untrusted input${from}, private data (${labels.confidentiality.join(', ')}) and an external effect come together`,
    })
  return { broken, otherwise: accepts?.otherwise ?? 'hold', tolerated: judged?.tolerated ?? none }
}

const none: readonly never[] = Object.freeze([])

const intolerant = Object.freeze({ tolerated: none, refused: 'it tolerates no untrusted argument' })

/** Whether each scalar of a value is bounded by a tolerance that holds; `refused` says where that is not so. */
export function covered(
  all: readonly Tolerance[],
  input: Json,
  request: readonly string[],
): { readonly tolerated: readonly string[]; readonly refused?: string } {
  if (all.length === 0) return intolerant
  const tolerated: string[] = []
  for (const { pointer, value } of leaves(input)) {
    // That an argument was left out says no more than that it may be left out.
    if (value === null) continue
    const its = all.filter((t) => names(t.at, pointer))
    if (its.length === 0) return { tolerated, refused: `nothing says what ${pointer || 'the argument'} may be` }
    const fits = its.find((t) => holds(t, value as Json, request))
    if (fits === undefined) return { tolerated, refused: `${pointer || 'the argument'} ${whyNot(its, value as Json)}` }
    tolerated.push(pointer)
  }
  return { tolerated }
}

function holds(t: Tolerance, value: Json, request: readonly string[]): boolean {
  if (t.named === true && !isNamed(value, request)) return false
  return violation(value, { ...t, at: '' }) === undefined
}

function whyNot(tolerances: readonly Tolerance[], value: Json): string {
  const first = tolerances[0] as Tolerance
  return violation(value, { ...first, at: '' })?.why ?? 'does not stand in the request'
}
