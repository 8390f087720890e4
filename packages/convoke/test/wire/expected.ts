import type { Exchange } from './replay-server.ts'

// What a recorded answer says, read straight from the provider's own JSON or event stream, so that the adapter is
// compared with something that is not itself.

export type Api = 'chat' | 'responses' | 'anthropic'

export interface Expected {
  readonly text: string
  readonly calls: readonly { readonly id: string; readonly tool: string; readonly input: unknown }[]
  readonly input: number
  readonly output: number
  readonly model: string
  readonly id: string
}

interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly input_tokens: number
  readonly output_tokens: number
  readonly cache_creation_input_tokens?: number
  readonly cache_read_input_tokens?: number
}

interface Body {
  readonly id: string
  readonly model: string
  readonly usage: Usage
}

interface Chat extends Body {
  readonly choices: readonly {
    readonly message: {
      readonly content: string | null
      readonly tool_calls?: readonly {
        readonly id: string
        readonly function: { readonly name: string; readonly arguments: string }
      }[]
    }
    readonly delta?: { readonly content?: string | null }
  }[]
}

interface Responses extends Body {
  readonly output: readonly {
    readonly type: string
    readonly content: readonly { readonly text?: string; readonly refusal?: string }[]
    readonly call_id: string
    readonly name: string
    readonly arguments: string
  }[]
}

interface Block {
  readonly type: string
  readonly text: string
  readonly id: string
  readonly name: string
  readonly input: unknown
}
interface Anthropic extends Body {
  readonly content: readonly Block[]
}
type AnthropicEvent =
  | { readonly type: 'message_start'; readonly message: Anthropic }
  | { readonly type: 'message_delta'; readonly usage: Partial<Usage> }
  | { readonly type: 'content_block_start'; readonly index: number; readonly content_block: Block }
  | {
      readonly type: 'content_block_delta'
      readonly index: number
      readonly delta: { readonly type: string; readonly text: string; readonly partial_json: string }
    }

export function apiOf(exchange: Exchange): Api | undefined {
  if (exchange.path.endsWith('/chat/completions')) return 'chat'
  if (exchange.path.endsWith('/v1/responses')) return 'responses'
  return exchange.path.endsWith('/v1/messages') ? 'anthropic' : undefined
}

export function isStream(exchange: Exchange): boolean {
  return exchange.request['stream'] === true && exchange.status === 200
}

export function expected(api: Api, exchange: Exchange): Expected {
  const { body } = exchange
  const stream = isStream(exchange)
  switch (api) {
    case 'chat':
      return fromChat(stream ? wholeChat(events<Chat>(body)) : (JSON.parse(body) as Chat))
    case 'responses':
      return fromResponses(stream ? wholeResponses(body) : (JSON.parse(body) as Responses))
    case 'anthropic':
      return fromAnthropic(stream ? wholeAnthropic(events<AnthropicEvent>(body)) : (JSON.parse(body) as Anthropic))
  }
}

function events<T>(text: string): readonly T[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)) as T)
}

function wholeChat(all: readonly Chat[]): Chat {
  const content = all.map((event) => event.choices[0]?.delta?.content ?? '').join('')
  const usage = all.findLast((event) => ((event.usage as Usage | null | undefined) ?? undefined) !== undefined)?.usage
  return { ...all[0]!, usage: usage!, choices: [{ message: { content } }] }
}

function wholeResponses(body: string): Responses {
  const all = events<{ readonly type: string; readonly response: Responses }>(body)
  return all.findLast((event) => event.type === 'response.completed')!.response
}

function wholeAnthropic(all: readonly AnthropicEvent[]): Anthropic {
  const blocks: Block[] = []
  const json: string[] = []
  let message: Anthropic | undefined
  let usage: Partial<Usage> = {}
  for (const event of all) {
    if (event.type === 'message_start') message = event.message
    if (event.type === 'message_delta') usage = event.usage
    if (event.type === 'content_block_start') blocks[event.index] = event.content_block
    if (event.type !== 'content_block_delta') continue
    const block = blocks[event.index]!
    if (event.delta.type === 'text_delta') blocks[event.index] = { ...block, text: block.text + event.delta.text }
    if (event.delta.type === 'input_json_delta')
      json[event.index] = (json[event.index] ?? '') + event.delta.partial_json
  }
  const content = blocks.map((block, i) => (json[i] ? { ...block, input: JSON.parse(json[i]) as unknown } : block))
  return { ...message!, content, usage: { ...message!.usage, ...usage } }
}

function fromChat(body: Chat): Expected {
  const { message } = body.choices[0]!
  return {
    text: message.content ?? '',
    calls: (message.tool_calls ?? []).map((call) => ({
      id: call.id,
      tool: call.function.name,
      input: JSON.parse(call.function.arguments) as unknown,
    })),
    input: body.usage.prompt_tokens,
    output: body.usage.completion_tokens,
    model: body.model,
    id: body.id,
  }
}

function fromResponses(body: Responses): Expected {
  return {
    text: body.output
      .filter((item) => item.type === 'message')
      .flatMap((item) => item.content.map((part) => part.text ?? part.refusal ?? ''))
      .join(''),
    calls: body.output
      .filter((item) => item.type === 'function_call')
      .map((item) => ({ id: item.call_id, tool: item.name, input: JSON.parse(item.arguments) as unknown })),
    input: body.usage.input_tokens,
    output: body.usage.output_tokens,
    model: body.model,
    id: body.id,
  }
}

function fromAnthropic(body: Anthropic): Expected {
  const { usage } = body
  return {
    text: body.content.map((block) => (block.type === 'text' ? block.text : '')).join(''),
    calls: body.content
      .filter((block) => block.type === 'tool_use')
      .map((block) => ({ id: block.id, tool: block.name, input: block.input })),
    input: usage.input_tokens + (usage.cache_creation_input_tokens ?? 0) + (usage.cache_read_input_tokens ?? 0),
    output: usage.output_tokens,
    model: body.model,
    id: body.id,
  }
}
