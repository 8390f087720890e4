import { canonicalize } from '../core/canonical.ts'
import { sha256 } from '../core/hash.ts'
import type { Json } from '../core/json.ts'
import type { AnyRole } from '../contracts/role.ts'
import { jsonSchemaOf } from '../contracts/schema.ts'
import { noPolicy } from '../policy/policy.ts'
import { railName } from '../gateway/guardrail.ts'
import { textRailsOf } from '../gateway/guard-run.ts'
import type { AnyTool } from '../gateway/tool.ts'
import type { Agent } from './define.ts'
import { toolsOf } from './tools.ts'
import type { AgentDeps } from './work.ts'

/**
 * What shapes an ask's result besides its input (R9): contract, agent and its code, model, tools, policy, guardrails; and the same
 * of the roles that it may ask.
 */
export function environmentOf(deps: AgentDeps, role: AnyRole, agent: Agent | undefined): Json {
  return within(deps, role, agent, new Set())
}

function within(deps: AgentDeps, role: AnyRole, agent: Agent | undefined, around: ReadonlySet<string>): Json {
  const here = new Set([...around, role.name])
  const asks = role.mayAsk.flatMap((name) => {
    const asked = here.has(name) ? undefined : deps.roles.get(name)
    return asked === undefined ? [] : [within(deps, asked, boundTo(deps, asked), here)]
  })
  const rails = [
    ...textRailsOf(deps.gateway.guardrails, role.name, 'prompt'),
    ...textRailsOf(deps.gateway.guardrails, role.name, 'answer'),
  ]
  return {
    role: role.name,
    contract: contractOf(role),
    policy: (deps.gateway.policy ?? noPolicy).version,
    tools: toolsOf(deps, role).map(toolDigest),
    ...(rails.length === 0 ? {} : { guardrails: [...new Set(rails.map(railName))].sort() }),
    ...(asks.length === 0 ? {} : { asks }),
    ...(agent === undefined ? {} : { agent: agent.name, version: agent.version, digest: agent.digest }),
    ...(agent?.work === 'model' ? { model: modelId(deps, agent.model) } : {}),
  }
}

function boundTo(deps: AgentDeps, role: AnyRole): Agent | undefined {
  try {
    return deps.registry.bind(role, { use: deps.use[role.name] }).agent
  } catch {
    return undefined
  }
}

/** Schemas without JSON Schema can be checked, though not compared: then the version stands for them. */
function contractOf(role: AnyRole): string {
  try {
    return role.fingerprint
  } catch {
    return role.version
  }
}

function modelId(deps: AgentDeps, model: Parameters<AgentDeps['models']>[0]): string {
  try {
    return deps.models(model).id
  } catch {
    return ''
  }
}

const digests = new WeakMap<AnyTool, string>()

function toolDigest(tool: AnyTool): string {
  let digest = digests.get(tool)
  if (digest === undefined) {
    digest = sha256(canonicalize([tool.name, tool.version, tool.effect, tool.description, schemaOf(tool)])).slice(0, 16)
    digests.set(tool, digest)
  }
  return digest
}

function schemaOf(tool: AnyTool): Json {
  try {
    return jsonSchemaOf(tool.inputSchema)
  } catch {
    return null
  }
}
