import type { StreamRef } from './ledger.ts'

/**
 * Decides which process drives a run. Liveness only: a wake may repeat or be lost, and two drivers of one run cannot
 * both write. The ledger's ready projection is the truth; every dispatcher sweeps it.
 */
export interface Dispatcher {
  wake(run: StreamRef, options?: { readonly at?: number; readonly priority?: number }): Promise<void>
  /** `drive` resolves when the run is done, parked, or belongs to another ('lost'). It never rejects. */
  start(drive: (run: StreamRef, signal: AbortSignal) => Promise<'done' | 'parked' | 'lost'>): Promise<void>
  /** Aborts what is driven, waits until all have parked, and stops sweeping. */
  stop(): Promise<void>
  /** Resolves when nothing is ready and nothing is driven here (used by `resume`). */
  idle(): Promise<void>
}
