import { canonicalize } from '../core/canonical.ts'
import { ConvokeError, toErrorData, type ErrorData } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { noLabels } from '../core/labels.ts'
import type { Cause, RecordRef } from '../core/record.ts'
import { usageOf } from '../costs/usage.ts'
import type { Ledger } from '../ports/ledger.ts'
import type { Message, Model, ModelRequest, ModelResponse, ModelTool, Part } from '../ports/model.ts'
import type { Probe } from '../ports/probe.ts'
import type { Clock } from '../ports/runtime.ts'
import type { Completion, Operation, Task } from '../replay/types.ts'
import { heldAnswer } from '../gateway/held.ts'
import { answerStream, guardedAnswer, releasedAnswer, type AnswerGuard } from './answer-guard.ts'
import { digestWith, rebuild, type Added, type Conversation } from './conversation.ts'

/** How a model is asked; part of the environment hash (R9). */
export interface ModelSettings {
  readonly temperature?: number
  readonly maxOutputTokens?: number
  /** What only some providers know; see ModelRequest. */
  readonly settings?: JsonObject
  /** Tries after the first when the provider is unreachable or asks to wait; 4 unless said. */
  readonly retries?: number
}

export interface ModelCall {
  readonly model: Model
  readonly conversation: Conversation
  readonly added: readonly Added[]
  readonly tools?: readonly ModelTool[]
  readonly toolChoice?: 'auto' | 'none' | 'required'
  readonly outputSchema?: JsonObject
  readonly settings: ModelSettings
  /** Records that the messages show. */
  readonly shown?: readonly RecordRef[]
  /** Milliseconds since the epoch. */
  readonly deadline?: number | undefined
  /** Waits while the role is ordered to stop. @throws RUN_HALTED when the run is */
  readonly standStill?: ((task: Task) => Promise<void>) | undefined
  /** Throws BUDGET_EXCEEDED; asked right before each call. */
  readonly assertBudget: () => void
  /** What judges what the model writes. */
  readonly guard?: AnswerGuard | undefined
  /** Told the usage of the finished call, live and on replay. */
  readonly used: (usage: JsonObject | undefined) => void
}

export interface ModelCallDeps {
  readonly ledger: Pick<Ledger, 'read' | 'getBlob'>
  readonly clock: Clock
  readonly probe?: Probe | undefined
}

/** What a model call's record holds as its value. */
export interface ModelAnswer {
  readonly parts: readonly Part[]
  readonly finish: ModelResponse['finish']
  readonly servedModel?: string
  readonly responseId?: string
  readonly warnings?: readonly string[]
}

/** A model call's answer with the record that holds it. */
export interface Answered extends ModelAnswer {
  readonly ref: RecordRef
}

const firstDelay = 1_000
const maxDelay = 60_000

/**
 * One call of a model, retried by the rules of its errors. It needs no intent of its own: a call that was lost in a
 * crash is made again. The record holds the answer and what was added to the conversation.
 * @throws what the model throws after its retries; BUDGET_EXCEEDED; DEADLINE_PASSED
 */
export function modelOperation(call: ModelCall, deps: ModelCallDeps): Operation {
  const { model, conversation, added, settings } = call
  const { base } = conversation
  const shape = {
    ...(call.tools === undefined ? {} : { tools: call.tools }),
    ...(call.toolChoice === undefined ? {} : { toolChoice: call.toolChoice }),
    ...(call.outputSchema === undefined ? {} : { outputSchema: call.outputSchema }),
    ...requestSettings(settings),
  }
  const causes: Cause[] = [...new Set(call.shown ?? [])].map((ref) => ({ ref, kind: 'shown' }))
  if (base !== undefined) causes.unshift({ ref: base, kind: 'input' })
  const kept = {
    extra: { messages: { ...(base === undefined ? {} : { base }), added: added.map((a) => a.key) } },
    blobs: added.flatMap((a) => a.blob ?? []),
  }
  const withKept = (done: Completion): Completion => ({ ...done, ...kept, extra: { ...done.extra, ...kept.extra } })
  return {
    kind: 'model',
    name: 'model',
    target: model.id,
    input: { conversation: digestWith(conversation.digest, added), request: sha256(canonicalize(shape)) },
    declared: true,
    causes,
    ...(conversation.labels === undefined ? {} : { labels: conversation.labels }),
    actor: { kind: 'model', id: model.id },
    execute: async (task) => {
      await task.durable()
      const held = heldAnswer(task)
      if (held !== undefined) return withKept(await releasedAnswer(task, call, held))
      const earlier = conversation.loaded || base === undefined ? [] : await rebuild(deps.ledger, task.tenant, base)
      const messages: readonly Message[] = [...earlier, ...conversation.messages, ...added.map((a) => a.message)]
      return withKept(await attempts(task, { messages, ...shape }, call, deps))
    },
    applied: ({ payload }) => {
      call.used(payload['usage'] as JsonObject | undefined)
      if (payload['judging'] !== undefined) call.used(payload['judging'] as JsonObject)
    },
    present: (value, entry): Answered => ({
      ...(value as ModelAnswer),
      ref: `${entry.record.stream}@${entry.record.seq}`,
    }),
  }
}

function requestSettings(settings: ModelSettings): Partial<ModelRequest> {
  const { retries: _, ...rest } = settings
  return rest
}

