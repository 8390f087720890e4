import type { Claim, StreamRef, WorkerId } from './ledger.ts'

/** A claim, and whose it is. */
export interface Claimed extends Claim {
  readonly worker: WorkerId
}

/**
 * Decides which process drives a run. Liveness only: a wake may repeat or be lost, and two drivers of one run cannot
 * both write. The ledger's ready projection is the truth; every dispatcher sweeps it.
 */
export interface Dispatcher {
  wake(run: StreamRef, options?: { readonly at?: number; readonly priority?: number }): Promise<void>
  /**
   * `drive` resolves when the run is done, parked, or belongs to another ('lost'). It never rejects. `claimed` is what
   * `reserve` was given, of a run that has been claimed already.
   */
  start(
    drive: (run: StreamRef, signal: AbortSignal, claimed?: Claimed) => Promise<'done' | 'parked' | 'lost'>,
  ): Promise<void>
  /**
   * Keeps a place for a run that is being begun here, where one is free and nobody waits for it: the run is driven as
   * soon as `claimed` says that it has been claimed, and the place is free again when it says that it has not. False where
   * there is none, and always in a dispatcher that leaves this out: then the run is woken like any other.
   */
  reserve?(run: StreamRef, claimed: Promise<Claimed | undefined>): boolean
  /** Aborts what is driven, waits until all have parked, and stops sweeping. */
  stop(): Promise<void>
  /** Resolves when nothing is ready and nothing is driven here (used by `resume`). */
  idle(): Promise<void>
}
