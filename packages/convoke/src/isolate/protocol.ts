import type { ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'

// What passes between a caller and the thread or process that does a tool's work: one JSON text a message.

export interface Start {
  readonly type: 'start'
  readonly module: string
  readonly export: string
  /** Bytes that an answer may have. */
  readonly maxBytes: number
}

export interface RunCall {
  readonly type: 'run'
  readonly input: Json
  readonly facts: {
    readonly idempotencyKey: string
    readonly businessKey?: string
    readonly tenant: string
    readonly run: string
    readonly path: string
  }
}

/** The answer to a question of the tool's. */
export interface Reply {
  readonly type: 'reply'
  readonly id: number
  readonly value?: Json
  readonly error?: ErrorData
}

export type ToChild = Start | RunCall | Reply

export type FromChild =
  | { readonly type: 'ready' }
  /** The module or its export cannot be had: the work did not begin. */
  | { readonly type: 'unfit'; readonly why: string }
  | { readonly type: 'done'; readonly text: string | undefined }
  | { readonly type: 'large' }
  | { readonly type: 'unwritable'; readonly why: string }
  | { readonly type: 'threw'; readonly error: ErrorData; readonly ours: boolean }
  | { readonly type: 'ask'; readonly id: number; readonly what: 'secret'; readonly name: string }
  | { readonly type: 'ask'; readonly id: number; readonly what: 'fetch'; readonly request: SentRequest }
  | { readonly type: 'progress'; readonly data: Json }

export interface SentRequest {
  readonly url: string
  readonly method: string
  readonly headers: readonly (readonly [string, string])[]
  /** Base64. */
  readonly body?: string
  readonly effect?: 'none'
}

export interface SentResponse {
  readonly status: number
  readonly statusText: string
  readonly headers: readonly (readonly [string, string])[]
  /** Base64. */
  readonly body: string
}
