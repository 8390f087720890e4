import type { Output } from './output.ts'

export interface Interrupt {
  /** Aborts at the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal
  /** Which signal it was. */
  readonly by: () => 'SIGINT' | 'SIGTERM' | undefined
  readonly off: () => void
}

const alive = 60_000

/**
 * Listens for the signals that end a command, and keeps the process until `off`. The first asks it to stop in order;
 * the second ends it at once, which loses nothing that was acknowledged.
 */
export function interruptible(out: Output, says: string): Interrupt {
  const aborter = new AbortController()
  let by: 'SIGINT' | 'SIGTERM' | undefined
  const on = (name: 'SIGINT' | 'SIGTERM'): void => {
    if (by !== undefined) process.exit(130)
    by = name
    out.note(out.errStyle.faint(says))
    aborter.abort()
  }
  const int = (): void => on('SIGINT')
  const term = (): void => on('SIGTERM')
  process.on('SIGINT', int)
  process.on('SIGTERM', term)
  const timer = setInterval(() => undefined, alive)
  return {
    signal: aborter.signal,
    by: () => by,
    off: () => {
      clearInterval(timer)
      process.off('SIGINT', int)
      process.off('SIGTERM', term)
    },
  }
}
