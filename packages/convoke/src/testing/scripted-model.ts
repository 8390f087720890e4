import { setTimeout as pause } from 'node:timers/promises'
import { estimateTokens } from '../costs/estimate.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json } from '../core/json.ts'
import type { Message, Model, ModelRequest, ModelResponse, Part, Tokens } from '../ports/model.ts'
import type { Clock } from '../ports/runtime.ts'
import { isFault, type ScriptedReply, type ScriptedResponse } from './faults.ts'

// A model made of rules. It sees the request and nothing else, so it can only find what a real model could find. One
// instance owns one count: how often it saw exactly this request, so that a rule can fail first and answer then.

/** `attempt`: 1 the first time this instance sees exactly this request, then 2, … */
export interface ScriptedCall {
  readonly attempt: number
}

export interface ScriptedRule {
  readonly name: string
  /** False or undefined: the next rule is asked. Anything else goes to `reply` as what was found. */
  when(request: ModelRequest): unknown
  reply(request: ModelRequest, match: never, call: ScriptedCall): ScriptedReply | Promise<ScriptedReply>
}

/** A rule whose reply knows the type of what `when` found. */
export function rule<M>(definition: {
  readonly name: string
  when(request: ModelRequest): M | false | undefined | null
  reply(request: ModelRequest, match: M, call: ScriptedCall): ScriptedReply | Promise<ScriptedReply>
}): ScriptedRule {
  return definition
}

export interface ScriptedModelOptions {
  /** What stands behind `scripted/`. */
  readonly id: string
  /** Asked in order; the first that matches answers. */
  readonly rules: readonly ScriptedRule[]
  /** For delays and silence; the machine's timers when absent. */
  readonly clock?: Pick<Clock, 'sleep'>
  /** Milliseconds after which a silent reply counts as unreachable, as a real adapter would say. Default 120,000. */
  readonly idleTimeoutMs?: number
  /** Milliseconds between two pieces of text for `onText`. Default 0. */
  readonly paceMs?: number
}

const rememberedRequests = 10_000

/**
 * A deterministic model that says what it is: `kind` is `scripted`. Tokens are estimates (`estimateTokens`) of every
 * part and tool description plus four a message, so that budgets have something to count; its cost is none.
 * @throws MODEL_REFUSED when no rule matches, naming the rules; and what a rule replies as an error
 */
export function scriptedModel(options: ScriptedModelOptions): Model {
  const id = `scripted/${options.id}`
  const seen = new Map<string, number>()
  const sleep = options.clock?.sleep.bind(options.clock) ?? realSleep

  async function generate(
    request: ModelRequest,
    call: { readonly signal: AbortSignal; readonly onText?: (delta: string) => void },
  ): Promise<ModelResponse> {
    call.signal.throwIfAborted()
    const digest = sha256(JSON.stringify(request))
    const attempt = (seen.get(digest) ?? 0) + 1
    if (seen.size >= rememberedRequests) seen.clear()
    seen.set(digest, attempt)

    let reply = await ask(options.rules, request, { attempt }, id)
    for (let depth = 0; isFault(reply) && depth < 10; depth++) {
      await sleep(reply.kind === 'silent' ? (options.idleTimeoutMs ?? 120_000) : reply.ms, call.signal)
      if (reply.kind === 'silent')
        throw new ConvokeError('MODEL_UNREACHABLE', `${id} sent nothing`, { details: { model: id, reason: 'silent' } })
      reply = reply.reply
    }
    call.signal.throwIfAborted()
    if (reply instanceof ConvokeError) throw reply
    if (isFault(reply)) throw new RangeError(`a reply of ${id} is delayed more than ten times over`)
    const response = toResponse(reply, request, id, digest)
    if (call.onText !== undefined)
      await speak(response, call.onText, (ms) => sleep(ms, call.signal), options.paceMs ?? 0)
    return response
  }

  return { id, provider: 'scripted', kind: 'scripted', generate }
}

