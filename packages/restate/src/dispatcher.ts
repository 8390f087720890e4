import {
  ConvokeError,
  isConvokeError,
  isEnded,
  type Clock,
  type Dispatcher,
  type Ledger,
  type ReadyRun,
  type StreamRef,
} from 'convoke/adapter'
import { createEngine } from './engine.ts'
import { openFront, type Front } from './front.ts'
import { objectKey, scopeOf, serviceOf, type Pin } from './names.ts'
import { createPins } from './pins.ts'
import { createPlaces } from './places.ts'
import { runObject, type Invocation } from './service.ts'

export interface RestateDispatcherOptions {
  readonly ledger: Ledger
  readonly clock: Clock
  /** Where messages go in; `http://127.0.0.1:8080` unless said. */
  readonly ingress?: string
  /** Where workers register; `http://127.0.0.1:9070` unless said. */
  readonly admin?: string
  /** Where the engine reaches the workers of this machine, who share the address; `127.0.0.1:9080` unless said. */
  readonly listen?: { readonly host: string; readonly port: number }
  /** The base address under which the engine reaches it, when that is another: `http://balancer:9080`. */
  readonly advertise?: string
  /** Of the app; its key tells stores on one engine apart. `local` unless said. */
  readonly tenant?: string
  /**
   * The versions that this process has. A run goes to workers that have the one it is pinned to (R8); when none took it
   * for `adoptMs`, to those that have the workflow in another. Without any, every worker is thought to have everything.
   */
  readonly workflows?: readonly Pin[]
  /** Runs driven at once in this process; 64 unless said. */
  readonly concurrency?: number
  /** Milliseconds between two looks when nothing calls; 1,000 unless said. */
  readonly sweepMs?: number
  /** Milliseconds until a run that was handed to the engine and not begun is begun here; 1,000 unless said. */
  readonly patienceMs?: number
  /** Milliseconds until a run that no worker of its version takes is tried with another; 5,000 unless said. */
  readonly adoptMs?: number
  /** Told when the engine fails; runs go on without it. */
  readonly onTrouble?: (error: Error) => void
}

type Drive = Parameters<Dispatcher['start']>[0]
type Result = Awaited<ReturnType<Drive>>

interface Held {
  /** On the monotonic clock. */
  readonly until: number
  readonly losses: number
}
interface Sent {
  readonly due: number
  /** When it was or will be delivered at the earliest, and when it was sent last, on the monotonic clock. */
  readonly first: number
  last: number
  /** The engine did not take it: nobody will call. */
  refused: boolean
}

const minBackoffMs = 50
const maxBackoffMs = 5_000
/** A run lost so often in a row is not ours to drive: `idle` does not wait for it. */
const hopeless = 5
/** Ready runs fetched for each place: what finds none here is for the others. */
const ahead = 8
/** Messages on their way at once. */
const lanes = 64
/** A change in the ledger rings in every worker at once: they look one after the other. */
const spreadMs = 8

/**
 * Hands ready runs to the engine, and drives those that the engine hands to this process. Owns: the engine's connection,
 * the front, which runs are driven here, which are held back after a loss, what was sent when, and the one timer.
 *
 * Invariants:
 * 1. The ledger's ready projection is the only list of work. A message to the engine is a hint that names a run and when
 *    it became due: whoever sends it, for one due time the engine keeps one.
 * 2. A run that was handed over and is still ready after `patienceMs` begins here while there is a place, engine or no
 *    engine. So the loss of the engine, or of its way to the workers, costs time only.
 * 3. A run is driven at most once at a time here. Who drives it elsewhere is the ledger's business.
 * 4. A message for a run that has ended, is not due or is driven already ends at once and nothing is tried.
 * 5. An invocation answers when its run is done, parked, or lost; what is due later has been sent as a delayed message by
 *    then. While this process stops it does not answer, so that the engine turns to another.
 * 6. A run that was lost is not tried again before its back-off has passed, so a failing one cannot spin.
 * 7. Once stopped, nothing begins and the ledger is no longer called.
 */
