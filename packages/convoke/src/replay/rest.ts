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

/**
 * Runs that compute, or whose records are gone through, have each their stretch, one after the other: as far as the
 * microtasks lead, so that what one of them gathers is sent once. All stretches of a turn together are short.
 */
class Stretches {
  readonly #clock: Clock
  readonly #waiting: (() => void)[] = []
  /** Within their stretch: they go on once the microtasks have run, before anybody else begins. */
  readonly #going: (() => void)[] = []
  #awake = false
  #began = -Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get over(): boolean {
    return this.#clock.monotonic() - this.#began >= atOnceMs
  }

  begin(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      if (this.#awake) return
      this.#awake = true
      setImmediate(this.#turn)
    })
  }

  goOn(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#waiting.length === 0 && this.#going.length === 0) {
        process.nextTick(resolve)
        return
      }
      this.#going.push(resolve)
      if (this.#awake) return
      this.#awake = true
      process.nextTick(this.#next)
    })
  }

  /** Somebody begins in each turn, however fast time passes. */
  readonly #turn = (): void => {
    this.#began = this.#clock.monotonic()
    this.#resume(this.#going.pop() ?? this.#waiting.shift())
  }

  readonly #next = (): void => {
    this.#resume(this.#going.pop() ?? (this.over ? undefined : this.#waiting.shift()))
  }

  #resume(resolve: (() => void) | undefined): void {
    if (resolve !== undefined) {
      resolve()
      queueMicrotask(this.#soon)
    } else if (this.#waiting.length > 0) setImmediate(this.#turn)
    else this.#awake = false
  }

  /** Runs when there is no microtask left. */
  readonly #soon = (): void => process.nextTick(this.#next)
}

const stretches = new WeakMap<Clock, Stretches>()

/** What comes to rest. */
export interface Resting {
  /** Whether it computes, or goes through its records. */
  readonly hurries: boolean
  /** Whether the microtasks alone made it so that there is more of that to do. */
  readonly ready: boolean
  /** What has gathered may be sent. */
  yields(): void
}

/** How one driven run comes to rest. */
export class Pace {
  readonly #stretches: Stretches

  constructor(clock: Clock) {
    let its = stretches.get(clock)
    if (its === undefined) stretches.set(clock, (its = new Stretches(clock)))
    this.#stretches = its
  }

  /** Waits for a turn of the event loop; who `hurries` does so when its stretch is over, or at its end. */
  rest(run: Resting): Promise<void> {
    return run.hurries ? this.#hurry(run) : rest()
  }

  async #hurry(run: Resting): Promise<void> {
    if (!this.#stretches.over) {
      await this.#stretches.goOn()
      if (run.ready) return
    }
    run.yields()
    await this.#stretches.begin()
  }
}
