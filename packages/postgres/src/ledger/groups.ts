import { closedError } from './errors.ts'

// Group commit. Owns what waits to be written and which streams are under way. Invariants: what concerns one stream is
// written in the order in which it was handed in, one group after the other; a stream is in one group at a time; a
// group is one round trip and one commit, in which each call succeeds or is refused by itself.

export interface Groups<T, R> {
  add(item: T): Promise<R>
  /** Resolves when nothing waits any more. */
  idle(): Promise<void>
  close(): void
}

interface Waiting<T, R> {
  readonly item: T
  readonly keys: readonly string[]
  readonly size: number
  resolve(value: R): void
  reject(error: unknown): void
}

export type Outcome<R> = { readonly value: R } | { readonly error: unknown }

export function createGroups<T, R>(options: {
  /** Groups under way at once. */
  readonly lanes: number
  readonly maxItems: number
  readonly maxBytes: number
  readonly keysOf: (item: T) => readonly string[]
  readonly sizeOf: (item: T) => number
  /** One outcome for each item, in order; throws when the group failed as a whole. */
  readonly write: (items: readonly T[]) => Promise<readonly Outcome<R>[]>
}): Groups<T, R> {
  const { lanes, maxItems, maxBytes, keysOf, sizeOf, write } = options
  let queue: Waiting<T, R>[] = []
  const busy = new Set<string>()
  const idlers: (() => void)[] = []
  let active = 0
  let scheduled = false
  let closed = false

  function schedule(): void {
    if (scheduled) return
    scheduled = true
    // A tick scheduled from a microtask runs when this turn has nothing left to do: what it hands in travels together.
    queueMicrotask(() => process.nextTick(pump))
  }

  function pump(): void {
    scheduled = false
    while (active < lanes && queue.length > 0) {
      const group = take()
      if (group.length === 0) return
      void run(group)
    }
  }

  function take(): Waiting<T, R>[] {
    const group: Waiting<T, R>[] = []
    const rest: Waiting<T, R>[] = []
    const passed = new Set<string>()
    let bytes = 0
    for (const one of queue) {
      const fits = group.length < maxItems && (group.length === 0 || bytes + one.size <= maxBytes)
      if (fits && one.keys.every((key) => !busy.has(key) && !passed.has(key))) {
        group.push(one)
        bytes += one.size
      } else rest.push(one)
      // Whoever comes later for the same stream comes in a later group.
      for (const key of one.keys) passed.add(key)
    }
    queue = rest
    for (const { keys } of group) for (const key of keys) busy.add(key)
    return group
  }

  async function run(group: readonly Waiting<T, R>[]): Promise<void> {
    active += 1
    try {
      const outcomes = await write(group.map(({ item }) => item))
      for (const [at, one] of group.entries()) {
        const outcome = outcomes[at] as Outcome<R>
        if ('error' in outcome) one.reject(outcome.error)
        else one.resolve(outcome.value)
      }
    } catch (error) {
      for (const one of group) one.reject(error)
    } finally {
      active -= 1
      for (const { keys } of group) for (const key of keys) busy.delete(key)
      if (active === 0 && queue.length === 0) for (const resolve of idlers.splice(0)) resolve()
      // What waits for the answers begins first, so that what it hands in at once comes along.
      if (queue.length > 0) schedule()
    }
  }

  return {
    add(item) {
      if (closed) return Promise.reject(closedError())
      return new Promise((resolve, reject) => {
        queue.push({ item, keys: keysOf(item), size: sizeOf(item), resolve, reject })
        schedule()
      })
    },
    idle() {
      if (active === 0 && queue.length === 0) return Promise.resolve()
      return new Promise((resolve) => idlers.push(resolve))
    },
    close() {
      closed = true
    },
  }
}