async function attempts(task: Task, request: ModelRequest, call: ModelCall, deps: ModelCallDeps): Promise<Completion> {
  const { model, settings } = call
  const retries = Math.min(settings.retries ?? 4, 100)
  const noted = task.history.findLast((entry) => entry.record.type === 'model.retrying')?.payload
  let tried = (noted?.['attempt'] as number | undefined) ?? 0
  if (noted !== undefined) await task.until(noted['until'] as number)
  for (;;) {
    try {
      return await once(task, request, call, deps)
    } catch (error) {
      if (task.signal.aborted) throw error
      const retryable =
        error instanceof ConvokeError && (error.code === 'MODEL_RATE_LIMITED' || error.code === 'MODEL_UNREACHABLE')
      if (!retryable || tried >= retries) return { error: toErrorData(error, 'MODEL_UNREACHABLE') }
      tried++
      const until = task.now() + delayOf(error, tried, task.path)
      if (call.deadline !== undefined && until >= call.deadline) return { error: late(call.deadline, model.id) }
      task.append('model.retrying', { attempt: tried, of: retries, until, error: { ...error.toJSON() } as Json })
      task.scope.engine.live(task.scope, 'model.retrying', { model: model.id, attempt: tried, until, code: error.code })
      await task.durable()
      await task.until(until)
    }
  }
}

/** What the provider asks for, else doubling; spread by path so that parallel runs do not come back as one. */
function delayOf(error: ConvokeError, attempt: number, path: string): number {
  const asked = error.details?.['retryAfterMs']
  if (typeof asked === 'number' && asked >= 0) return Math.ceil(asked)
  const whole = Math.min(maxDelay, firstDelay * 2 ** (attempt - 1))
  const share = Number.parseInt(sha256(`${path}\n${attempt}`).slice(0, 4), 16) / 0xffff
  return Math.ceil(whole * (0.75 + share / 2))
}

async function once(task: Task, request: ModelRequest, call: ModelCall, deps: ModelCallDeps): Promise<Completion> {
  const { model } = call
  await call.standStill?.(task)
  call.assertBudget()
  const began = deps.clock.monotonic()
  const guard = deadlineSignal(task, call, deps.clock)
  const stream = answerStream(task, call)
  try {
    deps.probe?.(`model.before:${model.id}`)
    const response = await model.generate(request, {
      signal: AbortSignal.any([guard.signal, stream.signal]),
      onText: stream.push,
    })
    deps.probe?.(`model.after:${model.id}`)
    if (response.finish === 'error')
      throw new ConvokeError('MODEL_UNREACHABLE', `${model.id} broke off`, {
        details: { model: model.id, finish: response.finish },
      })
    const completion = completionOf(response, model, { at: task.now(), ms: Math.round(deps.clock.monotonic() - began) })
    return await guardedAnswer(task, call, completion, stream)
  } catch (error) {
    // The end that the guardrails made is no trouble of the model's.
    if (stream.denied !== undefined && !task.signal.aborted) return { error: stream.denied.toJSON() }
    throw error
  } finally {
    guard.end()
  }
}

function completionOf(response: ModelResponse, model: Model, when: { at: number; ms: number }): Completion {
  const usage = usageOf(response, model, when)
  const labels = { ...noLabels, sources: [`model:${model.id}`] }
  const error = failureOf(response, model)
  if (error !== undefined) return { error, usage, labels }
  const value: ModelAnswer = {
    parts: response.parts.map(wellFormed),
    finish: response.finish,
    ...(response.servedModel === undefined ? {} : { servedModel: response.servedModel }),
    ...(response.responseId === undefined ? {} : { responseId: response.responseId }),
    ...(response.warnings === undefined || response.warnings.length === 0 ? {} : { warnings: response.warnings }),
  }
  return { value, usage, labels }
}

function failureOf(response: ModelResponse, model: Model): ErrorData | undefined {
  if (response.finish !== 'content-filter') return undefined
  return new ConvokeError('MODEL_REFUSED', `${model.id} withheld its answer: a content filter stopped it`, {
    details: { model: model.id, finish: response.finish },
    next: 'look at what the agent was shown, or give the role another agent',
  }).toJSON()
}

/** Text that no record could hold is repaired rather than losing an answer that was paid for. */
function wellFormed(part: Part): Part {
  if (part.type === 'text' || part.type === 'reasoning') return { ...part, text: part.text.toWellFormed() }
  return part.type === 'tool-call'
    ? { ...part, input: part.input.toWellFormed(), tool: part.tool.toWellFormed() }
    : part
}

/** The task's signal, and an end at the deadline. */
function deadlineSignal(
  task: Task,
  call: ModelCall,
  clock: Clock,
): { readonly signal: AbortSignal; readonly end: () => void } {
  const { deadline } = call
  if (deadline === undefined) return { signal: task.signal, end: () => undefined }
  const left = deadline - task.now()
  if (left <= 0) throw lateError(deadline, call.model.id)
  const over = new AbortController()
  const timer = new AbortController()
  void clock.sleep(left, timer.signal).then(
    () => over.abort(lateError(deadline, call.model.id)),
    () => undefined,
  )
  return { signal: AbortSignal.any([task.signal, over.signal]), end: () => timer.abort() }
}

function lateError(deadline: number, model: string): ConvokeError {
  return new ConvokeError('DEADLINE_PASSED', `the deadline of the task passed before ${model} had answered`, {
    details: { deadline, model },
    next: 'give the task more time, or ask a faster agent',
  })
}

function late(deadline: number, model: string): ErrorData {
  return lateError(deadline, model).toJSON()
}