async function ask(
  rules: readonly ScriptedRule[],
  request: ModelRequest,
  call: ScriptedCall,
  id: string,
): Promise<ScriptedReply> {
  for (const candidate of rules) {
    const match = candidate.when(request)
    if (match !== false && match !== undefined && match !== null) return candidate.reply(request, match as never, call)
  }
  throw new ConvokeError('MODEL_REFUSED', `no rule of ${id} matches the request`, {
    details: { model: id, rules: rules.map((r) => r.name), asked: lastText(request).slice(0, 200) },
    next: 'add a rule for it, or correct the prompt',
  })
}

function toResponse(
  reply: string | readonly Part[] | ScriptedResponse,
  request: ModelRequest,
  id: string,
  digest: string,
): ModelResponse {
  const said: ScriptedResponse =
    typeof reply === 'string' ? { parts: [{ type: 'text', text: reply }] } : 'parts' in reply ? reply : { parts: reply }
  const parts = numberCalls(said.parts, request)
  return {
    finish: parts.some((part) => part.type === 'tool-call') ? 'tool-calls' : 'stop',
    tokens: countTokens(request, parts),
    servedModel: id.slice('scripted/'.length),
    responseId: `scripted-${digest.slice(0, 12)}`,
    ...said,
    parts,
  }
}

/** Calls without an id are numbered on from those of the conversation, so that ids never repeat within it. */
function numberCalls(parts: readonly Part[], request: ModelRequest): readonly Part[] {
  let calls = request.messages.flatMap((message) => message.parts).filter((part) => part.type === 'tool-call').length
  return parts.map((part) =>
    part.type === 'tool-call' && part.id === '' ? { ...part, id: `call_${String(++calls)}` } : part,
  )
}

/** A tool call of a reply; the model gives the id. `input` is sent as JSON, or raw where it is a text. */
export function toolCall(tool: string, input: Json): Part {
  return { type: 'tool-call', id: '', tool, input: typeof input === 'string' ? input : JSON.stringify(input) }
}

/** The text of the last message that has some. */
export function lastText(request: ModelRequest): string {
  return request.messages.map(textOf).findLast((text) => text !== '') ?? ''
}

function textOf(message: Message): string {
  return message.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n')
}

function countTokens(request: ModelRequest, reply: readonly Part[]): Tokens {
  let input = request.messages.length * 4
  for (const message of request.messages) for (const part of message.parts) input += tokensOf(part)
  for (const tool of request.tools ?? []) input += estimateTokens(JSON.stringify(tool))
  if (request.outputSchema !== undefined) input += estimateTokens(JSON.stringify(request.outputSchema))
  return { input, output: reply.reduce((sum, part) => sum + tokensOf(part), 0) }
}

function tokensOf(part: Part): number {
  switch (part.type) {
    case 'text':
    case 'reasoning':
      return estimateTokens(part.text)
    case 'tool-call':
      return 4 + estimateTokens(part.tool) + estimateTokens(part.input)
    case 'tool-result':
      return 4 + estimateTokens(typeof part.output === 'string' ? part.output : JSON.stringify(part.output))
    case 'file':
      // Providers charge pages and pixels, not bytes: about one page.
      return 800
  }
}

/** Text in pieces of about five words. */
async function speak(
  response: ModelResponse,
  onText: (delta: string) => void,
  sleep: (ms: number) => Promise<void>,
  paceMs: number,
): Promise<void> {
  for (const part of response.parts) {
    if (part.type !== 'text') continue
    for (const piece of part.text.match(/(?:\S*\s*){1,5}/g) ?? []) {
      if (piece === '') continue
      if (paceMs > 0) await sleep(paceMs)
      onText(piece)
    }
  }
}

async function realSleep(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await pause(ms, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    throw signal?.aborted === true ? signal.reason : error
  }
}
