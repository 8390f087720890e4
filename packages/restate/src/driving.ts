import { createHolds, isEnded, type Clock, type Dispatcher, type Ledger, type StreamRef } from 'convoke/adapter'
import { createPlaces } from './places.ts'

export type Drive = Parameters<Dispatcher['start']>[0]
export type Result = Awaited<ReturnType<Drive>>

const minBackoffMs = 50
const patientBackoffMs = 400
const maxBackoffMs = 5_000

/**
 * The runs of this process: which are driven, which wait for a place, which are held back after a loss.
 *
 * 1. A run is driven at most once at a time here, whoever asked for it and however often.
 * 2. A run that was lost is not tried again before its back-off has passed.
 * 3. Nothing is tried for a run that has ended or is not due.
 */
export interface Driving {
  /** Runs driven, and asked for by the engine. */
  readonly busy: boolean
  /** What to ask the ledger for beyond the free places: these may stand before them. */
  readonly known: number
  /** Drives it once there is a place; `idle` when there was nothing to do. Rejects when the store does not answer. */
  admit(run: StreamRef): Promise<Result | 'idle'>
  /** Begins it if there is a place. */
  tryBegin(run: StreamRef): boolean
  /** Driven now, held back, or at rest since `asked` on the monotonic clock. */
  isTaken(key: string, asked: number): boolean
  isHopeless(key: string): boolean
  /** Somebody knows something new about it: it deserves a try now. */
  unhold(key: string): void
  /** Milliseconds until the first back-off ends; `Infinity` for none. */
  nextUnhold(): number
  forget(isReady: ((key: string) => boolean) | undefined): void
  /** Nothing begins any more; resolves when all have come to rest. */
  close(): Promise<void>
}

/**
 * Milliseconds before the next try. Short for the first few seconds: a run whose worker was killed is lost until the
 * ledger has seen it, which takes about one.
 */
export function backoff(losses: number): number {
  const cap = losses < 10 ? patientBackoffMs : maxBackoffMs
  return Math.min(cap, minBackoffMs * 2 ** Math.min(losses, 10))
}

export function createDriving(options: {
  readonly ledger: Ledger
  readonly clock: Clock
  readonly concurrency: number
  readonly keyOf: (run: StreamRef) => string
  readonly drive: (run: StreamRef) => Promise<Result>
  /** Called after a run came to rest. */
  readonly onRest: (key: string, result: Result) => void
}): Driving {
  const { ledger, clock, keyOf, drive, onRest } = options
  const places = createPlaces(options.concurrency)
  const driven = new Map<string, Promise<Result>>()
  const holds = createHolds(
    () => clock.monotonic(),
    (losses) => backoff(losses - 1),
  )
  const rested = new Map<string, number>()
  let admitting = 0
  let closed = false

  async function admit(run: StreamRef): Promise<Result | 'idle'> {
    const key = keyOf(run)
    const row = await dueRow(run)
    if (row === undefined) return 'idle'
    if (driven.has(key)) return await (driven.get(key) as Promise<Result>)
    if (holds.isHeld(key)) return 'lost'
    if (places.tryTake()) return await begin(key, run)
    if (!(await places.take(row.priority))) return 'idle'
    // Others may have taken it while it waited for a place.
    const isStillDue = await dueRow(run).then(
      (its) => its !== undefined,
      () => false,
    )
    if (isStillDue && !driven.has(key)) return await begin(key, run)
    places.give()
    return (await driven.get(key)) ?? 'idle'
  }

  async function dueRow(run: StreamRef): Promise<{ readonly priority: number } | undefined> {
    const row = await ledger.run(run)
    if (row === undefined || isEnded(row.status)) return undefined
    return row.due === undefined || row.due > clock.now() ? undefined : row
  }

  /** The caller has taken a place for it. */
  function begin(key: string, run: StreamRef): Promise<Result> {
    const work = Promise.resolve()
      .then(() => (closed ? 'lost' : drive(run)))
      .catch(() => 'lost' as const)
      .then((result) => {
        driven.delete(key)
        rested.set(key, clock.monotonic())
        if (result === 'lost') holds.lost(key)
        else holds.clear(key)
        places.give()
        onRest(key, result)
        return result
      })
    driven.set(key, work)
    return work
  }

  return {
    get busy() {
      return driven.size > 0 || admitting > 0
    },
    get known() {
      return driven.size + holds.size
    },
    async admit(run) {
      admitting++
      try {
        return await admit(run)
      } finally {
        admitting--
      }
    },
    tryBegin(run) {
      const key = keyOf(run)
      if (closed || driven.has(key) || !places.tryTake()) return false
      void begin(key, run)
      return true
    },
    isTaken: (key, asked) => driven.has(key) || holds.isHeld(key) || (rested.get(key) ?? -Infinity) >= asked,
    isHopeless: (key) => holds.isHopeless(key),
    unhold: (key) => holds.lift(key),
    nextUnhold: () => holds.next(),
    forget(isReady) {
      const mono = clock.monotonic()
      for (const [key, at] of rested) if (mono - at > 10_000) rested.delete(key)
      if (isReady === undefined) return
      holds.prune((key) => !isReady(key) && !driven.has(key))
    },
    async close() {
      closed = true
      places.close()
      await Promise.all(driven.values())
    },
  }
}
