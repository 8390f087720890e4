import type { Actor } from '../core/record.ts'
import type { GatewayDeps } from './deps.ts'
import type { Policy } from '../policy/policy.ts'
import { agreed, type CallState, type Open } from './state.ts'

/**
 * Why somebody's decision about a held call does not count; undefined when it does. Whoever stops a call may be anybody
 * of the group; to let it pass takes as many different people as the policy says, and not the one who wants it.
 */
export function deciderProblem(
  call: { readonly deps: Pick<GatewayDeps, 'policy' | 'starter'> },
  s: CallState,
  open: Open,
  by: Actor,
  /** It says no. */
  stops: boolean,
): string | undefined {
  const { deps } = call
  if (by.kind === 'agent' || by.kind === 'model') return `${by.id} is no person, and only people approve`
  const { group } = open
  if (group !== undefined && deps.policy?.groups?.[group]?.includes(by.id) === false)
    return `${by.id} is not of group ${group}`
  if (stops) return undefined
  const starter = deps.starter
  const fourEyes = open.fourEyes || isFourEyed(deps.policy, open.category)
  if (fourEyes && starter?.kind === 'person' && starter.id === by.id)
    return `${by.id} asked for it, and may not approve it`
  return agreed(s.grants, open).some((g) => g.by === by.id)
    ? `${by.id} has already agreed; somebody else has to`
    : undefined
}

/** A category is four-eyed when it says so itself or any rule that holds for it does. */
function isFourEyed(policy: Policy | undefined, category: string | undefined): boolean {
  if (policy === undefined || category === undefined) return false
  return (
    policy.categories?.[category]?.fourEyes === true ||
    policy.rules.some((rule) => rule.hold?.category === category && rule.hold.fourEyes === true)
  )
}
