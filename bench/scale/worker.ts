/**
 * A worker as the database sees it: one thread, connections to its shards, groups of appends, claims and releases on
 * their way. Owns what waits to be sent. Invariants: no call without a connection; at most `lanes` groups of a kind under
 * way for each shard; what comes meanwhile travels together in the next.
 */
import type { Simulation } from './events.ts'
import type { Params } from './params.ts'
import type { Server } from './server.ts'
import { createPool, createStation, type Pool, type Station } from './stations.ts'

export interface Counts {
  calls: number
  groups: number
  grouped: number
  notices: number
}

export interface Link {
  append(told: boolean, done: () => void): void
  /** `done` tells whether the run was still to be had. */
  claim(run: number, done: (won: boolean) => void): void
  release(done: () => void): void
  query(ms: number, done: () => void): void
  /** Over the session that each worker keeps. */
  renew(): void
  readonly pool: Pool
}

export interface Worker {
  readonly thread: Station
  readonly links: ReadonlyMap<number, Link>
  /** Runs driven here, by shard. */
  readonly driven: Map<number, Set<number>>
  places: number
}

interface Waiting {
  readonly told: boolean
  readonly act: (served: boolean) => void
  readonly onServer?: () => boolean
}

export function createLink(parts: {
  readonly sim: Simulation
  readonly params: Params
  readonly server: Server
  readonly thread: Station
  readonly counts: Counts
  /** Own listeners hear at once, without the way over the database. */
  readonly heard: () => void
}): Link {
  const { sim, params, server, thread, counts, heard } = parts
  const { costs } = params
  const pool = createPool(sim, params.connections)
  let gathering = false

  function call(ms: number, walBytes: number, ownMs: number, onServer: () => void, done: () => void): void {
    pool.take((give) => {
      counts.calls += 1
      sim.after(params.rttMs / 2, () =>
        server.serve(ms, walBytes, () => {
          onServer()
          sim.after(params.rttMs / 2, () => {
            give()
            thread.run(ownMs / 2, done)
          })
        }),
      )
    })
  }

  /** Tells others, in a transaction of its own, at most every `gatherMs`. */
  function tell(): void {
    heard()
    if (gathering) return
    gathering = true
    sim.after(params.gatherMs, () => {
      gathering = false
      counts.notices += 1
      pool.take((give) => sim.after(params.rttMs / 2, () => server.notify(() => sim.after(params.rttMs / 2, give))))
    })
  }

  function groups(ownMs: number, cost: (items: number) => { readonly ms: number; readonly walBytes: number }) {
    let waiting: Waiting[] = []
    let active = 0
    let planned = false

    function pump(): void {
      planned = false
      while (active < params.lanes && waiting.length > 0) {
        const group = waiting.slice(0, params.maxItems)
        waiting = waiting.slice(params.maxItems)
        active += 1
        counts.groups += 1
        counts.grouped += group.length
        const { ms, walBytes } = cost(group.length)
        const served: boolean[] = []
        const onServer = (): void => {
          for (const one of group) served.push(one.onServer?.() ?? true)
        }
        thread.run(ownMs / 2, () =>
          call(ms, walBytes, ownMs, onServer, () => {
            active -= 1
            for (const [at, one] of group.entries()) one.act(served[at] as boolean)
            if (params.bell === 'all' && group.some(({ told }) => told)) tell()
            plan()
          }),
        )
      }
    }

    function plan(): void {
      if (planned || active >= params.lanes || waiting.length === 0) return
      planned = true
      sim.after(0, pump)
    }

    return (one: Waiting): void => {
      waiting.push(one)
      plan()
    }
  }

  const appends = groups(params.callCpuMs, (n) => ({
    ms: costs.appendMs + n * costs.recordMs,
    walBytes: n * params.walBytesPerStep,
  }))
  const claims = groups(params.queryCpuMs, (n) => ({
    ms: costs.claimMs + n * costs.claimEachMs,
    walBytes: n * params.walBytesPerWrite,
  }))
  const releases = groups(params.queryCpuMs, (n) => ({
    ms: costs.releaseMs + n * costs.releaseEachMs,
    walBytes: n * params.walBytesPerWrite,
  }))

  return {
    pool,
    append: (told, done) => appends({ told, act: done }),
    claim: (run, done) => claims({ told: false, act: done, onServer: () => server.ready.delete(run) }),
    release: (done) => releases({ told: false, act: done }),
    query: (ms, done) => thread.run(params.queryCpuMs / 2, () => call(ms, 0, params.queryCpuMs, () => undefined, done)),
    renew: () => sim.after(params.rttMs / 2, () => server.serve(costs.renewMs, 0, () => undefined)),
  }
}

export function createWorker(
  sim: Simulation,
  params: Params,
  servers: ReadonlyMap<number, Server>,
  counts: Counts,
  hear: (worker: Worker, shard: number) => void,
  shared?: Station,
): Worker {
  const thread = createStation(sim, 1, shared)
  const links = new Map<number, Link>()
  const worker: Worker = {
    thread,
    links,
    driven: new Map([...servers.keys()].map((shard) => [shard, new Set<number>()])),
    places: params.concurrency,
  }
  for (const [shard, server] of servers) {
    const heard = (): void => hear(worker, shard)
    links.set(shard, createLink({ sim, params, server, thread, counts, heard }))
    if (params.bell === 'all') server.listen(() => thread.run(params.queryCpuMs / 10, heard))
  }
  return worker
}
