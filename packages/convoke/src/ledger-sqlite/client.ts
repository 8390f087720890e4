import { existsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { ConvokeError, fromErrorData, type ErrorData } from '../core/errors.ts'
import type { Probe } from '../ports/probe.ts'
import type { Calls, Kind, Request, ToClient, Told, WorkerOptions } from './protocol.ts'

// The caller's end of the ledger's thread. Invariants: a call made while the thread has nothing to do leaves at once;
// those made meanwhile travel in one message for each turn of the event loop, in their order; every call is settled
// exactly once, at the latest when the thread ends; the thread keeps the process alive only while a call is pending or
// somebody holds on to it.

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

interface Waiting {
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** Posted at once when so many calls have gathered, so that the thread begins while this one still prepares more. */
const burst = 64

export async function startClient(options: WorkerOptions, probe?: Probe): Promise<Client> {
  const gate = probe === undefined ? undefined : new Int32Array(new SharedArrayBuffer(4))
  const workerData: WorkerOptions = gate === undefined ? options : { ...options, probe: gate }
  const worker = new Worker(workerUrl(), { name: 'convoke-ledger', workerData, execArgv: [] })
  const waiting = new Map<number, Waiting>()
  const ends: (() => void)[] = []
  let queue: Request[] = []
  let counter = 0
  let holders = 0
  let closed: Promise<void> | undefined
  let ended = false
  let news: (heard: News) => void = () => {}
  let opened: (() => void) | undefined
  let failed: ((error: unknown) => void) | undefined

  function settle(id: number): Waiting | undefined {
    const found = waiting.get(id)
    waiting.delete(id)
    return found
  }

  function receive(message: ToClient): void {
    for (const id of message.done ?? []) settle(id)?.resolve(undefined)
    for (const [id, value] of message.results ?? []) settle(id)?.resolve(value)
    for (const [id, error] of message.errors ?? []) settle(id)?.reject(fromErrorData(error))
    if (waiting.size === 0 && holders === 0 && closed === undefined) worker.unref()
    if (message.changed || message.grown) news({ changed: message.changed ?? false, grown: message.grown === true })
    if (message.probe !== undefined) pass(message.probe)
    if (message.opened) opened?.()
    if (message.failed !== undefined) failed?.(fromErrorData(message.failed))
  }

  function pass(point: string): void {
    try {
      probe?.(point)
    } finally {
      if (gate !== undefined) {
        Atomics.store(gate, 0, 0)
        Atomics.notify(gate, 0)
      }
    }
  }

  function finish(error: ConvokeError): void {
    ended = true
    failed?.(error)
    for (const one of waiting.values()) one.reject(error)
    waiting.clear()
    for (const end of ends) end()
  }

  function flush(): void {
    if (queue.length === 0 || ended) return
    const calls = queue
    queue = []
    worker.postMessage({ calls })
  }

  worker.on('message', receive)
  worker.on('error', (error: unknown) => finish(brokenThread(error)))
  worker.on('exit', () => {
    if (!ended) finish(closedError())
  })
  await new Promise<void>((resolve, reject) => {
    opened = resolve
    failed = reject
  })
  failed = undefined
  worker.unref()

  return {
    call(kind, ...args) {
      if (closed !== undefined || ended) return Promise.reject(closedError())
      const id = ++counter
      return new Promise((resolve, reject) => {
        const idle = waiting.size === 0
        if (idle) worker.ref()
        waiting.set(id, { resolve: resolve as (value: unknown) => void, reject })
        if (idle) {
          worker.postMessage({ calls: [[id, kind, args] as unknown as Request] })
          return
        }
        // A tick scheduled from a microtask runs when this turn has nothing left to do.
        if (queue.push([id, kind, args] as unknown as Request) === 1) queueMicrotask(() => process.nextTick(flush))
        else if (queue.length >= burst) flush()
      })
    },
    onNews(listener) {
      news = listener
    },
    hold() {
      if (holders++ === 0) worker.ref()
      let held = true
      return () => {
        if (!held) return
        held = false
        if (--holders === 0 && waiting.size === 0) worker.unref()
      }
    },
    get closed() {
      return closed !== undefined || ended
    },
    onClosed(listener) {
      ends.push(listener)
    },
    close() {
      closed ??= new Promise((resolve) => {
        if (ended) {
          resolve()
          return
        }
        flush()
        worker.ref()
        worker.once('exit', () => resolve())
        worker.postMessage({ close: true })
      })
      return closed
    },
  }
}

/** The worker's file has this one's extension: `.ts` from sources, `.js` once built. */
function workerUrl(): URL {
  const here = import.meta.url
  const url = new URL(`./worker${here.slice(here.lastIndexOf('.'))}`, here)
  if (url.protocol === 'file:' && !existsSync(url))
    throw new ConvokeError('STORE_UNUSABLE', `the ledger's thread ${url.href} is missing from this installation`, {
      next: 'do not bundle convoke: keep it external, so that its own files stay beside each other',
    })
  return url
}

function closedError(): ConvokeError {
  return new ConvokeError('LEDGER_CLOSED', 'the ledger is closed', { next: 'open it again' })
}

function brokenThread(error: unknown): ConvokeError {
  const message = error instanceof Error ? error.message : String(error)
  return new ConvokeError('LEDGER_IO', `the ledger's thread ended: ${message}`, {
    details: { message } satisfies ErrorData['details'],
    next: 'open the ledger again; what was acknowledged is stored',
    cause: error,
  })
}
