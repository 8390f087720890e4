import { canonicalize, decode } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { labelsJson } from '../core/labels.ts'
import { matches } from '../core/patterns.ts'
import { judgeFlow } from '../flow/sink.ts'
import { refusal } from '../grants/grant.ts'
import { decide } from '../policy/decide.ts'
import { noPolicy, policyDigest } from '../policy/policy.ts'
import type { Task } from '../replay/types.ts'
import { actionHash, storedAction, type Action } from './action.ts'
import type { AncestorDispatch, Call, Caller } from './deps.ts'
import { denial, railName, type GuardedCall } from './guardrail.ts'
import { judgeInput, noteJudgement, railsOf, unjudged, type Desk } from './guard-run.ts'
import { holdKey, holdsOf, type HoldReason } from './holds.ts'
import { check, issueText } from './schema.ts'
import { agreed, type CallState, type Grant } from './state.ts'
import { toolDigest } from './tool-digest.ts'

/** A call that no rule forbids: exactly what would be done, and who has to agree first. */
export interface Passed {
  readonly action: Action
  hash(): string
  /** What an approval is bound to (R10): the action, its place, the tool, the policy and the labels it rests on. */
  binding(): string
  readonly policyVersion: string
  readonly holds: readonly HoldReason[]
  readonly tell: readonly { readonly group: string; readonly by: string }[]
  /** What the rules said, for the call's record; empty when none spoke. */
  readonly ruled: JsonObject
  /** What an ancestor of this fork already sent, for people to compare. */
  readonly ancestor: AncestorDispatch | undefined
}

/** The corrections of a call, without which its own input counts. */
export type Corrected = CallState['corrected']

export function guarded(call: Call, task: Task, input: Json, businessKey: string | undefined): GuardedCall {
  return {
    tool: call.tool.name,
    input,
    ...(businessKey === undefined ? {} : { businessKey }),
    tenant: task.tenant,
    run: task.run,
    path: task.path,
    caller: call.caller.actor,
    role: call.caller.role,
  }
}

/** What guardrails about this call are asked with. */
export function deskOf({ deps, caller }: Call, task: Task, rails: Desk['rails']): Desk {
  return { rails, task, keyed: deps.keyed, clock: deps.clock, spend: caller.spend }
}

/**
 * Holds a call against everything that may forbid or hold it: schema, scopes, guardrails, labels, policy, ancestors.
 * @throws TOOL_INPUT_INVALID, SCOPE_DENIED, GUARDRAIL_DENIED, FLOW_DENIED, POLICY_DENIED
 */
export async function gate(call: Call, task: Task, corrected: Corrected): Promise<Passed> {
  const { deps, tool, caller, options } = call
  const policy = deps.policy ?? noPolicy
  const businessKey = corrected?.businessKey ?? options.businessKey
  const given = corrected === undefined ? call.input : corrected.input
  const first = fitting(call, await check(tool.inputSchema, given))
  inReach(call)
  const rails = railsOf(deps.guardrails, tool.name, 'input')
  const judged =
    rails.length === 0
      ? unjudged(first)
      : await judgeInput(deskOf(call, task, rails), guarded(call, task, first, businessKey))
  noteJudgement(task, 'input', judged)
  if (judged.denied !== undefined) throw denial(judged.denied.guardrail, tool.name, judged.denied.reason)
  const input =
    judged.redactedBy.length === 0
      ? first
      : fitting(call, await check(tool.inputSchema, decode(canonicalize(judged.value))))
  granted(call, task, input)
  const { name, version } = tool
  const action: Action =
    businessKey === undefined ? { tool: name, version, input } : { tool: name, version, input, businessKey }
  let hashed: string | undefined
  const hash = (): string => (hashed ??= actionHash(action, deps.keyed))
  const flow = judgeFlow({
    labels: task.labels,
    input,
    accepts: tool.accepts,
    external: tool.external,
    request: deps.request ?? none,
  })
  const [broken] = flow.broken
  if (broken !== undefined && flow.otherwise === 'deny')
    throw new ConvokeError('FLOW_DENIED', `${tool.name} does not take this: ${broken.why}`, {
      details: { tool: tool.name, rule: broken.rule, labels: labelsJson(task.labels) },
      next: 'use values that the tool accepts, or have a person endorse or declassify them first',
    })
  const decision = decide(policy, {
    tool: tool.name,
    effect: tool.effect,
    categories: tool.categories,
    input,
    labels: task.labels,
    role: caller.role,
    environment: deps.environment,
    asked: options.approval,
  })
  if (decision.deny !== undefined)
    throw new ConvokeError('POLICY_DENIED', `${decision.deny.by} forbids ${tool.name}: ${decision.deny.why}`, {
      details: { tool: tool.name, rule: decision.deny.by, why: decision.deny.why, policy: policy.version },
      next: 'do something else; convoke policy test says what the policy allows',
    })
  const unheld =
    decision.holds.length === 0 && decision.delay === undefined && judged.asked.length === 0 && flow.broken.length === 0
  const held = unheld
    ? { holds: none, tell: decision.tell, modes: {} }
    : await holdsOf({ policy, decision, flow, asked: judged.asked, trust: deps.trust })
  const holds = [...held.holds]
  const ancestor =
    tool.effect === 'read' || deps.effects === undefined
      ? undefined
      : await deps.ancestorDispatch?.({ path: task.path, tool: tool.name, businessKey, actionHash: hash() })
  if (ancestor !== undefined && deps.effects === 'hold') {
    // Whoever must approve anyway is shown both; nobody has to say yes twice.
    const [held, ...others] = holds
    holds.splice(
      0,
      holds.length,
      {
        ...(held ?? { category: 'held-effect', ...policy.categories?.['held-effect'] }),
        kind: 'held-effect',
        by: `run ${ancestor.run} already dispatched ${tool.name}`,
      },
      ...others,
    )
  }
  const spoke = decision.rules.length > 0 || holds.length > 0 || flow.tolerated.length > 0
  const looked: JsonObject = rails.length === 0 ? unruled : { guardrails: rails.map(railName) }
  const ruled: JsonObject = !spoke
    ? looked
    : {
        ...looked,
        policy: {
          version: policy.version,
          digest: policyDigest(policy),
          outcome:
            holds.length > 0
              ? holds[0]?.delayMs === undefined
                ? 'hold'
                : 'delay'
              : held.tell.length > 0
                ? 'tell'
                : 'allow',
          ...(decision.rules.length === 0 ? {} : { rules: decision.rules }),
          ...(Object.keys(held.modes).length === 0 ? {} : { modes: held.modes }),
          ...(flow.tolerated.length === 0 ? {} : { tolerated: flow.tolerated }),
        },
      }
  // Most calls are held by nobody, and need none.
  let bound: string | undefined
  return {
    binding: () => (bound ??= bindingOf(call, task, action, policy)),
    action,
    hash,
    policyVersion: policy.version,
    holds,
    tell: held.tell,
    ruled,
    ancestor,
  }
}

