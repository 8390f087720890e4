import type { FlowVerdict } from '../flow/sink.ts'
import type { PolicyDecision } from '../policy/decide.ts'
import type { Hold, Policy } from '../policy/policy.ts'
import type { TrustBook } from '../policy/trust.ts'
import type { Asked } from './guardrail.ts'

/** Why a call is held: a policy's rule, the caller's option, a guardrail, the labels, or a fork (R9). */
export interface HoldReason extends Hold {
  readonly kind: 'call' | 'held-effect' | 'answer'
  readonly by: string
  /** Goes ahead after so many milliseconds unless somebody stops it. */
  readonly delayMs?: number
}

/** Tells holds apart: one question answers all holds of a category and group. */
export function holdKey(hold: HoldReason): string {
  return `${hold.kind}/${hold.category}/${hold.group ?? ''}`
}

/** What a title says of a question that takes more than one person. */
export function several({ quorum = 1 }: HoldReason): string {
  return quorum === 1 ? '' : ` (${quorum} people)`
}

/** Two holds of a category and group as one: whatever is stricter counts, in whichever order the rules stand. */
function both(a: HoldReason, b: HoldReason): HoldReason {
  const quorum = Math.max(a.quorum ?? 1, b.quorum ?? 1)
  const expires = Math.min(a.expiresMs ?? Infinity, b.expiresMs ?? Infinity)
  return {
    ...b,
    ...a,
    by: a.by === b.by ? a.by : `${a.by}; ${b.by}`,
    ...(quorum === 1 ? {} : { quorum }),
    ...(a.fourEyes === true || b.fourEyes === true ? { fourEyes: true } : {}),
    ...(expires === Infinity ? {} : { expiresMs: expires }),
  }
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
    const at = holds.findIndex((h) => holdKey(h) === holdKey(hold))
    if (at < 0) holds.push(hold)
    else holds[at] = both(holds[at] as HoldReason, hold)
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
  return { holds, tell, modes }
}
