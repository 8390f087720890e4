import type { Json, JsonObject } from '../core/json.ts'

/**
 * One part of a message. `providerData` is what the provider wants back unchanged in the next request (signatures of
 * reasoning, item ids), keyed by provider.
 */
export type Part =
  | { readonly type: 'text'; readonly text: string; readonly providerData?: JsonObject }
  | { readonly type: 'reasoning'; readonly text: string; readonly providerData?: JsonObject }
  /** `data` is base64; `blob` the content hash where the bytes stand in the ledger instead. */
  | {
      readonly type: 'file'
      readonly mediaType: string
      readonly data?: string
      readonly blob?: string
      readonly providerData?: JsonObject
    }
  | {
      readonly type: 'tool-call'
      readonly id: string
      readonly tool: string
      readonly input: string
      readonly providerData?: JsonObject
    }
  | {
      readonly type: 'tool-result'
      readonly id: string
      readonly tool: string
      readonly output: Json
      readonly isError?: boolean
    }

export interface Message {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
  readonly parts: readonly Part[]
}

export interface ModelTool {
  readonly name: string
  readonly description: string
  /** JSON Schema 2020-12 of the input. */
  readonly inputSchema: JsonObject
}

export interface ModelRequest {
  readonly messages: readonly Message[]
  readonly tools?: readonly ModelTool[]
  readonly toolChoice?: 'auto' | 'none' | 'required'
  /** JSON Schema the answer should follow, for providers that can enforce it. */
  readonly outputSchema?: JsonObject
  readonly maxOutputTokens?: number
  readonly temperature?: number
  /** What only some providers know: `topP`, `topK`, `seed`, `stopSequences`, `reasoning`, `providerOptions`, … */
  readonly settings?: JsonObject
}

/**
 * Tokens by class. Classes that a provider does not report are absent. `input` is the whole prompt, `cacheRead` and
 * `cacheWrite` are parts of it; `output` is all that was generated, `reasoning` is a part of it.
 */
export interface Tokens {
  readonly input?: number
  readonly output?: number
  readonly reasoning?: number
  readonly cacheRead?: number
  readonly cacheWrite?: number
}

export interface ModelResponse {
  /** Assistant parts as the provider sent them; tool-call input is the raw text, not parsed. */
  readonly parts: readonly Part[]
  /** Our own reading; providers add values, so treat an unknown one as 'other'. */
  readonly finish: 'stop' | 'length' | 'tool-calls' | 'content-filter' | 'error' | 'other'
  readonly tokens: Tokens
  /** The model that served, as the provider names it. */
  readonly servedModel?: string
  readonly responseId?: string
  readonly warnings?: readonly string[]
}

/**
 * A model: request in, response out. Errors are ConvokeErrors: MODEL_RATE_LIMITED (details.retryAfterMs when the
 * provider says so), MODEL_UNREACHABLE (network, 5xx, silence), MODEL_REFUSED (4xx). The caller retries, not the model.
 */
export interface Model {
  /** `<provider>/<model>`, such as `openai/gpt-5-mini` or `scripted/invoices`. */
  readonly id: string
  readonly provider: string
  /** What a person should be told: 'rules, not AI' for scripted ones. */
  readonly kind: 'provider' | 'scripted'
  generate(
    request: ModelRequest,
    options: { readonly signal: AbortSignal; readonly onText?: (delta: string) => void },
  ): Promise<ModelResponse>
}
