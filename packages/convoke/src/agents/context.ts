import { canonicalize } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { refOf, type RecordRef } from '../core/record.ts'
import type { Outcome } from '../contracts/outcome.ts'
import type { Role } from '../contracts/role.ts'
import type { RunCallOptions } from '../gateway/extend.ts'
import type { Tool } from '../gateway/tool.ts'
import type { Message, Model, ModelTool } from '../ports/model.ts'
import type { DurableRun } from '../replay/durable-run.ts'
import { extend, freshConversation, resultOf, storedMessage, type Conversation } from './conversation.ts'
import { answerGuard } from './answer-guard.ts'
import { guardMessages } from './prompt-guard.ts'
import { modelOperation, type Answered, type ModelSettings } from './model-call.ts'
import { shownOperation } from './records.ts'
import type { Segment, Shown } from './segment.ts'
import { callOf } from './tools.ts'
import type { AskOptions, AskWork } from './work.ts'

export interface GenerateRequest {
  /** The app's default unless said. */
  readonly model?: string | Model
  /** Messages that follow those of the call before are stored once: pass its messages, its `message`, then new ones. */
  readonly messages: readonly Message[]
  readonly tools?: readonly ModelTool[]
  readonly toolChoice?: 'auto' | 'none' | 'required'
  readonly outputSchema?: JsonObject
  readonly settings?: ModelSettings
}

export interface Generated extends Answered {
  /** The answer as a message of the conversation. */
  readonly message: Message
  readonly text: string
}

/** What an agent's code may do. Everything it awaits goes through here; the rest of it must be deterministic. */
export interface AgentContext extends Pick<
  DurableRun,
  'step' | 'board' | 'log' | 'now' | 'random' | 'uuid' | 'signal'
> {
  readonly input: unknown
  readonly role: string
  /**
   * Calls a tool of the role through the gateway; its answer counts as shown.
   * @throws SCOPE_DENIED and what the gateway throws
   */
  call<I, O>(tool: Tool<I, O>, input: I, options?: RunCallOptions<I, O>): Promise<O>
  /** Asks another role, through the orchestrator. @throws ASK_NOT_ALLOWED and what the ask throws */
  ask<I, O>(role: Role<I, O>, input: I, options?: AskOptions): Promise<Outcome<O>>
  /** One call of a model, for agents that talk to one directly. @throws what the model throws; BUDGET_EXCEEDED */
  generate(request: GenerateRequest): Promise<Generated>
  /** Notes what the agent was shown, so that claims can cite it. */
  show(segment: Segment): Promise<Shown & { readonly record: RecordRef }>
}

/**
 * Makes the context of one ask. `collects`: what the agent's code fetches counts as shown to the agent. A model's
 * briefing code does not collect, since the model sees only the segments that it returns.
 */
export function agentContext(work: AskWork, collects: boolean): AgentContext {
  const { scope, engine, role, deps } = work
  const run = deps.runOf(scope)
  let conversation: Conversation = freshConversation()
  /** The conversation's messages as the agent passed them and got them. */
  let known: Message[] = []

  /** An agent that does not await what is given up must not end the process. */
  const quiet = <T>(promise: Promise<T>): Promise<T> => {
    promise.catch(() => undefined)
    return promise
  }
  const collect = (content: Json, ref: RecordRef, title: string, asOf: number): void => {
    if (collects && role.evidence !== 'none') work.evidence.add({ content, from: { record: ref }, title, asOf })
  }

  async function call<I, O>(tool: Tool<I, O>, input: I, options: RunCallOptions<I, O> = {}): Promise<O> {
    const operation = callOf(work, tool, input, options)
    return await work.claim<O>({
      ...operation,
      applied: (entry) => {
        if (entry.payload['error'] === undefined)
          collect(resultOf(entry.payload), refOf(entry.record), tool.name, entry.record.at)
        operation.applied?.(entry)
      },
    })
  }

  async function ask<I, O>(asked: Role<I, O>, input: I, options: AskOptions = {}): Promise<Outcome<O>> {
    const outcome = await work.claim<Outcome<O>>(work.nested(asked, input, options))
    collect(outcome.value as Json, outcome.record, asked.name, engine.time)
    return outcome
  }

  async function generate(request: GenerateRequest): Promise<Generated> {
    const goesOn = request.messages.length >= known.length && known.every((m, i) => same(m, request.messages[i]))
    if (!goesOn) {
      conversation = freshConversation()
      known = []
    }
    const rest = request.messages.slice(known.length)
    const model = deps.models(request.model)
    const shown = await guardMessages(work, model, rest)
    const added = shown.map((m) => storedMessage(deps.redact(m as unknown as Json) as unknown as Message))
    const answered = await work.claim<Answered>(
      modelOperation(
        {
          model,
          conversation,
          added,
          ...(request.tools === undefined ? {} : { tools: request.tools }),
          ...(request.toolChoice === undefined ? {} : { toolChoice: request.toolChoice }),
          ...(request.outputSchema === undefined ? {} : { outputSchema: request.outputSchema }),
          settings: request.settings ?? {},
          deadline: work.terms.deadline,
          standStill: (task) => work.standStill(task),
          assertBudget: () => work.assertBudget(),
          used: (usage) => work.used(usage),
          guard: answerGuard(work),
        },
        deps,
      ),
    )
    extend(conversation, added, answered)
    const message = conversation.messages.at(-1) as Message
    known.push(...rest, message)
    const text = answered.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')
    return { ...answered, message, text }
  }

  async function show(segment: Segment): Promise<Shown & { readonly record: RecordRef }> {
    if (segment === null || typeof segment !== 'object')
      throw new ConvokeError('INPUT_INVALID', 'show() takes a segment: { content, from }')
    const shown = work.evidence.add(segment)
    const { ref } = await work.claim<{ readonly ref: RecordRef }>(shownOperation([shown]))
    work.evidence.prove([shown], ref)
    return { ...shown, record: work.evidence.refOf(shown) }
  }

  return {
    input: work.input,
    role: role.name,
    get signal(): AbortSignal {
      return scope.signal
    },
    step: run.step.bind(run),
    board: run.board,
    log: run.log.bind(run),
    now: run.now.bind(run),
    random: run.random.bind(run),
    uuid: run.uuid.bind(run),

    call: (tool, input, options) => quiet(call(tool, input, options)),
    ask: (asked, input, options) => quiet(ask(asked, input, options)),
    generate: (request) => quiet(generate(request)),
    show: (segment) => quiet(show(segment)),
  }
}

/** Messages that came from the call before are the same objects; others are compared by what they say. */
function same(a: Message, b: Message | undefined): boolean {
  return a === b || (b !== undefined && canonicalize(a) === canonicalize(b))
}
