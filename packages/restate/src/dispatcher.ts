import {
  ConvokeError,
  createLooks,
  isConvokeError,
  type Clock,
  type Dispatcher,
  type Ledger,
  type ReadyRun,
  type StreamRef,
} from 'convoke/adapter'
import { backoff, createDriving, type Drive } from './driving.ts'
import { createEngine } from './engine.ts'
import { openFront, type Front } from './front.ts'
import { createHandover, type Sent } from './handover.ts'
import { scopeOf, serviceOf, type Pin } from './names.ts'
import { createPins } from './pins.ts'
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

/** Ready runs fetched for each place: what finds none here is for the others. */
const ahead = 8
/** Messages on their way at once. */
const lanes = 64
/** A change in the ledger rings in every worker at once: they look one after the other. */
const spreadMs = 8
const idleLookMs = 50
/** What the engine has taken it keeps; but it may be another engine by now. */
const repeatMs = 5_000

/**
 * Hands ready runs to the engine, and drives those that the engine hands to this process. Owns: the engine's connection,
 * the front, what was sent, what is driven, and the one timer.
 *
 * Invariants:
 * 1. The ledger's ready projection is the only list of work. A message to the engine is a hint that names a run and when
 *    it became due: whoever sends it, for one due time the engine keeps one.
 * 2. A run that was handed over and is still ready after `patienceMs` begins here while there is a place, engine or no
 *    engine. So the loss of the engine, or of its way to the workers, costs time only.
 * 3. Who drives a run elsewhere is the ledger's business.
 * 4. An invocation answers when its run is done, parked or lost, or when nothing is to be done; what is due later has
 *    been sent as a delayed message by then. A process that stops does not answer, so that the engine turns to another.
 * 5. Once stopped, nothing begins and the ledger is no longer called.
 */
