/**
 * So many at once; who waits longest among the most urgent is next. Owns the count of places taken and who waits.
 * `take` resolves false when the wait was given up.
 */
export interface Places {
  take(priority: number): Promise<boolean>
  /** Without waiting. */
  tryTake(): boolean
  give(): void
  /** Nobody waits any more, and nobody gets a place. */
  close(): void
}

export function createPlaces(size: number): Places {
  const queue: { readonly priority: number; readonly begin: (has: boolean) => void }[] = []
  let taken = 0
  let closed = false
  return {
    tryTake() {
      if (closed || taken >= size) return false
      taken++
      return true
    },
    take(priority) {
      if (closed) return Promise.resolve(false)
      if (taken < size) {
        taken++
        return Promise.resolve(true)
      }
      return new Promise((begin) => {
        const at = queue.findIndex((other) => other.priority < priority)
        queue.splice(at === -1 ? queue.length : at, 0, { priority, begin })
      })
    },
    give() {
      const next = closed ? undefined : queue.shift()
      if (next === undefined) taken--
      else next.begin(true)
    },
    close() {
      closed = true
      for (const { begin } of queue.splice(0)) begin(false)
    },
  }
}
