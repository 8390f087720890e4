import { fromErrorData, type ConvokeError } from '../core/errors.ts'
import type { Probe } from '../ports/probe.ts'
import type { Here } from './here.ts'
import type { Calls, Kind, Request, ToClient, Told, WorkerOptions } from './protocol.ts'
import { broken, closedError, startThread, threadUrl, type Thread } from './thread.ts'

// The caller's end of the ledger. Owns where it is: it opens in this thread (`here`), which does its calls until the
// ledger's own thread is up, and then moves there, once (`moving`, `thread`). A store that this thread could not open at
// once opens in the ledger's thread from the start.
//
// Invariants:
// 1. Calls are done in the order in which they were made, wherever. From the first that may take long, all go to the thread.
// 2. Every call is settled exactly once, at the latest when the ledger ends.
// 3. While moving, nothing is done here but what was begun; the thread is told of the rest when this thread's connection is
//    closed.
// 4. Calls of one turn of the event loop are one group. In the thread, a call made while it has nothing to do leaves at once.
// 5. The process stays alive only while a call is pending or somebody holds on to the ledger.
// 6. A worker that was registered here is in the thread's care once that is up, whatever this thread does; until then its
//    lease is a long one. Its lock stays here until it is gone from the store, or the ledger ends.

export interface News {
  readonly changed: Told
  readonly grown: boolean
}

export interface Client {
  call<K extends Kind>(kind: K, ...args: Calls[K]['args']): Promise<Calls[K]['result']>
  /** Called with what was committed that others may want to know. */
  onNews(listener: (news: News) => void): void
  /** Keeps the process alive until the returned function is called. */
  hold(): () => void
  readonly closed: boolean
  onClosed(listener: () => void): void
  close(): Promise<void>
}

/**
 * For tests: never in this thread, only in this thread, or in the ledger's thread from the n-th call on at the latest.
 * Unless said, in this thread until the other is up.
 */
export type Where = 'never' | 'only' | number | undefined