const none: readonly never[] = Object.freeze([])
const unruled: JsonObject = Object.freeze({})

/** Everything that must be the same when an approved call is made as when it was shown (R10). */
function bindingOf(call: Call, task: Task, action: Action, policy: typeof noPolicy): string {
  const { deps, tool, caller } = call
  const bound = {
    tenant: task.tenant,
    run: task.run,
    path: task.path,
    action: action as unknown as Json,
    effect: tool.effect,
    tool: toolDigest(tool),
    policy: [policy.version, policyDigest(policy)],
    role: caller.role ?? null,
    labels: labelsJson(task.labels),
  }
  return deps.keyed(`approval\n${canonicalize(bound)}`)
}

/** @throws SCOPE_DENIED for a tool that the caller does not have at all */
function inReach({ tool, caller }: Call): void {
  if (caller.tools === undefined || caller.tools.some((pattern) => matches(pattern, tool.name))) return
  throw new ConvokeError('SCOPE_DENIED', `${callerName(caller)} may not use ${tool.name}`, {
    details: {
      tool: tool.name,
      ...(caller.role === undefined ? {} : { role: caller.role }),
      allowed: caller.tools,
    },
    next: `add ${tool.name} to the role's tools, or ask a role that has it`,
  })
}

function callerName(caller: Caller): string {
  return caller.role ?? caller.actor?.id ?? 'the caller'
}

/** @throws SCOPE_DENIED with the grant that came closest */
function granted(call: Call, task: Task, input: Json): void {
  const { deps, tool, caller } = call
  if (deps.bounds === undefined && caller.bounds === undefined && caller.grants === undefined) return
  const role = caller.role === undefined ? {} : { role: caller.role }
  const sets = [
    ...(deps.bounds ?? []),
    ...(caller.bounds ?? []),
    ...(caller.grants === undefined ? [] : [caller.grants]),
  ]
  const refused = refusal(
    sets,
    {
      tool: tool.name,
      effect: tool.effect,
      input,
      tenant: task.tenant,
      run: task.run,
      role: caller.role,
      at: task.now(),
    },
    caller.grants,
  )
  if (refused === undefined) return
  const at = refused.pointer === undefined ? '' : `${refused.pointer || 'the argument'} `
  throw new ConvokeError(
    'SCOPE_DENIED',
    `${callerName(caller)} may not call ${tool.name} like this: ${at}${refused.why}`,
    {
      details: { tool: tool.name, ...role, by: refused.from, ...refused },
      next: 'call it with arguments that are granted, or ask a role or a person that may',
    },
  )
}

/** What was held against the input schema, if it fits. @throws TOOL_INPUT_INVALID with the problems */
function fitting({ tool }: Call, checked: Awaited<ReturnType<typeof check>>): Json {
  if (checked.ok) return checked.value ?? null
  throw new ConvokeError(
    'TOOL_INPUT_INVALID',
    `the arguments of ${tool.name} do not fit its schema: ${issueText(checked.issues)}`,
    {
      details: { tool: tool.name, issues: checked.issues as unknown as Json },
      next: 'call it again with arguments that fit',
    },
  )
}

/** The first hold that not enough people have granted for these very bytes under this very policy. */
export function missing(passed: Passed, grants: readonly Grant[]): HoldReason | undefined {
  return passed.holds.find((hold) => grantsOf(passed, hold, grants).length < (hold.quorum ?? 1))
}

export function grantsOf(passed: Passed, hold: HoldReason, grants: readonly Grant[]): readonly Grant[] {
  return agreed(grants, { hold: holdKey(hold), actionHash: passed.binding(), policyVersion: passed.policyVersion })
}

/** What a person is shown: the gateway's own bytes, and beside them what an ancestor did. */
export function shownAction(passed: Passed): ReturnType<typeof storedAction> {
  const { stored, blobs } = storedAction(passed.action)
  const { ancestor } = passed
  if (ancestor === undefined) return { stored, blobs }
  const before: JsonObject = {
    run: ancestor.run,
    ref: ancestor.ref,
    at: ancestor.at,
    action: ancestor.action,
    ...(ancestor.result === undefined ? {} : { result: clip(ancestor.result.value ?? null) }),
    ...(ancestor.error === undefined ? {} : { error: { code: ancestor.error.code, message: ancestor.error.message } }),
  }
  return { stored: { ...stored, ancestor: before }, blobs }
}

function clip(value: Json): Json {
  const text = canonicalize(value)
  return text.length <= 4096 ? value : { $begins: text.slice(0, 4096).toWellFormed() }
}
