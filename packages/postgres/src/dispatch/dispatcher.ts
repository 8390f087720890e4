import type pg from 'pg'
import {
  createHolds,
  createLooks,
  runIdOf,
  runStream,
  type Clock,
  type Dispatcher,
  type Ledger,
  type ReadyRun,
  type StreamRef,
} from 'convoke/adapter'
import { openRunQueue, type RunQueue } from './queue.ts'
import { inTurns, satisfied } from './shares.ts'

export interface PostgresDispatcherOptions {
  readonly ledger: Ledger
  readonly clock: Clock
  /** The database of the queue: the ledger's own, as a rule. */
  readonly config: pg.ClientConfig
  /** Of the ledger's tables; the queue's stand in a schema beside it. `convoke` unless said. */
  readonly schema?: string
  /** Runs driven at once in this process; 64 unless said. */
  readonly concurrency?: number
  /** Milliseconds between two looks when nothing calls; 1,000 unless said. */
  readonly sweepMs?: number
  /** Told when the queue fails; runs go on without it. */
  readonly onTrouble?: (error: Error) => void
}

type Drive = Parameters<Dispatcher['start']>[0]

/** After a run was driven, and while somebody waits for idle(), the next look comes soon. */
const soonMs = 50
/** Ready runs fetched for each place: what finds none here is for the others. */
const ahead = 4
/** A change in the ledger rings in every worker at once: they look one after the other. */
const spreadMs = 8
/** What was woken here waits so long for a place here: whoever has places elsewhere was rung as well. */
const oursMs = 100
/** So many are not worth the way through the queue: who comes first claims them. */
const few = 2
const quietMs = 30_000

/**
 * Drives ready runs in this process, and shares them with the other workers on the database. Owns: which runs are driven
 * here and which are held back after a loss.
 *
 * Invariants:
 * 1. The ledger's ready projection is the only list of work. What is ready begins here while there is a place, if it
 *    was woken here or there is little of it; the rest is offered to the queue, where whoever has a place takes it. Liveness of workers is the ledger's
 *    word alone: what a dead one held is ready again.
 * 2. A job of the queue is a hint that may be stale, doubled or lost. A run that was offered and is still ready at a later
 *    look begins here, queue or no queue; without an answering queue everything does.
 * 3. A run is driven at most once at a time here. Who drives it elsewhere is the ledger's business.
 * 4. Offers and takes go one after the other, so that
 *    what is being taken is not offered again.
 * 5. A run that was lost is not tried again before its back-off has passed, so a failing one cannot spin.
 * 6. The tenant with the fewest places goes first; priorities order the runs of a tenant.
 * 7. Once stopped, nothing begins and the ledger is no longer called.
 */
