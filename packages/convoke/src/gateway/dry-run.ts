import { canonicalize, decode } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { Labels } from '../core/labels.ts'
import { matches } from '../core/patterns.ts'
import type { AnyRole } from '../contracts/role.ts'
import { judgeFlow } from '../flow/sink.ts'
import { refusal } from '../grants/grant.ts'
import { decide, type RuleTrace } from '../policy/decide.ts'
import { noPolicy, type Policy } from '../policy/policy.ts'
import { judgeDry, type DryRunOptions, type GuardrailSaid } from './dry-guard.ts'
import { railsOf } from './guard-run.ts'
import type { GuardedCall, Guardrail } from './guardrail.ts'
import { holdsOf, several } from './holds.ts'
import { check, issueText } from './schema.ts'
import type { AnyTool } from './tool.ts'

/** A call that nobody makes: what would become of it? */
export interface PolicyCase {
  /** For people. */
  readonly name?: string
  readonly tool: string
  readonly input: Json
  readonly role?: string
  readonly businessKey?: string
  /** Of what the call rests on: trusted and public unless said. */
  readonly labels?: {
    readonly integrity?: Labels['integrity']
    readonly confidentiality?: readonly string[]
    readonly sources?: readonly string[]
  }
  readonly environment?: string
  /** The category that the caller asks approval under. */
  readonly category?: string
  /** Texts of the trusted request. */
  readonly request?: readonly string[]
  /** What should come out; a test fails otherwise. */
  readonly expect?: PolicyAnswer['outcome']
  /** Milliseconds since the epoch, for grants that expire. */
  readonly at?: number
}

export interface PolicyAnswer {
  readonly name: string
  readonly outcome: 'allow' | 'tell' | 'delay' | 'hold' | 'deny'
  /** Sentences, what decided first. */
  readonly why: readonly string[]
  /** Who would be asked, one line for each approval. */
  readonly asks: readonly string[]
  /** What each rule of the policy made of it. */
  readonly rules: readonly RuleTrace[]
  /** What each guardrail that looks at the arguments says of them, in the order in which they are asked. */
  readonly guardrails: readonly GuardrailSaid[]
  /** What would be sent, where guardrails take something out. */
  readonly redacted?: Json
  readonly expected?: PolicyAnswer['outcome']
  readonly ok: boolean
}

/** What is asked about: the parts of an app that decide about calls. */
export interface House {
  readonly policy?: Policy | undefined
  readonly guardrails?: readonly Guardrail[] | undefined
  readonly tools: readonly AnyTool[]
  readonly roles: readonly AnyRole[]
  readonly environment?: string | undefined
}

/**
 * Answers what would happen to a call, and why, without making it: schema, scope, guardrails on the arguments, grants,
 * labels, policy, in the order of the gateway. Trust, which is history, is left out, and so are guardrails on answers,
 * since there is none. A model is asked by no guardrail unless `options` say so: `not-asked` stands where its verdict would.
 * @throws TOOL_UNKNOWN, INPUT_INVALID for an unknown role
 */
