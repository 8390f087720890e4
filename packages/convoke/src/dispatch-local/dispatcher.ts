import { isConvokeError } from '../core/errors.ts'
import type { Dispatcher } from '../ports/dispatcher.ts'
import type { Ledger, ReadyRun, StreamRef } from '../ports/ledger.ts'
import type { Clock } from '../ports/runtime.ts'

export interface LocalDispatcherOptions {
  readonly ledger: Ledger
  readonly clock: Clock
  /** Runs driven at once; 64 unless said. */
  readonly concurrency?: number
  /** Milliseconds between two looks when nothing calls; 2,000 unless said. */
  readonly sweepMs?: number
  /** Drives the runs of this tenant only; of all unless said. */
  readonly tenant?: string
}

type Drive = Parameters<Dispatcher['start']>[0]

interface Held {
  /** On the monotonic clock. */
  readonly until: number
  readonly losses: number
}

const minBackoffMs = 50
const maxBackoffMs = 5_000
/** A run lost so often in a row is not ours to drive: another build's workflow, say. `idle` does not wait for it. */
const hopeless = 5
/** Ready runs fetched beyond what can begin at once, so that not every end of a run costs a query. */
const ahead = 4

/**
 * Drives ready runs in this process. Owns: which runs are driven here, which are held back after a loss, the ready runs
 * that wait for a place, and the one timer for the next look.
 *
 * Invariants:
 * 1. The ledger's ready projection is the only list of work; a wake or a change is a reason to look at it.
 * 2. A run is driven at most once at a time here. Who drives it elsewhere is the ledger's business.
 * 3. One look at a time; calls during a look lead to exactly one more. Nothing polls in between.
 * 4. A run that was lost is not tried again before its back-off has passed, so a failing one cannot spin.
 * 5. The timer keeps no process alive, except while somebody waits for idle().
 * 6. Once stopped, nothing begins and the ledger is no longer called.
 */
export function localDispatcher(options: LocalDispatcherOptions): Dispatcher {
  const { ledger, clock, concurrency = 64, sweepMs = 2_000, tenant } = options
  const driven = new Map<string, Promise<void>>()
  const held = new Map<string, Held>()
  const idlers = new Set<() => void>()
  const stopping = new AbortController()
  let waiting: readonly ReadyRun[] = []
  let drive: Drive | undefined
  let looking: Promise<void> | undefined
  let again = false
  let timer: { readonly at: number; readonly cancel: AbortController } | undefined
  let unsubscribe: (() => void) | undefined

  const keyOf = (ref: StreamRef): string => `${ref.tenant}\n${ref.stream}`

  function look(): void {
    if (drive === undefined || stopping.signal.aborted) return
    if (looking !== undefined) {
      again = true
      return
    }
    looking = sweep()
      .catch((error: unknown) => {
        // A store that does not answer is asked again; one that was closed is not.
        if (isConvokeError(error, 'LEDGER_CLOSED')) release()
        else lookIn(sweepMs)
      })
      .finally(() => {
        looking = undefined
        const more = again
        again = false
        if (more) look()
      })
  }

  async function sweep(): Promise<void> {
    cancelTimer()
    // Without a free place there is nothing to ask for: whoever makes one looks.
    if (driven.size >= concurrency) {
      if (idlers.size > 0) lookIn(sweepMs)
      return
    }
    const now = clock.now()
    const limit = driven.size + held.size + concurrency * ahead
    waiting = await ledger.ready({ now, limit, ...(tenant === undefined ? {} : { tenant }) })
    forget(waiting.length < limit)
    fill()
    if (stopping.signal.aborted) return
    const due = await ledger.nextDue(now)
    let next = due === undefined ? sweepMs : Math.min(sweepMs, due - clock.now())
    const mono = clock.monotonic()
    for (const { until } of held.values()) if (until > mono) next = Math.min(next, until - mono)
    lookIn(next)
    // What was asked before somebody called does not answer them.
    if (!again && driven.size === 0 && waiting.every(({ ref }) => isHopeless(ref))) release()
  }

  /** Begins what waits, in the ledger's order, while there are places. */
  function fill(): void {
    const left: ReadyRun[] = []
    const mono = clock.monotonic()
    for (const run of waiting) {
      const key = keyOf(run.ref)
      if (driven.has(key) || stopping.signal.aborted) continue
      if (driven.size >= concurrency || (held.get(key)?.until ?? 0) > mono) left.push(run)
      else begin(key, run.ref)
    }
    waiting = left
  }

  function begin(key: string, ref: StreamRef): void {
    const work = Promise.resolve()
      .then(() => (drive as Drive)(ref, stopping.signal))
      .catch(() => 'lost' as const)
      .then((result) => {
        driven.delete(key)
        if (result === 'lost') holdBack(key)
        else held.delete(key)
        if (waiting.length > 0) fill()
        if (waiting.length === 0 || driven.size === 0) look()
        else lookIn(Math.min(sweepMs, minBackoffMs))
      })
    driven.set(key, work)
  }

  function holdBack(key: string): void {
    const losses = (held.get(key)?.losses ?? 0) + 1
    const backoff = Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.min(losses - 1, 10))
    held.set(key, { until: clock.monotonic() + backoff, losses })
  }

  /** Losses of runs that are no longer ready, here or for us, need not be remembered. */
  function forget(isAll: boolean): void {
    if (!isAll) return
    const ready = new Set(waiting.map(({ ref }) => keyOf(ref)))
    const mono = clock.monotonic()
    for (const [key, { until }] of held) if (!ready.has(key) && !driven.has(key) && until <= mono) held.delete(key)
  }

  function isHopeless(ref: StreamRef): boolean {
    return (held.get(keyOf(ref))?.losses ?? 0) >= hopeless
  }

  function release(): void {
    for (const done of idlers) done()
    idlers.clear()
  }

  /** Looks after so many milliseconds, or earlier if that was decided before. */
  function lookIn(ms: number): void {
    const at = clock.monotonic() + Math.max(1, ms)
    if (stopping.signal.aborted || (timer !== undefined && timer.at <= at)) return
    cancelTimer()
    const cancel = new AbortController()
    timer = { at, cancel }
    clock.sleep(Math.max(1, ms), cancel.signal, { background: idlers.size === 0 }).then(
      () => {
        if (timer?.cancel === cancel) timer = undefined
        look()
      },
      () => undefined,
    )
  }

  function cancelTimer(): void {
    timer?.cancel.abort()
    timer = undefined
  }

  return {
    wake(run, { at = 0 } = {}) {
      const ms = at - clock.now()
      if (ms > 0) lookIn(Math.min(sweepMs, ms))
      else {
        // Whoever wakes a run knows of something new: it deserves a try now.
        const hold = held.get(keyOf(run))
        if (hold !== undefined) held.set(keyOf(run), { ...hold, until: 0 })
        look()
      }
      return Promise.resolve()
    },
    start(toDrive) {
      if (!stopping.signal.aborted && drive === undefined) {
        drive = toDrive
        unsubscribe = ledger.onChange(look)
        look()
      }
      return Promise.resolve()
    },
    async stop() {
      stopping.abort()
      unsubscribe?.()
      cancelTimer()
      await looking
      await Promise.all(driven.values())
      waiting = []
      release()
    },
    idle() {
      if (stopping.signal.aborted) return Promise.resolve()
      return new Promise((resolve) => {
        idlers.add(resolve)
        // The next timer has to keep the process alive.
        cancelTimer()
        look()
      })
    },
  }
}
