import { runIdOf, runStream } from '../core/projections.ts'
import { createHolds } from '../dispatch/holds.ts'
import { createLooks } from '../dispatch/looks.ts'
import type { Claimed, Dispatcher } from '../ports/dispatcher.ts'
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

/** After a run was driven, while others wait for a place. */
const soonMs = 50
/** Ready runs fetched beyond what can begin at once, so that not every end of a run costs a query. */
const ahead = 4

/**
 * Drives ready runs in this process. Owns: which runs are driven here, which are held back after a loss, and the ready runs
 * that wait for a place.
 *
 * Invariants:
 * 1. The ledger's ready projection is the only list of work; a wake or a change is a reason to look at it. Who begins a
 *    run here may have a place for it before it is there, while nothing on that list waits for one.
 * 2. A run is driven at most once at a time here. Who drives it elsewhere is the ledger's business.
 * 3. Looks are spaced by `Looks`; nothing polls in between.
 * 4. A run that was lost is not tried again before its back-off has passed, so a failing one cannot spin.
 * 5. Once stopped, nothing begins and the ledger is no longer called.
 */
export function localDispatcher(options: LocalDispatcherOptions): Dispatcher {
  const { ledger, clock, concurrency = 64, sweepMs = 2_000, tenant } = options
  const driven = new Map<string, Promise<void>>()
  const holds = createHolds(() => clock.monotonic())
  const looks = createLooks({ clock, sweepMs, sweep })
  const { look, lookIn } = looks
  let waiting: readonly ReadyRun[] = []
  let drive: Drive | undefined
  let unsubscribe: (() => void) | undefined

  const keyOf = (ref: StreamRef): string => `${ref.tenant}\n${ref.stream}`
  const runKeyOf = ({ tenant, stream }: StreamRef): string => keyOf({ tenant, stream: runStream(runIdOf(stream)) })

  async function sweep(): Promise<void> {
    looks.cancelTimer()
    // Without a free place there is nothing to ask for: whoever makes one looks.
    if (driven.size >= concurrency) {
      if (looks.awaited) lookIn(sweepMs)
      return
    }
    const now = clock.now()
    const limit = driven.size + holds.size + concurrency * ahead
    waiting = await ledger.ready({ now, limit, ...(tenant === undefined ? {} : { tenant }) })
    forget(waiting.length < limit)
    fill()
    if (looks.stopped) return
    const due = await ledger.nextDue(now)
    let next = due === undefined ? sweepMs : Math.min(sweepMs, due - clock.now())
    next = Math.min(next, holds.next())
    lookIn(next)
    // What was asked before somebody called does not answer them.
    if (!looks.again && driven.size === 0 && waiting.every(({ ref }) => holds.isHopeless(keyOf(ref)))) looks.release()
  }

  /** Begins what waits, in the ledger's order, while there are places. */
  function fill(): void {
    const left: ReadyRun[] = []
    for (const run of waiting) {
      const key = keyOf(run.ref)
      if (driven.has(key) || looks.stopped) continue
      if (driven.size >= concurrency || holds.isHeld(key)) left.push(run)
      else void begin(key, run.ref)
    }
    waiting = left
  }

  function begin(key: string, ref: StreamRef, claimed?: Claimed): Promise<void> {
    const work = Promise.resolve()
      .then(() => (drive as Drive)(ref, looks.signal, claimed))
      .catch(() => 'lost' as const)
      .then((result) => {
        if (result === 'lost') holds.lost(key)
        else holds.clear(key)
        leave(key)
      })
    driven.set(key, work)
    return work
  }

  /** A place is free again. */
  function leave(key: string): void {
    driven.delete(key)
    if (waiting.length > 0) fill()
    if (waiting.length === 0 || driven.size === 0) look()
    else lookIn(Math.min(sweepMs, soonMs))
  }

  /** Losses of runs that are no longer ready, here or for us, need not be remembered. */
  function forget(isAll: boolean): void {
    if (!isAll) return
    const ready = new Set(waiting.map(({ ref }) => keyOf(ref)))
    holds.prune((key) => !ready.has(key) && !driven.has(key))
  }

  return {
    wake(run, { at = 0 } = {}) {
      const ms = at - clock.now()
      if (ms > 0) lookIn(Math.min(sweepMs, ms))
      else {
        // Whoever wakes a run knows of something new: it deserves a try now.
        holds.lift(keyOf(run))
        look()
      }
      return Promise.resolve()
    },
    start(toDrive) {
      if (!looks.stopped && drive === undefined) {
        drive = toDrive
        looks.open()
        unsubscribe = ledger.onChange((changed) => {
          // What comes to runs that are driven here reaches them through their inboxes.
          if (!(changed?.every((ref) => driven.has(runKeyOf(ref))) ?? false)) look()
        })
        look()
      }
      return Promise.resolve()
    },
    reserve(run, claimed) {
      const key = keyOf(run)
      const isFree = drive !== undefined && !looks.stopped && driven.size < concurrency && waiting.length === 0
      if (!isFree || driven.has(key) || (tenant !== undefined && tenant !== run.tenant)) return false
      const work = claimed.then(
        (claim) => (claim === undefined || looks.stopped ? leave(key) : begin(key, run, claim)),
        () => leave(key),
      )
      driven.set(key, work)
      return true
    },
    async stop() {
      looks.stop()
      unsubscribe?.()
      await looks.settled()
      await Promise.all(driven.values())
      waiting = []
      looks.release()
    },
    idle: () => looks.idle(),
  }
}
