import { ConvokeError } from '../core/errors.ts'
import type { AnyRole } from '../contracts/role.ts'
import type { Agent } from './define.ts'

/** Which agent fills a role, and why that one. */
export interface Bound {
  readonly agent: Agent
  /** `only`: no other fills it. `first`: the first of several. `named`: the ask chose it. `fork`: a fork's `--use` did. */
  readonly rule: 'only' | 'first' | 'named' | 'fork'
}

export interface AgentRegistry {
  /**
   * Decides which agent fills a role now. `agent` is a name or `name@version`; `use` also a bare version.
   * @throws ROLE_UNFILLED
   */
  bind(role: AnyRole, choice?: { readonly agent?: string | undefined; readonly use?: string | undefined }): Bound
  /** The agent that a record says a role was bound to. */
  find(role: string, name: string, version: string): Agent | undefined
  readonly agents: readonly Agent[]
}

/** @throws DEFINITION_INVALID when two agents of a role have the same name and version */
export function agentRegistry(agents: readonly Agent[]): AgentRegistry {
  const byRole = new Map<string, Agent[]>()
  for (const agent of agents) {
    const list = byRole.get(agent.role.name) ?? []
    if (list.some((other) => other.name === agent.name && other.version === agent.version))
      throw new ConvokeError(
        'DEFINITION_INVALID',
        `two agents of role ${agent.role.name} are called ${agent.name}@${agent.version}`,
        { next: 'give one of them another name or version' },
      )
    byRole.set(agent.role.name, [...list, agent])
  }

  function bind(role: AnyRole, choice: { agent?: string | undefined; use?: string | undefined } = {}): Bound {
    const list = byRole.get(role.name) ?? []
    const named = choice.agent ?? choice.use
    if (named !== undefined) {
      const found = list.find((a) => a.name === named || `${a.name}@${a.version}` === named)
      const byVersion = choice.agent === undefined ? list.find((a) => a.version === named) : undefined
      const agent = found ?? byVersion
      if (agent === undefined) throw unfilled(role.name, list, named)
      return { agent, rule: choice.agent === undefined ? 'fork' : 'named' }
    }
    const [agent] = list
    if (agent === undefined) throw unfilled(role.name, list)
    return { agent, rule: list.length === 1 ? 'only' : 'first' }
  }

  return {
    agents,
    bind,
    find: (role, name, version) => byRole.get(role)?.find((a) => a.name === name && a.version === version),
  }
}

function unfilled(role: string, list: readonly Agent[], named?: string): ConvokeError {
  const there = list.map((a) => `${a.name}@${a.version}`)
  return new ConvokeError(
    'ROLE_UNFILLED',
    named === undefined ? `no agent fills role ${role}` : `no agent called ${named} fills role ${role}`,
    {
      details: { role, agents: there, ...(named === undefined ? {} : { agent: named }) },
      next: there.length === 0 ? `add agent({ role: ${role}, … }) to the app` : `choose one of ${there.join(', ')}`,
    },
  )
}
