/** So many at once, in the order of asking: deterministic wherever those who ask are. */
export interface Semaphore {
  /** Resolves, when it is this one's turn, with what gives the place back. */
  take(): Promise<() => void>
}

export function semaphore(places: number): Semaphore {
  let free = places
  const waiting: (() => void)[] = []
  const give = (): void => {
    const next = waiting.shift()
    if (next === undefined) free++
    else next()
  }
  return {
    async take() {
      if (free > 0) free--
      else await new Promise<void>((resolve) => waiting.push(resolve))
      let held = true
      return () => {
        if (held) give()
        held = false
      }
    },
  }
}
