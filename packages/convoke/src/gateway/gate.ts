import { canonicalize, decode } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Task } from '../replay/types.ts'
import { actionHash, storedAction, type Action } from './action.ts'
import type { AncestorDispatch, Call } from './deps.ts'
import { guardBefore, type GuardedCall } from './guardrail.ts'
import { holdKey, holdsOf, matches, noPolicy, type HoldReason } from './policy.ts'
import { check, issueText } from './schema.ts'
import type { CallState, Grant } from './state.ts'

/** A call that no rule forbids: exactly what would be done, and who has to agree first. */
export interface Passed {
  readonly action: Action
  readonly hash: string
  readonly policyVersion: string
  readonly holds: readonly HoldReason[]
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

/**
 * Holds a call against everything that may forbid or hold it: schema, scopes, guardrails, policy, ancestors.
 * @throws TOOL_INPUT_INVALID, SCOPE_DENIED, GUARDRAIL_DENIED
 */
export async function gate(call: Call, task: Task, corrected: Corrected): Promise<Passed> {
  const { deps, tool, caller, options } = call
  const policy = deps.policy ?? noPolicy
  const businessKey = corrected?.businessKey ?? options.businessKey
  const first = await parsed(call, corrected === undefined ? call.input : corrected.input)
  if (caller.tools !== undefined && !caller.tools.some((pattern) => matches(pattern, tool.name)))
    throw new ConvokeError(
      'SCOPE_DENIED',
      `${caller.role ?? caller.actor?.id ?? 'the caller'} may not use ${tool.name}`,
      {
        details: {
          tool: tool.name,
          ...(caller.role === undefined ? {} : { role: caller.role }),
          allowed: caller.tools,
        },
        next: `add ${tool.name} to the role's tools, or ask a role that has it`,
      },
    )
  const rails = await guardBefore(deps.guardrails ?? [], guarded(call, task, first, businessKey))
  const input = rails.redactedBy.length === 0 ? first : await parsed(call, decode(canonicalize(rails.input)))
  const action: Action = {
    tool: tool.name,
    version: tool.version,
    input,
    ...(businessKey === undefined ? {} : { businessKey }),
  }
  const hash = actionHash(action, deps.keyed)
  const holds = holdsOf(policy, tool.name, input, options.approval)
  for (const asked of rails.asked)
    if (!holds.some((h) => h.category === asked.category && (asked.group === undefined || h.group === asked.group)))
      holds.push({
        ...policy.categories?.[asked.category],
        category: asked.category,
        ...(asked.group === undefined ? {} : { group: asked.group }),
        kind: 'call',
        by: `guardrail ${asked.guardrail}: ${asked.reason}`,
      })
  const ancestor =
    tool.effect === 'read' || deps.effects === undefined
      ? undefined
      : await deps.ancestorDispatch?.({ path: task.path, tool: tool.name, businessKey, actionHash: hash })
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
  return { action, hash, policyVersion: policy.version, holds, ancestor }
}

async function parsed(call: Call, input: Json): Promise<Json> {
  const { tool } = call
  const checked = await check(tool.inputSchema, input)
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

/** The first hold that nobody has granted for these very bytes under this very policy. */
export function missing(passed: Passed, grants: readonly Grant[]): HoldReason | undefined {
  return passed.holds.find((hold) => grantOf(passed, hold, grants) === undefined)
}

export function grantOf(passed: Passed, hold: HoldReason, grants: readonly Grant[]): Grant | undefined {
  return grants.find(
    (g) => g.hold === holdKey(hold) && g.actionHash === passed.hash && g.policyVersion === passed.policyVersion,
  )
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
