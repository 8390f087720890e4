const minBackoffMs = 50
const maxBackoffMs = 5_000
/** A run lost so often in a row is not ours to drive: another build's workflow, say. */
const hopeless = 5

interface Held {
  /** On the monotonic clock, as all times here. */
  readonly until: number
  readonly losses: number
}

export interface Holds {
  readonly lost: (key: string) => void
  /** It was driven well, or need not be remembered. */
  readonly clear: (key: string) => void
  /** The back-off is over early: somebody knows of something new. */
  readonly lift: (key: string) => void
  readonly isHeld: (key: string) => boolean
  readonly isHopeless: (key: string) => boolean
  /** Clears those whose back-off has passed and that are of no use any more. */
  readonly prune: (isUseless: (key: string) => boolean) => void
  /** Milliseconds until the first back-off ends. */
  readonly next: () => number
  readonly size: number
}

/** Milliseconds before the next try of a run that was lost so often in a row, the last time included. */
export type Backoff = (losses: number) => number

const doubling: Backoff = (losses) => Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.min(losses - 1, 10))

/** Owns which runs were lost and are held back, ever longer, so that a failing one cannot spin. */
export function createHolds(monotonic: () => number, backoff: Backoff = doubling): Holds {
  const held = new Map<string, Held>()
  return {
    lost(key) {
      const losses = (held.get(key)?.losses ?? 0) + 1
      held.set(key, { until: monotonic() + backoff(losses), losses })
    },
    clear: (key) => void held.delete(key),
    lift(key) {
      const hold = held.get(key)
      if (hold !== undefined) held.set(key, { ...hold, until: -Infinity })
    },
    isHeld: (key) => (held.get(key)?.until ?? -Infinity) > monotonic(),
    isHopeless: (key) => (held.get(key)?.losses ?? 0) >= hopeless,
    prune(isUseless) {
      const now = monotonic()
      for (const [key, { until }] of held) if (until <= now && isUseless(key)) held.delete(key)
    },
    next() {
      const now = monotonic()
      let next = Infinity
      for (const { until } of held.values()) if (until > now) next = Math.min(next, until - now)
      return next
    },
    get size() {
      return held.size
    },
  }
}
