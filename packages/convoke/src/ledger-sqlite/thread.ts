import { existsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { ConvokeError, fromErrorData, type ErrorData } from '../core/errors.ts'
import type { Probe } from '../ports/probe.ts'
import type { ToClient, ToWorker, WorkerOptions } from './protocol.ts'

/** The caller's end of the ledger's thread: its start, its end, and whether it keeps the process alive. */
export interface Thread {
  /** Resolves when the store is open there. Rejects with what stands in the way, or with how the thread ended. */
  readonly opened: Promise<void>
  post(message: ToWorker): void
  /** Whether the process has to stay for it. */
  stay(needed: boolean): void
  /**
   * Resolves when it has done what it was told, has closed the store and is gone; one that has not opened it yet does not,
   * whoever holds it. It always ends by itself, between two tasks: `Worker.terminate` may hit anything.
   */
  close(): Promise<void>
}

/**
 * `ended` is called when the thread is gone, with an error when it was not asked to go. Of one that could not open the
 * store only `opened` tells: a caller that was busy hears of that and of its end in one go, without a turn in between.
 */
export function startThread(o: {
  readonly url: URL
  readonly options: WorkerOptions
  readonly probe: Probe | undefined
  readonly receive: (message: ToClient) => void
  readonly ended: (error: ConvokeError | undefined) => void
}): Thread {
  const { url, options, probe, receive, ended } = o
  const probed = probe === undefined ? undefined : new Int32Array(new SharedArrayBuffer(4))
  const unwanted = new Int32Array(new SharedArrayBuffer(4))
  const workerData: WorkerOptions = { ...options, unwanted, ...(probed === undefined ? {} : { probe: probed }) }
  const worker = new Worker(url, { name: 'convoke-ledger', workerData, execArgv: [] })
  const opened = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<void>()
  opened.promise.catch(() => undefined)
  let refused = false

  function pass(point: string): void {
    try {
      probe?.(point)
    } finally {
      if (probed !== undefined) {
        Atomics.store(probed, 0, 0)
        Atomics.notify(probed, 0)
      }
    }
  }

  function end(error: ConvokeError | undefined): void {
    opened.reject(error ?? closedError())
    gone.resolve()
    if (!refused) ended(error)
  }

  worker.on('message', (message: ToClient) => {
    receive(message)
    if (message.opened) opened.resolve()
    if (message.failed !== undefined) {
      refused = true
      opened.reject(fromErrorData(message.failed))
    }
    if (message.probe !== undefined) pass(message.probe)
  })
  worker.on('error', (error: unknown) => end(broken(error)))
  worker.on('exit', () => end(undefined))

  return {
    opened: opened.promise,
    post: (message) => worker.postMessage(message),
    stay(needed) {
      if (needed) worker.ref()
      else worker.unref()
    },
    close() {
      Atomics.store(unwanted, 0, 1)
      worker.ref()
      worker.postMessage({ close: true } satisfies ToWorker)
      return gone.promise
    },
  }
}

/**
 * The thread is the built one, for sources too: Node would take its types away with WebAssembly, and such code in threads
 * that come and go has V8 end the process now and then (nodejs/node 64500).
 * @throws STORE_UNUSABLE when it is missing
 */
export function threadUrl(): URL {
  const here = import.meta.url
  const isSource = here.endsWith('.ts')
  const url = new URL(isSource ? '../../dist/worker.js' : './worker.js', here)
  if (url.protocol === 'file:' && !existsSync(url))
    throw new ConvokeError('STORE_UNUSABLE', `the ledger's thread ${url.href} is missing from this installation`, {
      next: isSource
        ? 'npm run build'
        : 'do not bundle convoke: keep it external, so that its own files stay beside each other',
    })
  return url
}

export function closedError(): ConvokeError {
  return new ConvokeError('LEDGER_CLOSED', 'the ledger is closed', { next: 'open it again' })
}

/** Something ended the ledger that no call could be told of. */
export function broken(error: unknown): ConvokeError {
  const message = error instanceof Error ? error.message : String(error)
  return new ConvokeError('LEDGER_IO', `the ledger's thread ended: ${message}`, {
    details: { message } satisfies ErrorData['details'],
    next: 'open the ledger again; what was acknowledged is stored',
    cause: error,
  })
}
