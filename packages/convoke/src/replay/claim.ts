import type { Labels } from '../core/labels.ts'
import type { ParkKind } from '../core/projections.ts'
import type { Cause, RecordRef } from '../core/record.ts'
import type { Scope } from './scope.ts'
import type { StepPromise } from './step-promise.ts'
import type { Completion, Entry, Message, Operation } from './types.ts'

export interface Waiting {
  readonly kind: ParkKind
  readonly until: number | undefined
}

/** A step that workflow code asked for and that has not been delivered yet. */
export interface Claim {
  readonly path: string
  readonly key: string
  readonly scope: Scope
  readonly operation: Operation
  readonly fingerprint: string
  readonly environment: string | undefined
  readonly inputText: string | undefined
  readonly causes: readonly Cause[]
  readonly labels: Labels
  /** Labels of all that its scope had seen when it was asked for: what is built on it in plain code rests on that. */
  readonly highWater: Labels
  readonly builtOn: readonly RecordRef[]
  readonly history: Entry[]
  readonly promise: StepPromise<unknown>
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  /** Executors that wait; empty while one works. */
  readonly waits: Waiting[]
  /** Messages it got that no record says it has consumed. */
  readonly taken: Message[]
  state: 'claimed' | 'started' | 'completed' | 'delivered'
  completion?: Completion
  /** Own scope of an operation that orchestrates. */
  inner?: Scope
}
