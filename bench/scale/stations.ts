/**
 * Where things queue: a station of equal servers, a group commit, and a pool of permits. Each owns its queue and the
 * integrals from which its figures come. Invariants: first come, first served; no server is idle while somebody waits
 * (work conserving); what is counted is counted from the last `reset` on.
 */
import type { Simulation } from './events.ts'

export interface StationFigures {
  /** Share of the servers' time that was spent serving, 0 to 1. */
  readonly utilisation: number
  readonly completions: number
  /** Mean number of jobs waiting or served. */
  readonly inSystem: number
  /** Mean milliseconds from arrival to completion, of those that completed. */
  readonly residence: number
}

export interface Station {
  run(ms: number, done: () => void): void
  figures(): StationFigures
  reset(): void
}

/** Integrates how many are there and how many are served. */
function createTally(sim: Simulation, servers: number) {
  let since = sim.now()
  let last = since
  let there = 0
  let served = 0
  let area = 0
  let busy = 0
  let completions = 0
  let residence = 0

  function move(): void {
    const now = sim.now()
    area += there * (now - last)
    busy += served * (now - last)
    last = now
  }

  return {
    arrive(): void {
      move()
      there += 1
    },
    serve(by: number): void {
      move()
      served += by
    },
    leave(arrivedAt: number): void {
      move()
      there -= 1
      completions += 1
      residence += sim.now() - arrivedAt
    },
    reset(): void {
      move()
      since = sim.now()
      area = busy = completions = residence = 0
    },
    figures(): StationFigures {
      move()
      const span = Math.max(1e-9, last - since)
      return {
        utilisation: busy / span / servers,
        completions,
        inSystem: area / span,
        residence: completions === 0 ? 0 : residence / completions,
      }
    },
  }
}

/** A queue whose front is taken in constant time. */
function createQueue<T>() {
  let items: T[] = []
  let head = 0
  return {
    push: (item: T): unknown => items.push(item),
    shift(): T | undefined {
      const item = items[head]
      if (item === undefined) return undefined
      head += 1
      if (head > 1024 && head * 2 > items.length) {
        items = items.slice(head)
        head = 0
      }
      return item
    },
    get length(): number {
      return items.length - head
    },
  }
}

/** `servers` equal servers with one queue. With `on`, the work of a server takes place there (a loop on shared cores). */
export function createStation(sim: Simulation, servers: number, on?: Station): Station {
  const tally = createTally(sim, servers)
  const waiting = createQueue<{ readonly ms: number; readonly at: number; readonly done: () => void }>()
  let free = servers

  function start(job: { readonly ms: number; readonly at: number; readonly done: () => void }): void {
    free -= 1
    tally.serve(1)
    const end = (): void => {
      tally.serve(-1)
      tally.leave(job.at)
      free += 1
      job.done()
      const next = free > 0 ? waiting.shift() : undefined
      if (next !== undefined) start(next)
    }
    if (on === undefined) sim.after(job.ms, end)
    else on.run(job.ms, end)
  }

  return {
    run(ms, done) {
      tally.arrive()
      const job = { ms, at: sim.now(), done }
      // Whoever waits was here before.
      if (free > 0 && waiting.length === 0) start(job)
      else waiting.push(job)
    },
    figures: () => tally.figures(),
    reset: () => tally.reset(),
  }
}

export interface Flush {
  /** `done` when the log is on disk up to here. */
  join(bytes: number, done: () => void): void
  /** `completions` counts commits. */
  figures(): StationFigures & { readonly flushes: number; readonly bytes: number }
  reset(): void
}

/**
 * A log that one at a time syncs: what comes while a sync is under way waits and shares the next one. So a commit waits
 * between one and two syncs' time, however many there are.
 */
export function createFlush(sim: Simulation, cost: { readonly ms: number; readonly msPerKb: number }): Flush {
  const tally = createTally(sim, 1)
  let waiting: { readonly bytes: number; readonly at: number; readonly done: () => void }[] = []
  let busy = false
  let flushes = 0
  let written = 0

  function flush(): void {
    const group = waiting
    waiting = []
    busy = true
    tally.serve(1)
    const bytes = group.reduce((sum, one) => sum + one.bytes, 0)
    sim.after(cost.ms + (cost.msPerKb * bytes) / 1024, () => {
      busy = false
      flushes += 1
      written += bytes
      tally.serve(-1)
      for (const { at } of group) tally.leave(at)
      for (const { done } of group) done()
      if (!busy && waiting.length > 0) flush()
    })
  }

  return {
    join(bytes, done) {
      tally.arrive()
      waiting.push({ bytes, at: sim.now(), done })
      if (!busy) flush()
    },
    figures: () => ({ ...tally.figures(), flushes, bytes: written }),
    reset() {
      tally.reset()
      flushes = 0
      written = 0
    },
  }
}

export interface Pool {
  /** `act` gets what gives the permit back. */
  take(act: (give: () => void) => void): void
  figures(): StationFigures
  reset(): void
}

export function createPool(sim: Simulation, permits: number): Pool {
  const tally = createTally(sim, permits)
  const waiting = createQueue<{ readonly at: number; readonly act: (give: () => void) => void }>()
  let free = permits

  function grant({ at, act }: { readonly at: number; readonly act: (give: () => void) => void }): void {
    free -= 1
    tally.serve(1)
    act(() => {
      tally.serve(-1)
      tally.leave(at)
      free += 1
      const next = waiting.shift()
      if (next !== undefined) grant(next)
    })
  }

  return {
    take(act) {
      tally.arrive()
      const one = { at: sim.now(), act }
      if (free > 0 && waiting.length === 0) grant(one)
      else waiting.push(one)
    },
    figures: () => tally.figures(),
    reset: () => tally.reset(),
  }
}
