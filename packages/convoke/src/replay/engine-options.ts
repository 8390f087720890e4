import type { Actor } from '../core/record.ts'
import type { StreamRef } from '../ports/ledger.ts'
import type { Clock, Live } from '../ports/runtime.ts'
import type { Claim } from './claim.ts'
import type { Superseded } from './history.ts'
import type { Sequencer } from './sequencer.ts'
import type { Completion, Entry } from './types.ts'

export interface EngineOptions {
  readonly ref: StreamRef
  readonly run: string
  readonly sequencer: Sequencer
  readonly history: readonly Entry[]
  readonly clock: Clock
  readonly live?: Live | undefined
  /** Keyed hash of the tenant. */
  readonly keyed: (text: string) => string
  readonly seed: string
  readonly actor: Actor
  /** A finished step of an ancestor that may stand for this one (R9); undefined to execute. */
  readonly reuse?: ((claim: Claim) => Completion | undefined) | undefined
  /** Results that a fork's maker replaced, by path. */
  readonly supersede?: ReadonlyMap<string, Superseded> | undefined
}
