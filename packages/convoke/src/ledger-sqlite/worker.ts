import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { toErrorData } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import { createEngine } from './engine.ts'
import { fromSqlite } from './errors.ts'
import { createLocks, type Locks } from './lease-locks.ts'
import { crashPoints } from './points.ts'
import type { Point, ToClient, ToWorker, WorkerOptions } from './protocol.ts'
import { createPump } from './pump.ts'
import { openStore } from './schema.ts'
import { createSignals } from './signals.ts'

// The ledger's thread: owns a connection of its own from its start to its end. What it is told is done in groups
// (pump.ts), in the order in which it was told.

if (parentPort === null) throw new Error('this module is a worker thread; openSqliteLedger starts it')
const port = parentPort
const options = workerData as WorkerOptions

function send(message: ToClient): void {
  port.postMessage(message)
}

/** Those of workers that were registered in the caller's thread are the caller's. */
function locksHere(): Locks {
  const own = createLocks(options.dir)
  return {
    ...own,
    free(worker) {
      if (own.has(worker)) own.free(worker)
      else send({ freed: worker })
    },
  }
}

const crash = crashPoints(options)
function reach(point: Point): void {
  crash(point)
  if (options.probe === undefined) return
  Atomics.store(options.probe, 0, 1)
  send({ probe: point })
  Atomics.wait(options.probe, 0, 1)
}

function run(): void {
  const db = openStore(options)
  const signals = createSignals(options.dir)
  const { leaseMs } = options
  const engine = createEngine(options, { db, signals, locks: locksHere(), leaseMs, ahead: true, send, reach })
  const pump = createPump({
    engine,
    leaseMs,
    drain,
    // Ends the thread, which is how the caller hears of it.
    broken: (error) =>
      process.nextTick(() => {
        throw error
      }),
  })

  function take(message: ToWorker): void {
    if ('close' in message) void close()
    else if ('adopt' in message) {
      engine.adopt(...message.adopt)
      // At once, since the lease is a long one until then.
      pump.take([[0, 'beat', []]])
    } else pump.take(message.calls)
  }

  function drain(): void {
    for (;;) {
      const next = receiveMessageOnPort(port) as { message: ToWorker } | undefined
      if (next === undefined) return
      take(next.message)
    }
  }

  async function close(): Promise<void> {
    pump.stop()
    await pump.rest()
    await engine.close()
    port.close()
  }

  port.on('message', (message: ToWorker) => {
    take(message)
    pump.run()
  })
}

try {
  if (options.unwanted !== undefined && Atomics.load(options.unwanted, 0) === 1) port.close()
  else {
    run()
    send({ opened: true })
    // Whoever opened it prepares a first call now. What makes keys and measures time takes Node 6 ms to load.
    sha256('')
    performance.now()
  }
} catch (error) {
  send({ failed: toErrorData(fromSqlite(error, options.dir)) })
  port.close()
}
