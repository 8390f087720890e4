/**
 * A shard: one database server with its cores, its log and its notifications. Owns which runs are ready there and who
 * listens. Invariants: a write is answered after its flush; a notification reaches every session that listens, each of
 * which is woken once however many there are to read; notifications are made one after the other (Postgres holds a lock
 * for that, `async.c`).
 */
import type { Simulation } from './events.ts'
import type { Params } from './params.ts'
import { createFlush, createStation, type Flush, type Station } from './stations.ts'

export interface Server {
  readonly cpu: Station
  readonly log: Flush
  readonly notices: Station
  /** Runs that wait for somebody to drive them, oldest first. */
  readonly ready: Set<number>
  /** Work of one statement; `walBytes` 0 for one that writes nothing (or need not be synced). */
  serve(ms: number, walBytes: number, done: () => void): void
  /** Called with each notification. */
  listen(hear: () => void): void
  readonly listeners: number
  notify(done: () => void): void
  reset(): void
}

export function createServer(sim: Simulation, params: Params, shared?: Station): Server {
  const { costs, coreSpeed } = params
  const cpu = shared ?? createStation(sim, params.cores)
  const log = createFlush(sim, { ms: params.flushMs, msPerKb: params.flushMsPerKb })
  const notices = createStation(sim, 1, cpu)
  const listeners: { readonly hear: () => void; pending: boolean }[] = []
  const ready = new Set<number>()

  return {
    cpu,
    log,
    notices,
    ready,
    serve(ms, walBytes, done) {
      cpu.run(ms / coreSpeed, () => (walBytes > 0 ? log.join(walBytes, done) : done()))
    },
    listen(hear) {
      listeners.push({ hear, pending: false })
    },
    get listeners() {
      return listeners.length
    },
    notify(done) {
      notices.run(costs.notifyMs / coreSpeed, () => {
        for (const listener of listeners) {
          if (listener.pending) continue
          listener.pending = true
          cpu.run(costs.listenerMs / coreSpeed, () => {
            listener.pending = false
            sim.after(params.rttMs / 2, listener.hear)
          })
        }
        done()
      })
    },
    reset() {
      cpu.reset()
      log.reset()
      notices.reset()
    },
  }
}
