// One watch per model call. It owns one timer and one listener on the caller's signal; `close` gives both back.
// Invariants: `signal` aborts when the caller's does or when nothing came for `idleMs`; `race` settles as soon as
// either happens, whether or not the provider package honours its signal.

export interface Watch {
  /** Handed to the provider package, so that it closes the connection. */
  readonly signal: AbortSignal
  /** Waits for the next sign of life; rejects with the caller's reason, or with what `silent` makes. */
  race<T>(next: PromiseLike<T>): Promise<T>
  close(): void
}

export function watch(outer: AbortSignal, idleMs: number, silent: () => Error): Watch {
  const inner = new AbortController()
  const stop = (): void => inner.abort(outer.reason)
  if (outer.aborted) stop()
  outer.addEventListener('abort', stop, { once: true })
  const stopped = new Promise<never>((_, reject) => {
    const refuse = (): void => reject(inner.signal.reason as Error)
    if (inner.signal.aborted) refuse()
    inner.signal.addEventListener('abort', refuse, { once: true })
  })
  stopped.catch(() => {})
  let timer: NodeJS.Timeout | undefined
  return {
    signal: inner.signal,
    async race(next) {
      timer = setTimeout(() => inner.abort(silent()), idleMs)
      try {
        return await Promise.race([next, stopped])
      } finally {
        clearTimeout(timer)
      }
    },
    close() {
      clearTimeout(timer)
      outer.removeEventListener('abort', stop)
    },
  }
}
