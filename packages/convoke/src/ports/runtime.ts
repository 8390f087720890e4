import type { Json } from '../core/json.ts'

/** Time, passed in. `now` may be set and may jump; `monotonic` never goes back. Both in milliseconds. */
export interface Clock {
  now(): number
  monotonic(): number
  /** Resolves after `ms`, or rejects with the signal's reason. `background` waits keep no process alive. */
  sleep(ms: number, signal?: AbortSignal, options?: { readonly background?: boolean }): Promise<void>
  /** Calls back after `ms`, at most 2^31 - 1, unless the returned function is called before. Cheaper than `sleep`; optional. */
  after?(ms: number, callback: () => void): () => void
}

/** Randomness, passed in. */
export interface Ids {
  /** A sortable unique id without its prefix, such as for runs and workers. */
  next(): string
  /** 32 hexadecimal digits from a cryptographic source. */
  salt(): string
}

/** What is not worth a record, such as model tokens as they come. Best effort; lost with the process. */
export interface Live {
  publish(event: LiveEvent): void
  /** Run ids are unique within a tenant only, so both name the run. Returns what ends the subscription. */
  subscribe(run: { readonly tenant: string; readonly run: string }, listener: (event: LiveEvent) => void): () => void
}
export interface LiveEvent {
  readonly tenant: string
  readonly run: string
  readonly path: string
  /** `model.text`, `model.reasoning`, `tool.progress`, `log`, … */
  readonly type: string
  readonly data: Json
}
