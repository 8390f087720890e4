import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { toErrorData } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import { createEngine, type Engine } from './engine.ts'
import { fromSqlite } from './errors.ts'
import type { Request, ToClient, ToWorker, WorkerOptions } from './protocol.ts'

// The thread that owns the database connection. It drains whatever has arrived into groups: all writes of a drain
// share one transaction, reads follow. Invariant: one group at a time; nothing is answered before its commit.

if (parentPort === null) throw new Error('this module is a worker thread; openSqliteLedger starts it')
const port = parentPort
const options = workerData as WorkerOptions

const writes: Request[] = []
const reads: Request[] = []
let busy = false
let closing = false

function send(message: ToClient): void {
  port.postMessage(message)
}

function run(engine: Engine): void {
  const beat = setInterval(() => {
    if (!engine.wantsBeat()) return
    writes.push([0, 'beat', []])
    void pump()
  }, options.leaseMs / 4)

  function take(message: ToWorker): void {
    if ('close' in message) {
      closing = true
      return
    }
    for (const call of message.calls) {
      // At once: what is committed after the caller asked to hear of it must be heard.
      if (call[1] === 'interest') engine.listen(call)
      else if (engine.isWrite(call[1])) writes.push(call)
      else reads.push(call)
    }
  }

  function takeAll(): void {
    for (;;) {
      const next = receiveMessageOnPort(port) as { message: ToWorker } | undefined
      if (next === undefined) return
      take(next.message)
    }
  }

  async function pump(): Promise<void> {
    if (busy) return
    busy = true
    try {
      takeAll()
      while (writes.length > 0 || reads.length > 0) {
        if (writes.length > 0) await engine.commit(writes.splice(0, 1_000))
        if (reads.length > 0) reads.push(...(await engine.answer(reads.splice(0, 50))))
        takeAll()
      }
    } finally {
      busy = false
    }
    if (!closing) return
    busy = true
    clearInterval(beat)
    await engine.close()
    port.close()
  }

  port.on('message', (message: ToWorker) => {
    take(message)
    void pump()
  })
}

try {
  run(createEngine(options, send))
  send({ opened: true })
  // Whoever opened it prepares a first call now. What makes keys and measures time takes Node 6 ms to load.
  sha256('')
  performance.now()
} catch (error) {
  send({ failed: toErrorData(fromSqlite(error, options.dir)) })
  port.close()
}
