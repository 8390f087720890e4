import { assertBudget, runMeter } from '../agents/meter.ts'
import { extendAgents } from '../agents/run.ts'
import type { AgentRoom } from '../agents/work.ts'
import type { AnyRole } from '../contracts/role.ts'
import { leaves } from '../core/constraint.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { ancestorDispatchIn } from '../gateway/ancestors.ts'
import type { GatewayDeps } from '../gateway/deps.ts'
import { extendGateway } from '../gateway/extend.ts'
import type { GrantSet } from '../grants/grant.ts'
import type { Policy } from '../policy/policy.ts'
import { trustBook } from '../policy/trust.ts'
import type { Model } from '../ports/model.ts'
import type { Driven, Runtime } from '../replay/runtime.ts'
import { haltsOf } from './halts.ts'
import type { RoomOptions, Rooms } from './rooms.ts'

/** Composes gateway and agents into what every driven run is extended with. */
export function extensionsOf({ options, registry, tools, secrets, network, follow }: Rooms): Runtime['extend'] {
  const roles = new Map<string, AnyRole>(registry.agents.map((agent) => [agent.role.name, agent.role]))
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
