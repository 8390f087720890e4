/**
 * A discrete-event simulation's clock and its randomness. Owns the pending events and the time. Invariants: time never
 * goes back; events of the same time happen in the order in which they were planned; the same seed gives the same run.
 */

export interface Simulation {
  /** Milliseconds since the start. */
  now(): number
  /** Plans an event. */
  after(ms: number, act: () => void): void
  /** Runs events until the time has come or none is left; `maxEvents` bounds a run that saturates. */
  runUntil(ms: number, maxEvents?: number): void
  /** Uniform in [0, 1). */
  random(): number
  /** Exponentially distributed with this mean. */
  exponential(mean: number): number
  readonly events: number
}

export function createSimulation(seed: number): Simulation {
  // A binary heap in three parallel arrays: a grid of simulations handles hundreds of millions of events.
  const times: number[] = []
  const orders: number[] = []
  const acts: (() => void)[] = []
  let now = 0
  let planned = 0
  let events = 0
  let state = (Math.imul(seed + 1, 0x9e3779b1) >>> 0) + 1

  // mulberry32: 32 bits of state, enough for the few million draws of one run.
  function random(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  function isBefore(time: number, order: number, at: number): boolean {
    const other = times[at] as number
    return time < other || (time === other && order < (orders[at] as number))
  }

  function put(at: number, time: number, order: number, act: () => void): void {
    times[at] = time
    orders[at] = order
    acts[at] = act
  }

  function after(ms: number, act: () => void): void {
    const time = now + Math.max(0, ms)
    const order = planned++
    let at = times.length
    put(at, time, order, act)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(time, order, parent)) break
      put(at, times[parent] as number, orders[parent] as number, acts[parent] as () => void)
      at = parent
    }
    put(at, time, order, act)
  }

  function next(): () => void {
    const first = acts[0] as () => void
    now = times[0] as number
    const time = times.pop() as number
    const order = orders.pop() as number
    const act = acts.pop() as () => void
    const length = times.length
    if (length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= length) break
      if (child + 1 < length && isBefore(times[child + 1] as number, orders[child + 1] as number, child)) child += 1
      if (isBefore(time, order, child)) break
      put(at, times[child] as number, orders[child] as number, acts[child] as () => void)
      at = child
    }
    put(at, time, order, act)
    return first
  }

  return {
    now: () => now,
    after,
    runUntil(ms, maxEvents = Infinity) {
      const end = events + maxEvents
      while (times.length > 0 && (times[0] as number) <= ms && events < end) {
        events += 1
        next()()
      }
      // A run cut short ends where it got to, so that its rates are right.
      if (events < end) now = Math.max(now, ms)
    },
    random,
    exponential: (mean) => (mean <= 0 ? 0 : -mean * Math.log(1 - random())),
    get events() {
      return events
    },
  }
}
