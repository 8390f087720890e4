import { Worker } from 'node:worker_threads'
import type { Extracted, ExtractOptions } from './document.ts'
import type { Answer, Question } from './worker.ts'

/**
 * Owns the thread that parses foreign PDFs, one for each process, started when first needed.
 * 1. One question is with the thread at a time; the others wait in `queue`, in order.
 * 2. Every question is answered exactly once: by the thread, or by its end (time, memory, crash).
 * 3. A thread that passed a bound is terminated and never asked again; the next question starts a new one.
 * 4. The thread does not keep the process alive unless a question is with it.
 */
export const ISOLATE_LIMITS = { milliseconds: 60_000, heapMegabytes: 512, residentBytes: 1024 * 1024 * 1024 } as const

/** Milliseconds. */
const WATCH_EVERY = 50

export interface IsolateLimits {
  /**
   * Of computing, by the process: whether a file can be read may not depend on how busy the machine is. Ten times as
   * much may pass on the clock.
   */
  readonly milliseconds: number
  readonly heapMegabytes: number
  /** Growth of the process while a file is read. */
  readonly residentBytes: number
}

interface Waiting {
  readonly bytes: Uint8Array
  readonly options: ExtractOptions
  readonly resolve: (extracted: Extracted) => void
}

export interface Isolate {
  read(bytes: Uint8Array, options: ExtractOptions): Promise<Extracted>
  close(): Promise<void>
}

export function createIsolate(limits: IsolateLimits = ISOLATE_LIMITS): Isolate {
  const queue: Waiting[] = []
  let worker: Worker | undefined
  let current: { readonly id: number; readonly finish: (extracted: Extracted) => void } | undefined
  let count = 0

  /** The thread is lost: answer what it was asked with the reason, and let the next question start a new one. */
  const lose = (thread: Worker, failure: Extracted): void => {
    if (thread !== worker) return
    worker = undefined
    void thread.terminate()
    current?.finish(failure)
  }

  const running = (): Worker => {
    if (worker !== undefined) return worker
    const thread = start(limits)
    worker = thread
    thread.on('message', (answer: Answer) => {
      if (thread === worker && answer.id === current?.id) current.finish(answer.extracted)
    })
    thread.on('error', (error: Error & { code?: string }) => {
      const code = error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'TOO_LARGE' : 'PDF_UNREADABLE'
      lose(thread, { ok: false, code, reason: error.message })
    })
    thread.on('exit', () => lose(thread, { ok: false, code: 'PDF_UNREADABLE', reason: 'the reading thread ended' }))
    return thread
  }

  const next = (): void => {
    const waiting = current === undefined ? queue.shift() : undefined
    if (waiting === undefined) return
    const thread = running()
    thread.ref()
    const id = ++count
    const before = process.memoryUsage.rss()
    const began = process.cpuUsage()
    const late = `not read within ${limits.milliseconds / 1000} s`
    const tooSlow = (): void => lose(thread, { ok: false, code: 'TOO_SLOW', reason: late })
    const deadline = setTimeout(tooSlow, limits.milliseconds * 10)
    // Inflated streams lie outside the heap that the thread's own limit covers, and Node counts buffers by thread, so
    // the process is what can be watched from here.
    const watch = setInterval(() => {
      const { user, system } = process.cpuUsage(began)
      if (user + system > limits.milliseconds * 1000) return tooSlow()
      const grown = process.memoryUsage.rss() - before
      if (grown > limits.residentBytes) {
        lose(thread, { ok: false, code: 'TOO_LARGE', reason: 'it inflates beyond all bounds' })
      }
    }, WATCH_EVERY)
    const finish = (extracted: Extracted): void => {
      clearTimeout(deadline)
      clearInterval(watch)
      thread.unref()
      current = undefined
      waiting.resolve(extracted)
      next()
    }
    current = { id, finish }
    thread.postMessage({ id, bytes: waiting.bytes, options: waiting.options } satisfies Question)
  }

  return {
    read: (bytes, options) =>
      new Promise((resolve) => {
        queue.push({ bytes, options, resolve })
        next()
      }),
    close: async () => {
      const thread = worker
      worker = undefined
      await thread?.terminate()
      current?.finish({ ok: false, code: 'PDF_UNREADABLE', reason: 'reading was stopped' })
    },
  }
}

function start(limits: IsolateLimits): Worker {
  return new Worker(new URL('./worker.ts', import.meta.url), {
    resourceLimits: { maxOldGenerationSizeMb: limits.heapMegabytes },
    // pdf.js prints on standard output; what a foreign file makes it say is no output of ours.
    stdout: true,
    stderr: true,
  })
}
