import type { Json } from '../core/json.ts'

/** What a transport gets for one call. Secrets are resolved here and nowhere before. */
export interface ToolCall {
  readonly tool: string
  readonly input: Json
  readonly idempotencyKey: string
  readonly businessKey?: string
  readonly tenant: string
  readonly run: string
  readonly path: string
  readonly signal: AbortSignal
  /** Resolves `secret('name')` references; throws SECRET_MISSING. */
  readonly secret: (name: string) => Promise<string>
  /** Makes a value known that was got elsewhere (an access token, say), so that it is kept out of whatever leaves the call. */
  readonly conceal: (value: string, name: string) => void
  /** The gateway's own: goes only where the tool's network rules allow, and is watched, so that outcomes are known. */
  readonly fetch: (url: string | URL, init?: RequestInit & { readonly effect?: 'none' }) => Promise<Response>
  /** For watchers of the live run; nothing is recorded. */
  readonly progress: (data: Json) => void
  /** Throws LEASE_EXPIRED; call it right before the first byte leaves. */
  readonly assertLease: () => void
}

/** Carries calls to where a tool lives. Foreign answers come back as text or values that the gateway then checks. */
export interface ToolTransport {
  call(call: ToolCall): Promise<unknown>
}
