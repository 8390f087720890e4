import type { FlowVerdict } from '../flow/sink.ts'
import type { PolicyDecision } from '../policy/decide.ts'
import type { Hold, Policy } from '../policy/policy.ts'
import type { TrustBook } from '../policy/trust.ts'
import type { Asked } from './guardrail.ts'

/** Why a call is held: a policy's rule, the caller's option, a guardrail, the labels, or a fork (R9). */
export interface HoldReason extends Hold {
  readonly kind: 'call' | 'held-effect' | 'answer'
  readonly by: string
  /** Of several people who have to agree, which this is: 1 for the first. */
  readonly seat?: number
  /** Goes ahead after so many milliseconds unless somebody stops it. */
  readonly delayMs?: number
}

/** Tells holds apart: one approval answers all holds of a category and group. */
export function holdKey(hold: HoldReason): string {
  return `${baseKey(hold)}${hold.seat === undefined || hold.seat === 1 ? '' : `#${hold.seat}`}`
}

export function baseKey(hold: HoldReason): string {
  return `${hold.kind}/${hold.category}/${hold.group ?? ''}`
}

/** Where what the labels ask for is approved, unless the policy names a group for it. */
export const flowCategory = 'flow'

export interface Held {
  readonly holds: readonly HoldReason[]
  readonly tell: readonly { readonly group: string; readonly by: string }[]
  /** Categories that may earn trust, with the mode that counted for this call. */
  readonly modes: Readonly<Record<string, string>>
}

/** Everything that wants a person asked about a call, each once. */
export async function holdsOf(o: {
  readonly policy: Policy
  readonly decision: PolicyDecision
  readonly flow: FlowVerdict
  readonly asked: readonly Asked[]
  readonly trust: TrustBook | undefined
}): Promise<Held> {
  const { policy, decision, flow, asked, trust } = o
  const tell = [...decision.tell]
  const modes: Record<string, string> = {}
  const holds: HoldReason[] = []
  const add = (hold: HoldReason): void => {
    if (!holds.some((h) => baseKey(h) === baseKey(hold))) holds.push(hold)
  }
  for (const hold of decision.holds) {
    const earned = policy.categories?.[hold.category]?.trust
    if (earned !== undefined && trust !== undefined) {
      const { mode } = await trust.standing(hold.category)
      modes[hold.category] = mode
      if (mode === 'monitoring') {
        tell.push({ group: hold.group ?? hold.category, by: `${hold.by}; ${hold.category} has earned trust` })
        continue
      }
    }
    add({ ...hold, kind: 'call' })
  }
  for (const { category, group, guardrail, reason } of asked) {
    if (holds.some((h) => h.category === category && (group === undefined || h.group === group))) continue
    const own = group === undefined ? {} : { group }
    add({ ...policy.categories?.[category], category, ...own, kind: 'call', by: `guardrail ${guardrail}: ${reason}` })
  }
  if (flow.broken.length > 0) {
    const by = flow.broken.map(({ rule, why }) => `flow rule ${rule}: ${why}`).join('; ')
    const named = policy.categories?.[flowCategory]
    const [first] = holds
    // Whoever must approve anyway is told why it matters; nobody has to say yes twice.
    if (named?.group === undefined && first !== undefined) holds[0] = { ...first, by: `${first.by}; ${by}` }
    else add({ ...named, category: flowCategory, kind: 'call', by })
  }
  const { delay } = decision
  if (delay !== undefined && holds.length === 0)
    holds.push({
      category: delay.category,
      ...(delay.group === undefined ? {} : { group: delay.group }),
      kind: 'call',
      by: delay.by,
      delayMs: delay.ms,
    })
  return { holds: holds.flatMap(seats), tell, modes }
}

/** A quorum is as many approvals, each by somebody else. */
export function seats(hold: HoldReason): HoldReason[] {
  const { quorum = 1 } = hold
  if (quorum === 1) return [hold]
  return Array.from({ length: quorum }, (_, i) => ({ ...hold, seat: i + 1 }))
}
