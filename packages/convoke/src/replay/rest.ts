import type { Clock } from '../ports/runtime.ts'

let resting: (() => void)[] = []

/**
 * All microtasks have run when the next turn begins: the code waits for nothing but us. Runs that rest in one turn go
 * on in one as well, so that what they send to the ledger travels together.
 */
export function rest(): Promise<void> {
  return new Promise((resolve) => {
    if (resting.push(resolve) === 1) setImmediate(goOn)
  })
}

function goOn(): void {
  const rested = resting
  resting = []
  for (const resolve of rested) resolve()
}

/** As long as code may go on without a turn of the event loop, in milliseconds: everything else waits meanwhile. */
const atOnceMs = 2

/** How one driven run comes to rest. */
export class Pace {
  readonly #clock: Clock
  #turned = -Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Waits for a turn of the event loop; for who `hurries`, where the microtasks alone make it `ready` to go on, only for
   * those.
   */
  async rest(run: { readonly hurries: boolean; readonly ready: boolean }): Promise<void> {
    if (run.hurries && this.#clock.monotonic() - this.#turned < atOnceMs) {
      await new Promise<void>((resolve) => process.nextTick(resolve))
      if (run.ready) return
    }
    await rest()
    if (run.hurries) this.#turned = this.#clock.monotonic()
  }
}
