import { agentRegistry, type AgentRegistry } from '../agents/registry.ts'
import type { Agent } from '../agents/define.ts'
import type { Budget } from '../agents/meter.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Guardrail } from '../gateway/guardrail.ts'
import type { Policy } from '../policy/policy.ts'
import { envSecrets, type Secrets } from '../gateway/secrets.ts'
import type { AnyTool } from '../gateway/tool.ts'
import type { Model } from '../ports/model.ts'
import type { Network, NetworkRules } from '../ports/network.ts'
import type { OutputOf } from './correct.ts'

/** What the rooms above the durable run are given by the app's maker. */
export interface RoomOptions {
  /** Agents by the role they fill; the first of a role fills it unless an ask says otherwise. */
  readonly agents?: readonly Agent[]
  /** Tools that agents may be given; a role lists which. A list that changes is looked at again with each run taken up. */
  readonly tools?: readonly AnyTool[]
  /** The model of agents that name none. */
  readonly model?: Model
  /** Models by the name that agents use. */
  readonly models?: Readonly<Record<string, Model>>
  /** Which calls wait for whom. */
  readonly policy?: Policy
  readonly guardrails?: readonly Guardrail[]
  /** Where the app runs, as policies name it: `production`, say. */
  readonly environment?: string
  /** Where `secret('name')` gets its value: CONVOKE_SECRET_<NAME> in the environment unless said. */
  readonly secrets?: Secrets
  /** Where tools may call that say nothing themselves: public addresses only, unless said. */
  readonly network?: NetworkRules
  readonly budget?: { readonly run?: Budget; readonly ask?: Budget }
}

/** The schemas that answers of the options' roles and tools must fit. */
export function outputsOf({ agents = [], tools = [] }: Pick<RoomOptions, 'agents' | 'tools'>): OutputOf {
  return (op, target) =>
    op === 'ask'
      ? agents.find((agent) => agent.role.name === target)?.role.output
      : op === 'call'
        ? tools.find((tool) => tool.name === target)?.outputSchema
        : undefined
}

/** What an app's rooms are made of, checked; `extensionsOf` composes it when a ledger is opened. */
export interface Rooms {
  readonly options: RoomOptions
  readonly registry: AgentRegistry
  /** By name. A list of tools that changes is followed by `follow`. */
  readonly tools: ReadonlyMap<string, AnyTool>
  readonly secrets: Secrets
  readonly network: Network | undefined
  /** Looks at the list of tools again. */
  readonly follow: () => void
}

/**
 * Checks what the rooms are made of, and lets the network know where tools may call. Without a network, tools call nobody.
 * @throws DEFINITION_INVALID
 */
export function checkRooms(options: RoomOptions, network?: Network): Rooms {
  const registry = agentRegistry(options.agents ?? [])
  const tools = new Map<string, AnyTool>()
  for (const tool of options.tools ?? []) {
    if (tools.has(tool.name) && tools.get(tool.name) !== tool)
      throw new ConvokeError('DEFINITION_INVALID', `two tools are named ${tool.name}`, { next: 'rename one of them' })
    tools.set(tool.name, tool)
    if (tool.network !== undefined) network?.admit(tool.network)
  }
  let known = [...(options.tools ?? [])]
  // Where tools live elsewhere, their list changes while the app runs: each run that is taken up finds it as it is then.
  // Of two of one name the first counts: nobody is there to be told.
  const follow = (): void => {
    const now = options.tools ?? []
    if (now.length === known.length && now.every((tool, i) => tool === known[i])) return
    known = [...now]
    tools.clear()
    for (const tool of now) {
      if (tools.has(tool.name)) continue
      tools.set(tool.name, tool)
      if (tool.network !== undefined) network?.admit(tool.network)
    }
  }
  if (options.network !== undefined) network?.admit(options.network)
  return { options, registry, tools, secrets: options.secrets ?? envSecrets(process.env), network, follow }
}
