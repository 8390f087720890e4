import { isConvokeError } from '../core/errors.ts'
import type { Clock } from '../ports/runtime.ts'

export interface LooksOptions {
  readonly clock: Clock
  /** Milliseconds until the next try when a look failed. */
  readonly sweepMs: number
  /** One look at the ledger's ready runs. Calls `lookIn` to say when the next is due. */
  readonly sweep: () => Promise<void>
  /** Called when a timer rings, after its look has begun. */
  readonly onTimer?: () => void
}

/** When a dispatcher looks at what is ready. */
export interface Looks {
  /** From here on calls lead to looks. */
  readonly open: () => void
  readonly look: () => void
  /** Looks after so many milliseconds, or earlier if that was decided before. */
  readonly lookIn: (ms: number) => void
  readonly cancelTimer: () => void
  /** The look that is under way will be followed by another. */
  again: boolean
  /** Whether somebody waits for `idle`. */
  readonly awaited: boolean
  /** Resolves at the next `release`; looks at once. */
  readonly idle: () => Promise<void>
  /** There is nothing to do: whoever waits is told. */
  readonly release: () => void
  readonly signal: AbortSignal
  readonly stopped: boolean
  /** No look begins from here on. Those who wait are told by `release`. */
  readonly stop: () => void
  /** Resolves when the look that is under way has ended. */
  readonly settled: () => Promise<void>
}

/**
 * What every dispatcher needs around its sweep. Owns the one timer, and who waits for idleness.
 *
 * Invariants: one look at a time, and calls during a look lead to exactly one more; the timer keeps no process alive,
 * except while somebody waits for `idle`; once stopped, nothing looks any more.
 */
export function createLooks({ clock, sweepMs, sweep, onTimer }: LooksOptions): Looks {
  const idlers = new Set<() => void>()
  const stopping = new AbortController()
  let opened = false
  let looking: Promise<void> | undefined
  let timer: { readonly at: number; readonly cancel: AbortController } | undefined

  const looks: Looks = {
    again: false,
    signal: stopping.signal,
    get awaited() {
      return idlers.size > 0
    },
    get stopped() {
      return stopping.signal.aborted
    },
    open() {
      opened = true
    },
    look() {
      if (!opened || stopping.signal.aborted) return
      if (looking !== undefined) {
        looks.again = true
        return
      }
      looking = sweep()
        .catch((error: unknown) => {
          // A store that does not answer is asked again; one that was closed is not.
          if (isConvokeError(error, 'LEDGER_CLOSED')) looks.release()
          else looks.lookIn(sweepMs)
        })
        .finally(() => {
          looking = undefined
          const more = looks.again
          looks.again = false
          if (more) looks.look()
        })
    },
    lookIn(ms) {
      const at = clock.monotonic() + Math.max(1, ms)
      if (stopping.signal.aborted || (timer !== undefined && timer.at <= at)) return
      looks.cancelTimer()
      const cancel = new AbortController()
      timer = { at, cancel }
      clock.sleep(Math.max(1, ms), cancel.signal, { background: idlers.size === 0 }).then(
        () => {
          if (timer?.cancel === cancel) timer = undefined
          looks.look()
          onTimer?.()
        },
        () => undefined,
      )
    },
    cancelTimer() {
      timer?.cancel.abort()
      timer = undefined
    },
    idle() {
      if (stopping.signal.aborted) return Promise.resolve()
      return new Promise((resolve) => {
        idlers.add(resolve)
        // The next timer has to keep the process alive.
        looks.cancelTimer()
        looks.look()
      })
    },
    release() {
      for (const done of idlers) done()
      idlers.clear()
    },
    stop() {
      stopping.abort()
      looks.cancelTimer()
    },
    settled: async () => looking,
  }
  return looks
}