export function restateDispatcher(options: RestateDispatcherOptions): Dispatcher {
  const {
    ledger,
    clock,
    workflows = [],
    concurrency = 64,
    sweepMs = 1_000,
    patienceMs = 1_000,
    adoptMs = 5_000,
  } = options
  const { ingress = 'http://127.0.0.1:8080', admin = 'http://127.0.0.1:9070', tenant = 'local' } = options
  const listen = options.listen ?? { host: '127.0.0.1', port: 9080 }
  const onTrouble = options.onTrouble ?? (() => undefined)
  const engine = createEngine({ ingress, admin })
  const pins = createPins(ledger)
  const places = createPlaces(concurrency)
  const driven = new Map<string, Promise<Result>>()
  const held = new Map<string, Held>()
  const sent = new Map<string, Sent>()
  const rested = new Map<string, number>()
  const idlers = new Set<() => void>()
  const stopping = new AbortController()
  const services = new Map<string, Pin | undefined>()
  let scope = ''
  let drive: Drive | undefined
  let front: Front | undefined
  let admitting = 0
  let looking: Promise<void> | undefined
  let again = false
  let timer: { readonly at: number; readonly cancel: AbortController } | undefined
  let unsubscribe: (() => void) | undefined
  let troubledAt = -Infinity

  const keyOf = (ref: StreamRef): string => `${ref.tenant}\n${ref.stream}`
  const isHeld = (key: string): boolean => (held.get(key)?.until ?? 0) > clock.monotonic()

  // ---- looking for ready runs ---------------------------------------------------------------------------------------

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
    const asked = clock.monotonic()
    const now = clock.now()
    const limit = driven.size + held.size + concurrency * ahead
    const ready = await ledger.ready({ now, limit })
    if (stopping.signal.aborted) return
    forget(ready, ready.length < limit)
    let foreign = 0
    let next = sweepMs
    await eachOf(ready, lanes, async (run) => {
      const key = keyOf(run.ref)
      // What came to rest here since was ready when it was asked for.
      if (driven.has(key) || isHeld(key) || (rested.get(key) ?? -1) >= asked) return
      const pin = workflows.length === 0 ? undefined : await pins.of(run.ref)
      const service = serviceOf(scope, pin)
      const isOurs = services.has(service)
      const other = isOurs ? undefined : workflows.find(({ name }) => name === pin?.name)
      if (!isOurs && other === undefined) {
        foreign++
        return
      }
      const patience = isOurs ? patienceMs : adoptMs
      const was = sent.get(key)
      if (was === undefined || was.due !== run.due) {
        await hand(run, service, 0)
        if (sent.get(key)?.refused === true) again ||= isOurs
      } else if ((was.refused && isOurs) || clock.monotonic() - was.first >= patience) {
        if (places.tryTake()) {
          if (other !== undefined) pins.adopted(run.ref, other)
          void begin(key, run.ref)
        }
      } else {
        next = Math.min(next, was.first + patience - clock.monotonic())
        // The engine forgets nothing, but it may be another one by now.
        if (clock.monotonic() - was.last >= 5_000)
          await hand(run, service, Math.ceil((clock.monotonic() - was.first) / 5_000))
      }
    })
    if (stopping.signal.aborted) return
    const due = await ledger.nextDue(now)
    if (due !== undefined) next = Math.min(next, due - clock.now())
    const mono = clock.monotonic()
    for (const { until } of held.values()) if (until > mono) next = Math.min(next, until - mono)
    // Somebody else may take and finish what is waited for.
    if (idlers.size > 0 && ready.length > 0) next = Math.min(next, minBackoffMs)
    lookIn(next)
    // What was asked before somebody called does not answer them.
    const left = ready.filter(({ ref }) => (held.get(keyOf(ref))?.losses ?? 0) < hopeless).length - foreign
    if (!again && driven.size === 0 && admitting === 0 && left <= 0) release()
  }

  // ---- to the engine ------------------------------------------------------------------------------------------------

  /** One message for one due time; `round` makes another of it. Failing is remembered, not thrown. */
  async function hand(run: ReadyRun, service: string, round: number): Promise<void> {
    const key = keyOf(run.ref)
    const mono = clock.monotonic()
    const delay = Math.max(0, run.due - clock.now())
    const was = sent.get(key)
    const entry = was?.due === run.due ? was : { due: run.due, first: mono + delay, last: mono, refused: false }
    entry.last = mono
    sent.set(key, entry)
    entry.refused = !(await say(run.ref, service, `${run.due}${round === 0 ? '' : `.${round}`}`, delay, {}))
  }

  async function say(run: StreamRef, service: string, id: string, delay: number, body: object): Promise<boolean> {
    try {
      return await engine.send({ service, key: objectKey(run), id, delay, body })
    } catch (error) {
      troubled(error)
      return false
    }
  }

  /** Once in ten seconds: an engine that is gone would fill the log with every run. */
  function troubled(error: unknown): void {
    if (stopping.signal.aborted || clock.monotonic() - troubledAt < 10_000) return
    troubledAt = clock.monotonic()
    onTrouble(error as Error)
  }

  // ---- from the engine ----------------------------------------------------------------------------------------------

  /** Resolves when the engine need not think of this message any more. Never rejects. */
  async function invoked(service: string, { run, losses }: Invocation): Promise<void> {
    if (drive === undefined || stopping.signal.aborted) return never()
    admitting++
    try {
      const result = await admit(run)
      if (stopping.signal.aborted) return await never()
      if (result === 'lost') {
        const delay = Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.min(losses, 10))
        await say(run, service, `lost.${clock.now()}.${losses}`, delay, { losses: losses + 1 })
      } else if (result === 'parked') {
        const due = (await ledger.run(run))?.due
        if (due !== undefined) await hand({ ref: run, due, priority: 0 }, service, 0)
      }
    } catch (error) {
      // The store does not answer. The run stays ready, and every worker looks.
      troubled(error)
    } finally {
      admitting--
      if (idlers.size > 0) look()
    }
  }

  async function admit(run: StreamRef): Promise<Result | 'idle'> {
    const key = keyOf(run)
    const here = driven.get(key)
    if (here !== undefined) return await here
    const row = await dueRow(run)
    if (row === undefined) return 'idle'
    if (isHeld(key)) return 'lost'
    if (places.free <= 0) {
      if (!(await places.take(row.priority))) return 'idle'
      // Others may have taken it while it waited for a place.
      if ((await dueRow(run)) === undefined || driven.has(key)) {
        places.give()
        return (await driven.get(key)) ?? 'idle'
      }
    } else if (driven.has(key) || !places.tryTake()) return (await driven.get(key)) ?? 'lost'
    return await begin(key, run)
  }

  async function dueRow(run: StreamRef): Promise<{ readonly priority: number } | undefined> {
    const row = await ledger.run(run)
    if (row === undefined || isEnded(row.status)) return undefined
    return row.due === undefined || row.due > clock.now() ? undefined : row
  }

  /** The caller has taken a place for it. */
  function begin(key: string, ref: StreamRef): Promise<Result> {
    const work = Promise.resolve()
      .then(() => (stopping.signal.aborted ? 'lost' : (drive as Drive)(ref, stopping.signal)))
      .catch(() => 'lost' as const)
      .then((result) => {
        driven.delete(key)
        rested.set(key, clock.monotonic())
        places.give()
        if (result === 'lost') holdBack(key)
        else held.delete(key)
        if (driven.size === 0 || places.waiting === 0) lookIn(driven.size === 0 ? 1 : minBackoffMs)
        return result
      })
    driven.set(key, work)
    return work
  }

  function holdBack(key: string): void {
    const losses = (held.get(key)?.losses ?? 0) + 1
    const backoff = Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.min(losses - 1, 10))
    held.set(key, { until: clock.monotonic() + backoff, losses })
    // Handed over anew when the time has come.
    sent.delete(key)
  }

  /** What is no longer ready, here or for us, need not be remembered. */
  function forget(ready: readonly ReadyRun[], isAll: boolean): void {
    const mono = clock.monotonic()
    for (const [key, at] of rested) if (mono - at > 10_000) rested.delete(key)
    if (!isAll) return
    const known = new Set(ready.map(({ ref }) => keyOf(ref)))
    for (const [key, { until }] of held) if (!known.has(key) && !driven.has(key) && until <= mono) held.delete(key)
    for (const [key, { last }] of sent) if (!known.has(key) && mono - last > sweepMs) sent.delete(key)
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

  /** Resolves when this process has stopped: an answer would tell the engine that somebody has dealt with the message. */
  function never(): Promise<void> {
    return new Promise(() => undefined)
  }

  async function open(): Promise<void> {
    await engine.check()
    scope = scopeOf(await ledger.tenantKey(tenant))
    if (workflows.length === 0) services.set(serviceOf(scope, undefined), undefined)
    for (const pin of workflows) services.set(serviceOf(scope, pin), pin)
    const served = [...services.keys()].map(
      (service) => [service, runObject(service, (invocation) => invoked(service, invocation))] as const,
    )
    front = await openFront({ ...listen, services: new Map(served), onTrouble: troubled })
    const base = options.advertise?.replace(/\/+$/, '') ?? front.address
    await eachOf([...services.keys()], 4, (service) => engine.register(`${base}/${service}`))
  }

  async function close(): Promise<void> {
    const its = front
    front = undefined
    await its?.close()
    engine.close()
  }

  return {
    async wake(run, { at = 0 } = {}) {
      if (drive === undefined || stopping.signal.aborted) return
      const ms = at - clock.now()
      if (ms > 0) {
        lookIn(Math.min(sweepMs, ms))
        return
      }
      // Whoever wakes a run knows of something new: it deserves a try now.
      const key = keyOf(run)
      const hold = held.get(key)
      if (hold !== undefined) held.set(key, { ...hold, until: 0 })
      look()
    },
    async start(toDrive) {
      if (stopping.signal.aborted || drive !== undefined) return
      drive = toDrive
      try {
        await open()
      } catch (cause) {
        drive = undefined
        await close()
        if (isConvokeError(cause)) throw cause
        throw new ConvokeError('ENGINE_UNREACHABLE', `Restate cannot be used: ${(cause as Error).message}`, { cause })
      }
      if (stopping.signal.aborted) return await close()
      unsubscribe = ledger.onChange(() => lookIn(1 + Math.random() * spreadMs))
      look()
    },
    async stop() {
      stopping.abort()
      unsubscribe?.()
      cancelTimer()
      places.close()
      await looking
      await Promise.all(driven.values())
      await close()
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

/** Bounded: so many at once. */
async function eachOf<T>(items: readonly T[], at: number, act: (item: T) => Promise<void>): Promise<void> {
  const left = items.values()
  const lane = async (): Promise<void> => {
    for (const item of left) await act(item)
  }
  await Promise.all(Array.from({ length: Math.min(at, items.length) }, lane))
}
