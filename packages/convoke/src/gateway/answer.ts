import { canonicalize, decode } from '../core/canonical.ts'
import { ConvokeError, toErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Labels } from '../core/labels.ts'
import type { Completion, Task } from '../replay/types.ts'
import type { Action } from './action.ts'
import type { Call } from './deps.ts'
import { guarded } from './gate.ts'
import { guardAfter } from './guardrail.ts'
import { checkOutput } from './result.ts'
import { scrub } from './secrets.ts'
import type { CallState } from './state.ts'

/** What is known of the effect of a call that has ended: certainly none, certainly done, or nobody knows. */
export type Effect = 'none' | 'done' | 'unknown'

/** Labels of what a tool said: untrusted unless the tool is declared otherwise. */
export function labelsOf(call: Call): Labels {
  const { labels, name } = call.tool
  return {
    integrity: labels.integrity ?? 'untrusted',
    confidentiality: [...new Set(labels.confidentiality)].sort(),
    sources: [`tool:${name}`],
  }
}

function extra(call: Call, s: CallState, effect: Effect, more: JsonObject): JsonObject {
  return {
    ...(call.tool.effect === 'read' ? {} : { effect }),
    ...(s.generation === 0 ? {} : { generation: s.generation }),
    ...more,
  }
}

function approvalCauses(s: CallState): NonNullable<Completion['causes']> {
  return s.approvals.map((ref) => ({ ref, kind: 'approval' as const }))
}

/** A failure is an answer too: it is recorded, with the rule or the tool that gave it, and an agent can act on it. */
export function failure(call: Call, s: CallState, thrown: unknown, effect: Effect): Completion {
  const { deps } = call
  const data = toErrorData(thrown, 'TOOL_FAILED')
  const error = scrub(deps.secrets, decode(canonicalize(data))) as unknown as typeof data
  const spoke = s.dispatches > 0 || data.code.startsWith('TOOL_')
  return {
    error,
    extra: extra(call, s, effect, {}),
    causes: approvalCauses(s),
    ...(spoke ? { labels: labelsOf(call) } : {}),
  }
}

/**
 * Makes a tool's raw value the step's result.
 * @throws TOOL_OUTPUT_INVALID
 */
export async function success(
  call: Call,
  task: Task,
  s: CallState,
  action: Action,
  raw: {
    readonly value: unknown
    readonly notes?: readonly string[]
    readonly extra?: JsonObject
    readonly usage?: JsonObject
  },
): Promise<Completion> {
  const { deps, tool } = call
  const output = await checkOutput(tool, raw.value)
  let passed: Awaited<ReturnType<typeof guardAfter>>
  try {
    passed = await guardAfter(deps.guardrails ?? [], guarded(call, task, action.input, action.businessKey), output)
  } catch (error) {
    return failure(call, s, error, 'done')
  }
  const value = passed.redactedBy.length === 0 ? output : await checkOutput(tool, passed.output)
  return {
    value: scrub(deps.secrets, value),
    extra: extra(call, s, 'done', {
      ...(raw.notes === undefined || raw.notes.length === 0 ? {} : { notes: raw.notes }),
      ...(passed.redactedBy.length === 0 ? {} : { redactedBy: passed.redactedBy }),
      ...raw.extra,
    }),
    ...(raw.usage === undefined ? {} : { usage: raw.usage }),
    causes: approvalCauses(s),
    labels: labelsOf(call),
  }
}

/** A dry fork's answer: what the ancestor got, else what the tool says would come. */
export async function simulated(
  call: Call,
  task: Task,
  s: CallState,
  action: Action,
  ancestor: { readonly result?: { readonly value: Json | undefined } } | undefined,
): Promise<Completion> {
  const { tool } = call
  const labels = labelsOf(call)
  if (ancestor?.result !== undefined)
    return { value: ancestor.result.value, extra: { effect: 'none', dry: true }, labels }
  if (tool.simulate === undefined)
    return failure(
      call,
      s,
      new ConvokeError('EFFECT_HELD', `${tool.name} is not called in a dry fork, and cannot be simulated`, {
        details: { tool: tool.name },
        next: `give ${tool.name} a simulate(), or fork with --effects hold`,
      }),
      'none',
    )
  try {
    const value = tool.simulate(action.input)
    const completion = await success(call, task, s, action, { value })
    return { ...completion, extra: { ...completion.extra, effect: 'none', dry: true } }
  } catch (error) {
    return failure(call, s, error, 'none')
  }
}
