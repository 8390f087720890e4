import { canonicalize, decode } from '../core/canonical.ts'
import { ConvokeError, toErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Labels } from '../core/labels.ts'
import type { Completion, Task } from '../replay/types.ts'
import type { Action } from './action.ts'
import type { Call } from './deps.ts'
import { deskOf, guarded } from './gate.ts'
import { denial } from './guardrail.ts'
import { judgeOutput, judgingOf, noteJudgement, railsOf, unjudged, type Note } from './guard-run.ts'
import { redactJson } from './guard-text.ts'
import { holdAnswer, release, type HeldAnswer } from './held.ts'
import { checkOutput, fitting } from './result.ts'
import { check } from './schema.ts'
import { scrub } from './secrets.ts'
import { fold, type CallState } from './state.ts'
import type { AnyTool } from './tool.ts'

/** What is known of the effect of a call that has ended: certainly none, certainly done, or nobody knows. */
export type Effect = 'none' | 'done' | 'unknown'

/** Labels of what a tool said: untrusted unless the tool is declared otherwise. */
export function labelsOf(call: Call): Labels {
  const { tool } = call
  let its = said.get(tool)
  if (its === undefined) {
    its = Object.freeze({
      integrity: tool.labels.integrity ?? 'untrusted',
      confidentiality: Object.freeze([...new Set(tool.labels.confidentiality)].sort()),
      sources: Object.freeze([`tool:${tool.name}`]),
    })
    said.set(tool, its)
  }
  return its
}

/** One frozen object for all answers of a tool: what is joined and written with each of them is then found, not made. */
const said = new WeakMap<AnyTool, Labels>()

function extra(call: Call, s: CallState, effect: Effect, more: JsonObject): JsonObject {
  if (call.tool.effect === 'read' && s.generation === 0) return more
  return {
    ...(call.tool.effect === 'read' ? {} : { effect }),
    ...(s.generation === 0 ? {} : { generation: s.generation }),
    ...more,
  }
}

function approvalCauses(s: CallState): NonNullable<Completion['causes']> {
  return s.approvals.length === 0 ? unapproved : s.approvals.map((ref) => ({ ref, kind: 'approval' as const }))
}

const unapproved: NonNullable<Completion['causes']> = Object.freeze([])

/** A failure is an answer too: it is recorded, with the rule or the tool that gave it, and an agent can act on it. */
export function failure(call: Call, s: CallState, thrown: unknown, effect: Effect): Completion {
  const { deps } = call
  const data = toErrorData(thrown, 'TOOL_FAILED')
  const error = hide(call, scrub(deps.secrets, decode(canonicalize(data)))) as unknown as typeof data
  const spoke = s.dispatches > 0 || data.code.startsWith('TOOL_')
  return {
    error,
    extra: extra(call, s, effect, {}),
    causes: approvalCauses(s),
    ...(spoke ? { labels: labelsOf(call) } : {}),
  }
}

/** What a tool said of its failure goes where its answer would have gone: rules about text hold for it too. */
function hide(call: Call, error: Json): Json {
  let data = error
  for (const { text } of railsOf(call.deps.guardrails, call.tool.name, 'output'))
    if (text !== undefined && (text.at ?? ['output']).includes('output')) data = redactJson(text, data).value
  return data
}

/**
 * Makes a tool's raw value the step's result. Undefined when it is held for a person: look again.
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
): Promise<Completion | undefined> {
  const { deps, tool } = call
  const output = fitting(tool, await check(tool.outputSchema, raw.value))
  const rails = railsOf(deps.guardrails, tool.name, 'output')
  const judged =
    rails.length === 0
      ? unjudged(output)
      : await judgeOutput(deskOf(call, task, rails), guarded(call, task, action.input, action.businessKey), output)
  const { denied, asked, redactedBy } = judged
  const more: JsonObject = {
    ...(raw.notes === undefined || raw.notes.length === 0 ? {} : { notes: raw.notes }),
    ...(redactedBy.length === 0 ? {} : { redactedBy }),
    ...raw.extra,
  }
  if (denied !== undefined) {
    const error = denial(denied.guardrail, `what ${tool.name} answered`, denied.reason)
    return withJudging(failure(call, s, error, 'done'), task, judged.notes)
  }
  const value = scrub(deps.secrets, redactedBy.length === 0 ? output : await checkOutput(tool, judged.value))
  if (asked.length > 0) {
    noteJudgement(task, 'output', judged)
    holdAnswer(task, { value, asked, extra: extra(call, s, 'done', more), usage: raw.usage })
    await task.durable()
    return undefined
  }
  return withJudging(
    {
      value,
      extra: extra(call, s, 'done', more),
      ...(raw.usage === undefined ? {} : { usage: raw.usage }),
      causes: approvalCauses(s),
      labels: labelsOf(call),
    },
    task,
    judged.notes,
  )
}

/** What was said of an answer stands in the record that ends the step, with what it took to say it. */
function withJudging(completion: Completion, task: Task, notes: readonly Note[]): Completion {
  if (notes.length === 0 && task.history.length === 0) return completion
  const spoke = notes.filter((note) => note.verdict !== 'allow' || note.usage !== undefined)
  return {
    ...completion,
    extra: {
      ...completion.extra,
      ...(spoke.length === 0 ? {} : { guarded: spoke as unknown as Json }),
      ...judgingOf(task, notes),
    },
  }
}

/** Ends a call whose answer is held, once it is decided. */
export async function released(call: Call, task: Task, s: CallState, held: HeldAnswer): Promise<Completion> {
  const { deps, tool, caller } = call
  const refused = await release(task, held, {
    keyed: deps.keyed,
    policy: deps.policy,
    starter: deps.starter,
    what: tool.name,
    role: caller.role,
    labels: labelsOf(call),
  })
  const causes = approvalCauses(fold(task.history))
  if (refused !== undefined) return { ...failure(call, s, refused, 'done'), causes }
  return {
    value: held.value,
    extra: held.extra,
    ...(held.usage === undefined ? {} : { usage: held.usage }),
    causes,
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
): Promise<Completion | undefined> {
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
    const completion = await success(call, task, s, action, { value, extra: { effect: 'none', dry: true } })
    return completion
  } catch (error) {
    return failure(call, s, error, 'none')
  }
}
