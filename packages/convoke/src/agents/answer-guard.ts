import type { ConvokeError } from '../core/errors.ts'
import { toErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { noLabels } from '../core/labels.ts'
import { denial, type GuardedText } from '../gateway/guardrail.ts'
import { judgeText, judgingOf, noteJudgement, textRailsOf, type Desk, type Spend } from '../gateway/guard-run.ts'
import { textStream } from '../gateway/guard-stream.ts'
import { findIn, redactText } from '../gateway/guard-text.ts'
import { holdAnswer, release, type HeldAnswer } from '../gateway/held.ts'
import type { GatewayDeps } from '../gateway/deps.ts'
import type { Part } from '../ports/model.ts'
import type { Completion, Task } from '../replay/types.ts'
import type { ModelAnswer, ModelCall } from './model-call.ts'
import type { AskWork } from './work.ts'

// Guardrails on what models write. The stream that watchers see and the answer that is recorded pass the same rules, and
// the stream is the answer's beginning. Arguments of tool calls are not judged here but where the call is made.

/** What judges the answers of one ask's model. */
export interface AnswerGuard {
  readonly gateway: GatewayDeps
  readonly role: string
  readonly spend: Spend
}

export function answerGuard(work: AskWork): AnswerGuard | undefined {
  const { gateway } = work.deps
  if (gateway.guardrails === undefined || gateway.guardrails.length === 0) return undefined
  return {
    gateway,
    role: work.role.name,
    spend: { assert: () => work.assertBudget(), used: (usage) => work.used(usage) },
  }
}

/** What watchers see of an answer while it comes. */
export interface AnswerStream {
  readonly push: (delta: string) => void
  /** Aborts when the guardrails end the stream. */
  readonly signal: AbortSignal
  /** Why it was ended. */
  readonly denied: ConvokeError | undefined
  /** Shows the rest. @throws GUARDRAIL_DENIED */
  end(final: string): void
}

export function answerStream(task: Task, { guard, model }: ModelCall): AnswerStream {
  const over = new AbortController()
  const show = (delta: string): void => task.scope.engine.live(task.scope, 'model.text', { path: task.path, delta })
  const stream = textStream(textRailsOf(guard?.gateway.guardrails, guard?.role, 'answer'), show)
  let denied: ConvokeError | undefined
  const end = (error: unknown): void => {
    denied = error as ConvokeError
    const { guardrail = '', reason = '' } = (denied.details ?? {}) as { guardrail?: string; reason?: string }
    task.scope.engine.live(task.scope, 'guardrail.denied', { path: task.path, model: model.id, guardrail, reason })
    over.abort(denied)
  }
  return {
    signal: over.signal,
    get denied() {
      return denied
    },
    push(delta) {
      if (denied !== undefined) return
      try {
        stream.push(delta)
      } catch (error) {
        end(error)
      }
    },
    end(final) {
      if (denied !== undefined) throw denied
      try {
        stream.end(final)
      } catch (error) {
        end(error)
        throw error
      }
    },
  }
}

/** What the guardrails make of a whole answer; what goes into its record, or waits for a person first. */
export async function guardedAnswer(
  task: Task,
  call: ModelCall,
  completion: Completion,
  stream: AnswerStream,
): Promise<Completion> {
  const { guard, model } = call
  const rails = textRailsOf(guard?.gateway.guardrails, guard?.role, 'answer')
  const answer = completion.value as unknown as ModelAnswer | undefined
  if (stream.denied !== undefined) return refuse(completion, stream.denied)
  if (guard === undefined || rails.length === 0 || answer === undefined) return completion
  const desk: Desk = { rails, task, keyed: guard.gateway.keyed, clock: guard.gateway.clock, spend: guard.spend }
  const said = (text: string): GuardedText => ({
    text,
    model: model.id,
    tenant: task.tenant,
    run: task.run,
    path: task.path,
    role: guard.role,
  })
  const text = textOf(answer.parts)
  const judged = await judgeText(desk, 'answer', said(text))
  noteJudgement(task, 'answer', judged)
  const judging = judgingOf(task)
  const redactedBy = judged.redactedBy.length === 0 ? {} : { redactedBy: judged.redactedBy }
  const done: Completion = {
    ...completion,
    value: { ...answer, parts: withText(hideReasoning(rails, answer.parts), text, judged.value) },
    extra: { ...completion.extra, ...redactedBy, ...judging },
  }
  if (judged.denied !== undefined) {
    const error = denial(judged.denied.guardrail, `this answer of ${model.id}`, judged.denied.reason)
    return refuse(done, error)
  }
  if (judged.asked.length > 0) {
    const { value, extra = {}, usage } = done
    holdAnswer(task, { value: value as Json, asked: judged.asked, extra, usage })
    await task.durable()
    return releasedAnswer(task, call, { value: value as Json, asked: judged.asked, extra, usage })
  }
  try {
    stream.end(judged.value)
    return done
  } catch (error) {
    return refuse(done, error)
  }
}

/** Waits for those who were asked about an answer. What was not streamed yet is not: it stands in the record. */
export async function releasedAnswer(task: Task, call: ModelCall, held: HeldAnswer): Promise<Completion> {
  const { guard, model } = call
  const labels = { ...noLabels, sources: [`model:${model.id}`] }
  const done: Completion = {
    value: held.value,
    labels,
    extra: { ...held.extra, ...judgingOf(task) },
    ...(held.usage === undefined ? {} : { usage: held.usage }),
  }
  if (guard === undefined) return done
  const { keyed, policy, starter } = guard.gateway
  const refused = await release(task, held, { keyed, policy, starter, what: model.id, role: guard.role, labels })
  return refused === undefined ? done : refuse(done, refused)
}

function refuse(completion: Completion, error: unknown): Completion {
  return { ...completion, value: undefined, error: toErrorData(error, 'GUARDRAIL_DENIED') }
}

function textOf(parts: readonly Part[]): string {
  return parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')
}

/** The parts with another text: as it was, or all of it in the first text part. */
function withText(parts: readonly Part[], before: string, after: string): readonly Part[] {
  if (before === after) return parts
  const first = parts.findIndex((part) => part.type === 'text')
  return parts.flatMap((part, i): Part[] => {
    if (part.type !== 'text') return [part]
    // What a provider signed is not what stands there now.
    return i === first ? [{ type: 'text', text: after }] : []
  })
}

/** Reasoning is recorded and shown to nobody while it comes; what rules find in it is taken out whatever they do else. */
function hideReasoning(rails: Desk['rails'], parts: readonly Part[]): readonly Part[] {
  return parts.map((part) => {
    if (part.type !== 'reasoning') return part
    let { text } = part
    for (const { text: rule } of rails)
      if (rule !== undefined && (rule.at ?? ['answer']).includes('answer')) text = redactText(text, findIn(rule, text))
    return text === part.text ? part : { type: 'reasoning', text }
  })
}
