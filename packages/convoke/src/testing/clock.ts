import type { Clock } from '../ports/runtime.ts'

// The clock owns its two times and its sleepers. Invariants: `monotonic` moves by `advance` alone and never back;
// sleepers wake in the order of their due times, and for equal ones in the order in which they fell asleep; between
// two of them everything that the first set going gets its turn.

export interface FakeClock extends Clock {
  /** Lets time pass: both times move on, and who is due wakes. */
  advance(ms: number): Promise<void>
  /** Sets the wall clock, forwards or back; no sleeper wakes and `monotonic` stays. */
  set(now: number): void
  /** Lets pass what is left until the next sleeper wakes; false when nobody sleeps. */
  advanceToNext(): Promise<boolean>
  /** How many sleep now. */
  readonly sleeping: number
}

interface Sleeper {
  readonly due: number
  readonly wake: () => void
}

/** A clock that stands still until the test moves it. Starts at 2026-01-01T00:00:00Z unless said. */
export function fakeClock(start: { readonly now?: number; readonly monotonic?: number } = {}): FakeClock {
  let now = start.now ?? Date.UTC(2026, 0, 1)
  let monotonic = start.monotonic ?? 0
  const sleepers = new Set<Sleeper>()

  const first = (): Sleeper | undefined => {
    let found: Sleeper | undefined
    for (const sleeper of sleepers) if (found === undefined || sleeper.due < found.due) found = sleeper
    return found
  }
  const moveTo = (time: number): void => {
    now += time - monotonic
    monotonic = time
  }
  const settle = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

  async function advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError('time passes forwards only; use set() for a jump of the wall clock')
    const end = monotonic + ms
    await settle()
    for (let next = first(); next !== undefined && next.due <= end; next = first()) {
      moveTo(Math.max(next.due, monotonic))
      sleepers.delete(next)
      next.wake()
      await settle()
    }
    moveTo(Math.max(end, monotonic))
  }

  return {
    now: () => now,
    monotonic: () => monotonic,
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted === true) {
          reject(signal.reason as Error)
          return
        }
        const abort = (): void => {
          sleepers.delete(sleeper)
          reject(signal?.reason as Error)
        }
        const sleeper: Sleeper = {
          due: monotonic + Math.max(ms, 0),
          wake: () => {
            signal?.removeEventListener('abort', abort)
            resolve()
          },
        }
        signal?.addEventListener('abort', abort, { once: true })
        sleepers.add(sleeper)
      })
    },
    advance,
    set(to) {
      now = to
    },
    async advanceToNext() {
      await settle()
      const next = first()
      if (next === undefined) return false
      await advance(Math.max(next.due - monotonic, 0))
      return true
    },
    get sleeping() {
      return sleepers.size
    },
  }
}