interface Waiting {
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** Posted at once when so many calls have gathered, so that the thread begins while this one still prepares more. */
const burst = 64
/**
 * The thread is started after so many milliseconds, or calls, for whoever stays: most commands and small programs are over
 * by then.
 */
const soonMs = 100
const manyCalls = 300
/** A store that the thread could not open may be free later. */
const againMs = 1_000

export async function startClient(given: WorkerOptions, probe?: Probe, where?: Where): Promise<Client> {
  const url = threadUrl()
  const reached = given.crashAt === undefined ? undefined : new Int32Array(new SharedArrayBuffer(4))
  const options: WorkerOptions = reached === undefined ? given : { ...given, reached }
  const waiting = new Map<number, Waiting>()
  const ends: (() => void)[] = []
  const leases = new Map<string, BigInt64Array>()
  let here: Here | undefined
  let thread: Thread | undefined
  let mode: 'here' | 'moving' | 'thread' = 'here'
  let moving: Promise<void> | undefined
  let again: NodeJS.Timeout | undefined
  let queue: Request[] = []
  let counter = 0
  let holders = 0
  let interest: Calls['interest']['args'] | undefined
  let closed: Promise<void> | undefined
  let ended = false
  let news: (heard: News) => void = () => {}

  function settle(id: number): Waiting | undefined {
    const found = waiting.get(id)
    waiting.delete(id)
    return found
  }

  function receive(message: ToClient): void {
    for (const id of message.done ?? []) settle(id)?.resolve(undefined)
    for (const [id, value] of message.results ?? []) settle(id)?.resolve(value)
    for (const [id, error] of message.errors ?? []) settle(id)?.reject(fromErrorData(error))
    if (waiting.size === 0) stay()
    if (message.freed !== undefined) {
      leases.delete(message.freed)
      here?.locks.free(message.freed)
    }
    if (message.changed || message.grown) news({ changed: message.changed ?? false, grown: message.grown === true })
  }

  /** Whoever is told of changes is not to stand in the middle of a group. */
  function receiveHere({ changed, grown, ...answers }: ToClient): void {
    receive(answers)
    if (changed || grown) process.nextTick(receive, { changed, grown })
  }

  function stay(): void {
    if (closed === undefined) thread?.stay(holders > 0 || (mode !== 'here' && waiting.size > 0))
  }

  function finish(error: ConvokeError): void {
    if (ended) return
    ended = true
    clearTimeout(again)
    here?.end()
    for (const one of waiting.values()) one.reject(error)
    waiting.clear()
    for (const end of ends) end()
  }

  function start(): void {
    if (thread !== undefined || ended || closed !== undefined || where === 'only') return
    const mine = startThread({
      url,
      options,
      probe,
      receive,
      ended: (error) => (thread === mine ? finish(error ?? closedError()) : undefined),
    })
    thread = mine
    stay()
    for (const adopt of leases) if (Atomics.load(adopt[1], 0) !== 0n) mine.post({ adopt })
    mine.opened.then(
      () => move(),
      () => {
        if (ended) return
        thread = undefined
        again = setTimeout(start, againMs).unref()
      },
    )
  }

  function move(): void {
    if (mode !== 'here' || ended || closed !== undefined || where === 'only') return
    mode = 'moving'
    moving = moveNow()
      .catch((error: unknown) => finish(broken(error)))
      .finally(() => (moving = undefined))
  }

  async function moveNow(): Promise<void> {
    start()
    stay()
    try {
      await thread?.opened
    } catch (error) {
      // It goes on here. Whoever needs the thread is told why there is none.
      const refused = queue
      queue = []
      mode = 'here'
      for (const [id] of refused) settle(id)?.reject(error)
      return
    }
    await here?.pump.rest()
    if (ended) return
    here?.leave()
    mode = 'thread'
    if (interest !== undefined) thread?.post({ calls: [[0, 'interest', interest]] })
    flush()
  }

  function flush(): void {
    if (queue.length === 0 || ended || mode === 'moving') return
    const calls = queue
    queue = []
    if (mode === 'thread') thread?.post({ calls })
    else here?.do(calls)
  }

  /** Before it is done here. */
  function look(request: Request): void {
    if (request[0] === manyCalls) start()
    if (request[1] === 'interest') interest = request[2]
    if ((typeof where === 'number' && request[0] >= where) || here?.isLong(request)) move()
  }

  async function end(): Promise<void> {
    clearTimeout(again)
    await moving
    if (ended) return
    flush()
    if (mode === 'thread') {
      await thread?.close()
      return
    }
    const unneeded = thread
    thread = undefined
    await unneeded?.close()
    await here?.close()
    finish(closedError())
  }

  if (where !== 'never' && options.rebuild !== true) {
    const { openHere } = await import('./here.ts')
    here = openHere(options, {
      send: receiveHere,
      probe,
      broken: (error) => {
        finish(broken(error))
        void thread?.close()
      },
      registered: (...adopt) => {
        leases.set(...adopt)
        thread?.post({ adopt })
      },
    })
  }
  if (here !== undefined && where === undefined) again = setTimeout(start, soonMs).unref()
  if (here === undefined) {
    mode = 'thread'
    start()
    thread?.stay(true)
    try {
      await thread?.opened
    } catch (error) {
      finish(closedError())
      throw error
    }
    stay()
  }

  return {
    call(kind, ...args) {
      if (closed !== undefined || ended) return Promise.reject(closedError())
      const request = [++counter, kind, args] as unknown as Request
      if (mode === 'here') look(request)
      return new Promise((resolve, reject) => {
        const idle = waiting.size === 0
        waiting.set(request[0], { resolve: resolve as (value: unknown) => void, reject })
        if (idle) stay()
        if (idle && mode === 'thread') thread?.post({ calls: [request] })
        else if (queue.push(request) === 1) {
          // The event loop gets its turn. A tick scheduled from a microtask runs when this turn has nothing left to do.
          if (mode === 'here') setImmediate(flush)
          else queueMicrotask(() => process.nextTick(flush))
        } else if (queue.length >= burst && mode === 'thread') flush()
      })
    },
    onNews(listener) {
      news = listener
    },
    hold() {
      holders++
      start()
      stay()
      let held = true
      return () => {
        if (!held) return
        held = false
        holders--
        stay()
      }
    },
    get closed() {
      return closed !== undefined || ended
    },
    onClosed(listener) {
      ends.push(listener)
    },
    close() {
      return (closed ??= end())
    },
  }
}