export function postgresDispatcher(options: PostgresDispatcherOptions): Dispatcher {
  const { ledger, clock, config, schema = 'convoke', concurrency = 64, sweepMs = 1_000 } = options
  const onTrouble = options.onTrouble ?? (() => undefined)
  const driven = new Map<string, Promise<void>>()
  const places = new Map<string, number>()
  const holds = createHolds(() => clock.monotonic())
  /** When a run that was driven here came to rest, and when one was offered, on the monotonic clock. */
  const rested = new Map<string, number>()
  const offered = new Map<string, number>()
  /** When a run began here whose hint should still be in the queue. */
  const stale = new Map<string, number>()
  /** What was woken here and has not begun, and when. */
  const woken = new Map<string, number>()
  const looks = createLooks({ clock, sweepMs, sweep, onTimer: take })
  const { look, lookIn } = looks
  let drive: Drive | undefined
  let queue: RunQueue | undefined
  let queueing: Promise<unknown> = Promise.resolve()
  let taking: Promise<void> | undefined
  let takeAgain = false
  /** Whether the queue may hold something, as far as is known here. */
  let stocked = true
  let toldAt = -Infinity
  let unsubscribe: (() => void) | undefined

  const keyOf = (ref: StreamRef): string => `${ref.tenant}\n${ref.stream}`
  const runKeyOf = ({ tenant, stream }: StreamRef): string => keyOf({ tenant, stream: runStream(runIdOf(stream)) })
  const free = (): number => (looks.stopped ? 0 : concurrency - driven.size)

  async function sweep(): Promise<void> {
    looks.cancelTimer()
    // Without a free place there is nothing to ask for: whoever makes one looks.
    if (free() <= 0) {
      if (looks.awaited) lookIn(sweepMs)
      return
    }
    const asked = clock.monotonic()
    const now = clock.now()
    const limit = driven.size + holds.size + concurrency * ahead
    const [ready, due] = await Promise.all([readyRuns(now, limit), ledger.nextDue(now)])
    if (looks.stopped) return
    forget(ready, ready.length < limit)
    const left: ReadyRun[] = []
    const mono = clock.monotonic()
    // What came to rest here since was ready when it was asked for.
    const fresh = ready.filter(({ ref }) => {
      const key = keyOf(ref)
      return !driven.has(key) && (rested.get(key) ?? -1) < asked && !holds.isHeld(key)
    })
    const raced = queue === undefined || fresh.length <= few
    for (const run of inTurns(fresh, places)) {
      const key = keyOf(run.ref)
      const since = offered.get(key)
      const isOurs = raced || woken.has(key) || (since !== undefined && mono - since >= sweepMs / 2)
      if (isOurs && free() > 0) {
        if (since !== undefined) stale.set(key, mono)
        begin(key, run.ref)
      } else if (since === undefined ? mono - (woken.get(key) ?? -Infinity) >= oursMs : mono - since >= sweepMs)
        left.push(run)
    }
    if (left.length > 0) await offer(left)
    if (looks.stopped) return
    let next = due === undefined ? sweepMs : Math.min(sweepMs, due - clock.now())
    next = Math.min(next, holds.next())
    // Somebody else may take and finish what is waited for.
    if (looks.awaited && ready.length > 0) next = Math.min(next, soonMs)
    lookIn(next)
    // What was asked before somebody called does not answer them.
    if (!looks.again && driven.size === 0 && ready.every(({ ref }) => holds.isHopeless(keyOf(ref)))) looks.release()
  }

  /** When there is more than can be shown, tenants that the ledger's order hides are asked for by name. */
  async function readyRuns(now: number, limit: number): Promise<ReadyRun[]> {
    const ready = await ledger.ready({ now, limit })
    if (ready.length < limit || queue === undefined) return ready
    const shown = new Set(ready.map(({ ref }) => ref.tenant))
    const tenants = (await queue.tenants(now).catch(troubled)) ?? []
    for (const tenant of tenants.filter((one) => !shown.has(one)).slice(0, concurrency))
      ready.push(...(await ledger.ready({ now, limit: ahead, tenant })))
    return ready
  }

  function offer(runs: readonly ReadyRun[]): Promise<void> {
    return inLine(async () => {
      const fresh = runs.filter(({ ref }) => !driven.has(keyOf(ref)))
      if (queue === undefined || fresh.length === 0) return
      for (const { ref } of fresh) offered.set(keyOf(ref), clock.monotonic())
      stocked = true
      await queue.offer(fresh).catch((error: unknown) => {
        troubled(error)
        // Then they are for us, at the next look.
        for (const { ref } of fresh) woken.set(keyOf(ref), -Infinity)
        looks.again = true
      })
      take()
    })
  }

  /** Takes as much from the queue as there are places. */
  function take(): void {
    if (drive === undefined || queue === undefined || free() <= 0) return
    if (taking !== undefined) {
      takeAgain = true
      return
    }
    taking = inLine(takeSome)
      .catch(troubled)
      .finally(() => {
        taking = undefined
        const more = takeAgain
        takeAgain = false
        if (more) take()
      })
  }

  async function takeSome(): Promise<void> {
    if (queue === undefined || free() <= 0) return
    const wanted = free()
    const full = satisfied(places, concurrency)
    const found = await queue.take(wanted, full)
    if (full.length > 0 && found.length < wanted) found.push(...(await queue.take(wanted - found.length, [])))
    stocked = found.length === wanted
    for (const ref of found) {
      const key = keyOf(ref)
      if (stale.delete(key) || driven.has(key) || holds.isHeld(key)) continue
      if (free() > 0) begin(key, ref)
      // A look has given its place away meanwhile. It is ready still, and has no hint any more: the next look begins it.
      else woken.set(key, clock.monotonic())
    }
  }

  function inLine<T>(act: () => Promise<T>): Promise<T> {
    const turn = queueing.then(act)
    queueing = turn.catch(() => undefined)
    return turn
  }

  /** A database that is away is told of now and then, not at every try. */
  function troubled(error: unknown): undefined {
    const now = clock.monotonic()
    if (now - toldAt < quietMs) return undefined
    toldAt = now
    onTrouble(error instanceof Error ? error : new Error(String(error)))
    return undefined
  }

  function begin(key: string, ref: StreamRef): void {
    // Taken from the queue while we were told to stop: it is ready still, and others look.
    if (looks.stopped) return
    woken.delete(key)
    offered.delete(key)
    places.set(ref.tenant, (places.get(ref.tenant) ?? 0) + 1)
    const work = Promise.resolve()
      .then(() => (drive as Drive)(ref, looks.signal))
      .catch(() => 'lost' as const)
      .then((result) => {
        driven.delete(key)
        rested.set(key, clock.monotonic())
        const left = (places.get(ref.tenant) ?? 1) - 1
        if (left === 0) places.delete(ref.tenant)
        else places.set(ref.tenant, left)
        if (result === 'lost') holds.lost(key)
        else holds.clear(key)
        if (stocked) take()
        if (!stocked || driven.size === 0) look()
        else lookIn(Math.min(sweepMs, soonMs))
      })
    driven.set(key, work)
  }

  /** What is no longer ready, here or for us, need not be remembered. */
  function forget(ready: readonly ReadyRun[], isAll: boolean): void {
    const mono = clock.monotonic()
    for (const times of [rested, stale]) for (const [key, at] of times) if (mono - at > 10_000) times.delete(key)
    if (!isAll) return
    const known = new Set(ready.map(({ ref }) => keyOf(ref)))
    holds.prune((key) => !known.has(key) && !driven.has(key))
    for (const key of offered.keys()) if (!known.has(key)) offered.delete(key)
    // A wake may come before what it is about can be seen, never long before.
    if (!looks.again) for (const key of woken.keys()) if (!known.has(key)) woken.delete(key)
  }

  return {
    wake(run, { at = 0 } = {}) {
      const ms = at - clock.now()
      if (ms > 0) lookIn(Math.min(sweepMs, ms))
      else {
        const key = keyOf(run)
        // Whoever wakes a run knows of something new: it deserves a try now.
        holds.lift(key)
        woken.set(key, clock.monotonic())
        look()
      }
      return Promise.resolve()
    },
    async start(toDrive) {
      if (looks.stopped || drive !== undefined) return
      drive = toDrive
      looks.open()
      const onBell = (): void => {
        stocked = true
        take()
      }
      try {
        const opened = await inLine(() => openRunQueue({ config, schema, onBell, onTrouble: troubled }))
        if (looks.stopped) return await opened.close()
        queue = opened
      } catch (error) {
        drive = undefined
        throw error
      }
      unsubscribe = ledger.onChange((changed) => {
        // What comes to runs that are driven here reaches them through their inboxes.
        if (changed?.every((ref) => driven.has(runKeyOf(ref))) ?? false) return
        lookIn(1 + (Math.random() + driven.size / concurrency) * spreadMs)
      })
      look()
    },
    async stop() {
      looks.stop()
      unsubscribe?.()
      await looks.settled()
      await taking
      await Promise.all(driven.values())
      await queueing
      const its = queue
      queue = undefined
      await its?.close()
      looks.release()
    },
    idle: () => looks.idle(),
  }
}