export function restateDispatcher(options: RestateDispatcherOptions): Dispatcher {
  const { ledger, clock, workflows = [], sweepMs = 1_000, patienceMs = 1_000, adoptMs = 5_000 } = options
  const { ingress = 'http://127.0.0.1:8080', admin = 'http://127.0.0.1:9070', tenant = 'local' } = options
  const { concurrency = 64, listen = { host: '127.0.0.1', port: 9080 } } = options
  const engine = createEngine({ ingress, admin })
  const pins = createPins(ledger)
  const keyOf = (ref: StreamRef): string => `${ref.tenant}\n${ref.stream}`
  const handover = createHandover(engine, clock, keyOf, troubled)
  const driving = createDriving({
    ledger,
    clock,
    concurrency,
    keyOf,
    drive: (run) => (drive as Drive)(run, looks.signal),
    onRest(key, result) {
      // Handed over anew when its back-off has passed.
      if (result === 'lost') handover.forget((other) => other === key)
      lookIn(driving.busy ? idleLookMs : 1)
    },
  })
  const looks = createLooks({ clock, sweepMs, sweep })
  const { look, lookIn } = looks
  const served = new Set<string>()
  let scope = ''
  let drive: Drive | undefined
  let front: Front | undefined
  let unsubscribe: (() => void) | undefined
  let troubledAt = -Infinity

  // ---- looking for ready runs ---------------------------------------------------------------------------------------

  async function sweep(): Promise<void> {
    looks.cancelTimer()
    const asked = clock.monotonic()
    const now = clock.now()
    const limit = driving.known + concurrency * ahead
    const ready = await ledger.ready({ now, limit })
    if (looks.stopped) return
    forget(ready, ready.length < limit)
    const forOthers = new Set<string>()
    let next = sweepMs
    await eachOf(ready, lanes, async (run) => {
      const key = keyOf(run.ref)
      // What came to rest here since was ready when it was asked for.
      if (looks.stopped || driving.isTaken(key, asked)) return
      const wait = await offer(run)
      if (wait === undefined) forOthers.add(key)
      else next = Math.min(next, wait)
    })
    if (looks.stopped) return
    const due = await ledger.nextDue(now)
    if (due !== undefined) next = Math.min(next, due - clock.now())
    next = Math.min(next, driving.nextUnhold())
    // Somebody else may take and finish what is waited for.
    if (looks.awaited && ready.length > 0) next = Math.min(next, idleLookMs)
    lookIn(next)
    const left = ready.some(({ ref }) => !driving.isHopeless(keyOf(ref)) && !forOthers.has(keyOf(ref)))
    // What was asked before somebody called does not answer them.
    if (!looks.again && !driving.busy && !left) looks.release()
  }

  /**
   * To the engine at first; and once it has had its time, to ourselves. Milliseconds until it wants another look, undefined
   * when it can never be ours.
   */
  async function offer(run: ReadyRun): Promise<number | undefined> {
    const pin = workflows.length === 0 ? undefined : await pins.of(run.ref)
    const service = serviceOf(scope, pin)
    const isOurs = served.has(service)
    const other = isOurs ? undefined : workflows.find(({ name }) => name === pin?.name)
    if (!isOurs && other === undefined) return undefined
    const was = handover.sent(keyOf(run.ref))
    const sent = was?.due === run.due ? was : send(run, service)
    const mono = clock.monotonic()
    const wait = sent.first + (isOurs ? patienceMs : adoptMs) - mono
    if (wait <= 0 || (isOurs && sent.refused)) {
      if (looks.stopped || !driving.tryBegin(run.ref)) return sweepMs
      if (other !== undefined) pins.adopted(run.ref, other)
    } else if (mono - sent.last >= repeatMs) {
      send(run, service, Math.ceil((mono - sent.first) / repeatMs))
    }
    return Math.max(wait, 1)
  }

  /** Without waiting for the engine: what it does not take, or does not answer to, is looked at again. */
  function send(run: ReadyRun, service: string, round?: number): Sent {
    void handover.hand(run, service, round).then(({ refused }) => {
      if (refused) lookIn(1)
    })
    return handover.sent(keyOf(run.ref)) as Sent
  }

  /** What is no longer ready, here or for us, need not be remembered. */
  function forget(ready: readonly ReadyRun[], isAll: boolean): void {
    const known = new Set(ready.map(({ ref }) => keyOf(ref)))
    driving.forget(isAll ? (key) => known.has(key) : undefined)
    const mono = clock.monotonic()
    if (isAll) handover.forget((key, { first, last }) => !known.has(key) && mono - Math.max(first, last) > sweepMs)
  }

  // ---- from the engine ----------------------------------------------------------------------------------------------

  /** Resolves when the engine need not think of this message any more. Never rejects. */
  async function invoked(service: string, { run, losses }: Invocation): Promise<void> {
    if (drive === undefined || looks.stopped) return await never()
    try {
      const result = await driving.admit(run)
      if (looks.stopped) return await never()
      if (result === 'lost') await handover.retry(run, service, losses + 1, backoff(losses))
      else if (result === 'parked') {
        const due = (await ledger.run(run))?.due
        if (due !== undefined) await handover.hand({ ref: run, due }, service)
      }
    } catch (error) {
      // The store does not answer. The run stays ready, and every worker looks.
      troubled(error)
    }
    if (looks.awaited) look()
  }

  /** Once in ten seconds: an engine that is gone would be told of with every run. */
  function troubled(error: unknown): void {
    if (looks.stopped || clock.monotonic() - troubledAt < 10_000) return
    troubledAt = clock.monotonic()
    options.onTrouble?.(error as Error)
  }

  // ---- time and life ------------------------------------------------------------------------------------------------

  async function open(): Promise<void> {
    await engine.check()
    scope = scopeOf(await ledger.tenantKey(tenant))
    for (const pin of workflows.length === 0 ? [undefined] : workflows) served.add(serviceOf(scope, pin))
    const objects = [...served].map(
      (service) => [service, runObject(service, (invocation) => invoked(service, invocation))] as const,
    )
    front = await openFront({ ...listen, services: new Map(objects), onTrouble: troubled })
    const base = options.advertise?.replace(/\/+$/, '') ?? front.address
    await eachOf([...served], 4, (service) => engine.register(`${base}/${service}`))
  }

  async function close(): Promise<void> {
    const its = front
    front = undefined
    await its?.close()
    engine.close()
  }

  return {
    wake(run, { at = 0 } = {}) {
      const ms = at - clock.now()
      if (ms > 0) lookIn(Math.min(sweepMs, ms))
      else {
        driving.unhold(keyOf(run))
        look()
      }
      return Promise.resolve()
    },
    async start(toDrive) {
      if (looks.stopped || drive !== undefined) return
      drive = toDrive
      try {
        await open()
      } catch (cause) {
        drive = undefined
        await close()
        if (isConvokeError(cause)) throw cause
        const says = `Restate cannot be used: ${(cause as Error).message}`
        throw new ConvokeError('ENGINE_UNREACHABLE', says, { cause })
      }
      if (looks.stopped) return await close()
      looks.open()
      unsubscribe = ledger.onChange(() => lookIn(1 + Math.random() * spreadMs))
      look()
    },
    async stop() {
      looks.stop()
      unsubscribe?.()
      await looks.settled()
      await driving.close()
      await close()
      looks.release()
    },
    idle: () => looks.idle(),
  }
}

/** Resolves never: an answer would tell the engine that somebody has dealt with the message. */
function never(): Promise<never> {
  return new Promise(() => undefined)
}

/** Bounded: so many at once. */
async function eachOf<T>(items: readonly T[], at: number, act: (item: T) => Promise<void>): Promise<void> {
  const left = items.values()
  const lane = async (): Promise<void> => {
    for (const item of left) await act(item)
  }
  await Promise.all(Array.from({ length: Math.min(at, items.length) }, lane))
}
