import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Probe } from '../ports/probe.ts'
import { createEngine, type Engine } from './engine.ts'
import { createLocks, type Locks } from './lease-locks.ts'
import { untilThread } from './lease-margin.ts'
import { crashPoints } from './points.ts'
import type { Point, Request, ToClient, WireAppend, WireExtras, WorkerOptions } from './protocol.ts'
import { createPump, type Pump } from './pump.ts'
import { openStore } from './schema.ts'
import { createSignals } from './signals.ts'

// The ledger in the caller's thread, for the time until its own is up: Node takes longer to start a thread than most
// programs take for their first records. Only what cannot take long is done here; whatever stands in the way is left to
// the thread, which waits, mends, or says what is wrong. Owns a connection until it is left or closed, and the locks of
// workers that were registered here until its end.

export interface Here {
  readonly pump: Pick<Pump, 'rest'>
  readonly locks: Locks
  do(calls: readonly Request[]): void
  /** Whether the call may take long, and is one for the thread. */
  isLong(request: Request): boolean
  /** Closes the connection and leaves the workers to the thread. Nothing is done here afterwards. */
  leave(): void
  /** Does what was begun, gives the leases back and closes the connection. */
  close(): Promise<void>
  /** Lets go of whatever is left. */
  end(): void
}

/** A larger WAL may take a while to recover. */
const walBytes = 4 << 20
const fewRecords = 250
const fewRows = 1_000
const someBytes = 1 << 20
/** Files are watched by the thread. */
const pollMs = 25

/** Undefined when the store cannot be opened at once. */
export function openHere(
  options: WorkerOptions,
  caller: {
    readonly send: (message: ToClient) => void
    readonly probe: Probe | undefined
    readonly registered: (worker: string, slot: BigInt64Array) => void
    /** Called when something failed that no call can be told of. */
    readonly broken: (error: unknown) => void
  },
): Here | undefined {
  const { dir, leaseMs } = options
  const { send, probe, registered, broken } = caller
  const crash = crashPoints(options)
  const locks = createLocks(dir)

  function reach(point: Point): void {
    crash(point)
    try {
      probe?.(point)
    } catch (error) {
      // It is the caller's own, and nothing that a group fails for.
      process.nextTick(() => {
        throw error
      })
    }
  }

  function open(): Engine {
    const db = openStore({ ...options, busyMs: 0, asItIs: true })
    try {
      const signals = createSignals(dir, pollMs)
      return createEngine(options, {
        db,
        signals,
        locks,
        leaseMs: untilThread(leaseMs),
        ahead: false,
        send,
        reach,
        registered,
      })
    } catch (error) {
      db.close()
      throw error
    }
  }

  let engine: Engine
  try {
    if ((statSync(join(dir, 'ledger.db-wal'), { throwIfNoEntry: false })?.size ?? 0) > walBytes) return undefined
    engine = open()
  } catch {
    return undefined
  }
  const pump = createPump({ engine, leaseMs, broken })
  let left = false

  function leave(): void {
    if (left) return
    left = true
    pump.stop()
    engine.leave()
  }

  return {
    pump,
    locks,
    do(calls) {
      pump.take(calls)
      pump.run()
    },
    isLong(request) {
      try {
        return isLong(engine, request)
      } catch {
        // The thread says what is wrong with the store.
        return true
      }
    },
    leave,
    async close() {
      await pump.rest()
      if (left) return
      left = true
      pump.stop()
      await engine.close()
    },
    end() {
      leave()
      locks.close()
    },
  }
}

function isLong(engine: Engine, [, kind, args]: Request): boolean {
  switch (kind) {
    case 'post':
    case 'register':
    case 'unregister':
    case 'beat':
    case 'claim':
    case 'release':
    case 'isAlive':
    case 'tenantKey':
    case 'head':
    case 'run':
    case 'approval':
    case 'nextDue':
    case 'guardOwner':
    case 'interest':
    case 'position':
      return false
    case 'begin':
      return isLongAppend([args[0]], args[1])
    case 'append':
      return isLongAppend(...args)
    case 'putBlobs':
      return bytesOf(args[1]) > someBytes
    case 'getBlob':
      return engine.bytesOf(...args) > someBytes
    case 'runs':
      return (args[0].limit ?? 0) > fewRows
    case 'approvals':
      return args[3] > fewRows
    case 'ready':
      return args[1] > fewRows
    case 'read':
      return args[3] >= fewRecords && engine.seqOf(args[0], args[1]) - args[2] >= fewRecords
    case 'readAhead':
      return engine.seqOf(args[1], args[2]) - args[3] >= fewRecords
    default:
      return true
  }
}

function isLongAppend(batch: readonly WireAppend[], extras: WireExtras | null): boolean {
  const records = batch.reduce((sum, part) => sum + part.records.length, 0)
  return records > fewRecords || bytesOf(extras?.blobs ?? []) > someBytes
}

function bytesOf(blobs: readonly { readonly bytes: Uint8Array }[]): number {
  return blobs.reduce((sum, { bytes }) => sum + bytes.byteLength, 0)
}
