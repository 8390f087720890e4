import { agentRegistry } from '../agents/registry.ts'
import type { Agent } from '../agents/define.ts'
import { assertBudget, runMeter, type Budget } from '../agents/meter.ts'
import { extendAgents } from '../agents/run.ts'
import type { AgentRoom } from '../agents/work.ts'
import { ConvokeError } from '../core/errors.ts'
import type { AnyRole } from '../contracts/role.ts'
import { ancestorDispatchIn } from '../gateway/ancestors.ts'
import type { GatewayDeps } from '../gateway/deps.ts'
import { extendGateway } from '../gateway/extend.ts'
import type { Guardrail } from '../gateway/guardrail.ts'
import type { Policy } from '../policy/policy.ts'
import { haltBoard, type Halts } from '../policy/halts.ts'
import { trustBook } from '../policy/trust.ts'
import { leaves } from '../core/constraint.ts'
import type { Json } from '../core/json.ts'
import type { GrantSet } from '../grants/grant.ts'
import type { Ledger } from '../ports/ledger.ts'
import { envSecrets, type Secrets } from '../gateway/secrets.ts'
import type { AnyTool } from '../gateway/tool.ts'
import type { Model } from '../ports/model.ts'
import type { Network, NetworkRules } from '../ports/network.ts'
import type { Driven } from '../replay/runtime.ts'
import type { Extension } from '../replay/run.ts'
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

/**
 * Composes gateway and agents into what every driven run is extended with. Without a network, tools call nobody.
 * @throws DEFINITION_INVALID
 */
export function composeRooms(options: RoomOptions, network?: Network): (driven: Driven) => readonly Extension[] {
  const agents = options.agents ?? []
  const registry = agentRegistry(agents)
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
  const roles = new Map<string, AnyRole>(agents.map((agent) => [agent.role.name, agent.role]))
  const secrets = options.secrets ?? envSecrets(process.env)
  const room: AgentRoom = {
    registry,
    roles,
    tools,
    models: (asked) => modelOf(options, asked),
    ...(options.budget === undefined ? {} : { budget: options.budget }),
  }
  return (driven) => {
    const { runtime, history } = driven
    follow()
    const gateway: GatewayDeps = {
      ledger: runtime.ledger,
      lease: runtime.lease,
      clock: runtime.clock,
      keyed: driven.keyed,
      probe: runtime.probe,
      secrets,
      network,
      networkRules: options.network,
      policy: options.policy,
      environment: options.environment,
      starter: history.started.record.actor,
      request: requestOf(history),
      bounds: boundsOf(history),
      halts: haltsOf(runtime, driven.tenant),
      ...(earnsTrust(options.policy)
        ? { trust: trustBook(runtime.ledger, driven.tenant, runtime.clock, () => runtime.ids.salt()) }
        : {}),
      guardrails: options.guardrails,
      spend: (engine) => ({
        assert: () => assertBudget(options.budget?.run, runMeter(engine), `run ${engine.run}`),
        used: (usage) => runMeter(engine).add(usage),
      }),
      ...(history.fork === undefined
        ? {}
        : { effects: history.fork.effects, ancestorDispatch: ancestorDispatchIn(history.ancestors) }),
    }
    return [extendGateway(gateway), extendAgents(room, driven, gateway)]
  }
}

/** Texts of the run's input, where the run was not started with labels that say it is untrusted. */
function requestOf(history: Driven['history']): readonly string[] {
  if (history.started.record.labels.integrity === 'untrusted') return []
  return leaves((history.input ?? null) as Json).flatMap(({ value }) =>
    typeof value === 'string' || typeof value === 'number' ? [String(value)] : [],
  )
}

function boundsOf(history: Driven['history']): readonly GrantSet[] {
  return (history.started.payload['bounds'] as unknown as readonly GrantSet[] | undefined) ?? []
}

function earnsTrust(policy: Policy | undefined): boolean {
  return Object.values(policy?.categories ?? {}).some((category) => category.trust !== undefined)
}

const boards = new WeakMap<Ledger, Map<string, Halts>>()

/** One board for each ledger and tenant: every run that is driven here shares what is known of the orders. */
export function haltsOf({ ledger, clock }: Pick<Driven['runtime'], 'ledger' | 'clock'>, tenant: string): Halts {
  const known = boards.get(ledger) ?? new Map<string, Halts>()
  boards.set(ledger, known)
  const board = known.get(tenant) ?? haltBoard(ledger, tenant, clock)
  known.set(tenant, board)
  return board
}

function modelOf(options: RoomOptions, asked: string | Model | undefined): Model {
  if (typeof asked === 'object') return asked
  const found = asked === undefined ? options.model : options.models?.[asked]
  if (found !== undefined) return found
  const known = Object.keys(options.models ?? {})
  throw new ConvokeError(
    'MODEL_UNKNOWN',
    asked === undefined ? 'an agent needs a model and the app has no default' : `the app has no model ${asked}`,
    {
      details: { model: asked ?? null, known },
      next:
        asked === undefined
          ? 'give convoke() a model'
          : `add it to models${known.length === 0 ? '' : `, or use one of ${known.join(', ')}`}`,
    },
  )
}