export async function dryRun(house: House, its: PolicyCase, options: DryRunOptions = {}): Promise<PolicyAnswer> {
  const tool = house.tools.find((t) => t.name === its.tool)
  if (tool === undefined)
    throw new ConvokeError('TOOL_UNKNOWN', `the app has no tool ${its.tool}`, {
      details: { tools: house.tools.map((t) => t.name) },
      next: 'name one of its tools',
    })
  const role = its.role === undefined ? undefined : house.roles.find((r) => r.name === its.role)
  if (its.role !== undefined && role === undefined)
    throw new ConvokeError('INPUT_INVALID', `the app has no role ${its.role}`, {
      details: { roles: house.roles.map((r) => r.name) },
      next: 'name one of its roles',
    })
  const rules: RuleTrace[] = []
  let guardrails: readonly GuardrailSaid[] = []
  let redacted: Json | undefined
  const answer = (
    outcome: PolicyAnswer['outcome'],
    why: readonly string[],
    asks: readonly string[] = [],
  ): PolicyAnswer => ({
    name: its.name ?? `${its.tool} ${JSON.stringify(its.input)}`.slice(0, 100),
    outcome,
    why: [...why, ...guardrails.flatMap(besides)],
    asks,
    rules,
    guardrails,
    ...(redacted === undefined ? {} : { redacted }),
    ...(its.expect === undefined ? {} : { expected: its.expect }),
    ok: its.expect === undefined || its.expect === outcome,
  })
  const parsed = await check(tool.inputSchema, its.input)
  if (!parsed.ok) return answer('deny', [`the arguments do not fit: ${issueText(parsed.issues)}`])
  if (role !== undefined && !role.tools.some((pattern) => matches(pattern, tool.name)))
    return answer('deny', [`role ${role.name} does not have ${tool.name}`])
  const judged = await judgeDry(
    railsOf(house.guardrails, tool.name, 'input'),
    guarded(its, parsed.value ?? null),
    options,
  )
  guardrails = judged.said
  if (judged.denied !== undefined) {
    const { guardrail, reason } = judged.denied
    return answer('deny', [`guardrail ${guardrail}: ${reason}`])
  }
  let input = judged.value
  if (judged.redactedBy.length > 0) {
    const again = await check(tool.inputSchema, decode(canonicalize(input)))
    if (!again.ok) return answer('deny', [`what guardrails left does not fit: ${issueText(again.issues)}`])
    redacted = input = again.value ?? null
  }
  const denied = ungranted(role, tool, input, its)
  if (denied !== undefined) return answer('deny', [denied])
  const labels: Labels = { integrity: 'trusted', confidentiality: [], sources: [], ...its.labels }
  const flow = judgeFlow({ labels, input, accepts: tool.accepts, external: tool.external, request: its.request ?? [] })
  const broken = flow.broken.map((b) => `flow rule ${b.rule}: ${b.why}`)
  if (broken.length > 0 && flow.otherwise === 'deny') return answer('deny', broken)
  const policy = house.policy ?? noPolicy
  const decision = decide(
    policy,
    {
      tool: tool.name,
      effect: tool.effect,
      categories: tool.categories,
      input,
      labels,
      role: its.role,
      environment: its.environment ?? house.environment,
      asked: its.category,
    },
    rules,
  )
  if (decision.deny !== undefined) return answer('deny', [`${decision.deny.by}: ${decision.deny.why}`])
  const { holds, tell } = await holdsOf({ policy, decision, flow, asked: judged.asked, trust: undefined })
  const [first] = holds
  const why = [...holds.map((h) => h.by), ...tell.map((t) => t.by), ...decision.rules].filter(
    (w, i, all) => all.indexOf(w) === i,
  )
  if (first === undefined)
    return answer(tell.length > 0 ? 'tell' : 'allow', why.length > 0 ? why : ['no rule speaks about it'])
  const asks = holds.map((h) => `${h.category}${h.group === undefined ? '' : `, asked of ${h.group}`}${several(h)}`)
  return answer(first.delayMs === undefined ? 'hold' : 'delay', why, asks)
}

/** What guardrails do that decides nothing by itself, and what is not known of them. */
function besides({ guardrail, verdict, reason }: GuardrailSaid): string[] {
  if (verdict === 'not-asked') return [`guardrail ${guardrail} was not asked: it asks a model`]
  return verdict === 'redact' ? [`guardrail ${guardrail} redacts: ${reason ?? ''}`] : []
}

function guarded({ tool, role, businessKey }: PolicyCase, input: Json): GuardedCall {
  const nobody = { tenant: '', run: '', path: '', caller: undefined }
  return { tool, input, role, ...nobody, ...(businessKey === undefined ? {} : { businessKey }) }
}

function ungranted(role: AnyRole | undefined, tool: AnyTool, input: Json, its: PolicyCase): string | undefined {
  if (role?.grants === undefined) return undefined
  const own = { from: `role:${role.name}`, grants: role.grants }
  const call = { tool: tool.name, effect: tool.effect, input, tenant: '', run: '', role: role.name, at: its.at ?? 0 }
  const refused = refusal([own], call, own)
  if (refused === undefined) return undefined
  return `${refused.from}${refused.grant === undefined ? '' : `, grant ${refused.grant}`}: ${refused.pointer ?? ''} ${refused.why}`
}
