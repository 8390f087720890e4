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
  /** Throws LEASE_EXPIRED; call it right before the first byte leaves. */
  readonly assertLease: () => void
}

/** Carries calls to where a tool lives. Foreign answers come back as text or values that the gateway then checks. */
export interface ToolTransport {
  call(call: ToolCall): Promise<unknown>
}
