import type { Json } from '../core/json.ts'

/** What an isolated tool's function gets besides its input. It is ended from outside; no signal would reach a busy loop. */
export interface IsolatedContext {
  readonly idempotencyKey: string
  readonly businessKey?: string
  readonly tenant: string
  readonly run: string
  readonly path: string
  /** The value behind a secret's name, from the gateway. @throws SECRET_MISSING */
  secret(name: string): Promise<string>
  /** As the gateway's own: by the tool's network rules, with the lease checked, the body read. */
  fetch(url: string | URL, init?: RequestInit & { readonly effect?: 'none' }): Promise<Response>
  /** For watchers of the live run. */
  progress(data: Json): void
}

/** What a module exports for a tool. The result is data. */
export type IsolatedFunction<I, O> = (input: I, context: IsolatedContext) => O | Promise<O>
