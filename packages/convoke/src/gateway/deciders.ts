import type { Actor } from '../core/record.ts'
import type { GatewayDeps } from './deps.ts'
import type { Policy } from '../policy/policy.ts'
import type { CallState, Open } from './state.ts'

/**
 * Why somebody's decision about a held call does not count; undefined when it does. Whoever stops a call may be anybody
 * of the group; to let it pass takes as many different people as the policy says, and not the one who wants it.
 */
export function deciderProblem(
  call: { readonly deps: Pick<GatewayDeps, 'policy' | 'starter'> },
  s: CallState,
  open: Open,
  by: Actor,
): string | undefined {
  const { deps } = call
  if (by.kind === 'agent' || by.kind === 'model') return `${by.id} is no person, and only people approve`
  const { group } = open
  if (group !== undefined && deps.policy?.groups?.[group]?.includes(by.id) === false)
    return `${by.id} is not of group ${group}`
  const [category] = open.hold.split('/').slice(1)
  const rule = asking(deps.policy, category)
  const starter = deps.starter
  if (rule.fourEyes && starter?.kind === 'person' && starter.id === by.id)
    return `${by.id} asked for it, and may not approve it`
  const [base] = open.hold.split('#')
  const before = s.grants.find((g) => g.hold.split('#')[0] === base && g.hold !== open.hold && g.by === by.id)
  return before === undefined ? undefined : `${by.id} has already agreed; somebody else has to`
}

/** A category is four-eyed when it says so itself or any rule that holds for it does. */
function asking(policy: Policy | undefined, category: string | undefined): { readonly fourEyes: boolean } {
  const named = category === undefined ? undefined : policy?.categories?.[category]?.fourEyes
  return {
    fourEyes:
      named ?? policy?.rules.some((rule) => rule.hold?.category === category && rule.hold?.fourEyes === true) ?? false,
  }
}
