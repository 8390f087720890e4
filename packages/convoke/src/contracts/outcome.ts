import type { JsonObject } from '../core/json.ts'
import type { RecordRef } from '../core/record.ts'

/** What an agent cites: a segment or record that it was shown, and a quote copied from it. */
export interface Citation {
  /** Id of a segment, or of the record it comes from. */
  readonly ref: string
  readonly quote: string
}

/** A statement as an agent makes it, not yet checked. */
export interface StatedClaim {
  readonly statement: string
  /** JSON Pointer (RFC 6901) into the value that the statement is about. */
  readonly about?: string
  readonly evidence: readonly Citation[]
}

/** A citation that was found where it says. */
export interface Evidence extends Citation {
  readonly record: RecordRef
}

/** A statement, and the records that support it. */
export interface Claim extends StatedClaim {
  readonly evidence: readonly Evidence[]
}

/** A call that an agent tried and may not make. */
export interface Denied {
  readonly tool: string
  /** SCOPE_DENIED, FLOW_DENIED, POLICY_DENIED, … */
  readonly code: string
}

/** What comes back from a task. Frozen. */
export interface Outcome<T> {
  readonly value: T
  /** From 0 to 1, as the agent judges it. */
  readonly confidence?: number
  readonly reasoning?: string
  readonly claims: readonly Claim[]
  /** What the agent tried and may not, each once; absent when there is nothing. Whoever is told may believe it less. */
  readonly denied?: readonly Denied[]
  /** The record that holds it. */
  readonly record: RecordRef
  readonly role: string
  readonly agent: string
  readonly version?: string
  readonly model?: string
  readonly usage?: JsonObject
}
