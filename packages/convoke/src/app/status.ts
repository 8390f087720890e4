import { runIdOf, runStream } from '../core/projections.ts'
import type { StreamRef } from '../ports/ledger.ts'
import type { Entry } from '../replay/types.ts'

/** Is given the run's last record where that is known; whoever is not looks for itself. */
export type StatusListener = (last?: Entry) => void

/**
 * Who waits for a run's status to change. A run that is driven here is named when its drive ends, and hardly anybody
 * looks before; what the ledger tells of may concern any other run, so then all who wait for one look again, each with
 * a read. Invariant: such looks are spaced by the number of those who look, so that a thousand waiters do not turn
 * every commit into a thousand reads.
 */
export interface StatusBoard {
  /** Calls back whenever the run may have changed. Returns the unsubscribe. */
  on(ref: StreamRef, listener: StatusListener): () => void
  /** Whether it was begun or is driven here, and nobody has said anything of it since: who waits is told when it changes. */
  isTold(ref: StreamRef): boolean
  /**
   * This run was just begun here, and will be driven here unless somebody else was faster. What was told of it before this
   * call is not known, so who waits for it looks once if it is not driven soon.
   */
  begun(ref: StreamRef): void
  /** This run is driven here from now on, until it is said to have changed. */
  driven(ref: StreamRef): void
  /** This run has changed. */
  changed(ref: StreamRef): void
  /** This run has ended. */
  ended(ref: StreamRef, last: Entry): void
  /** Runs may have changed: these, or any. */
  anyChanged(changed?: readonly StreamRef[]): void
  /** Calls all back once more; nothing is spaced from here on. */
  close(): void
}

/** Milliseconds between two looks of everybody, for each who waits: a read takes both threads about a tenth of that. */
const spacingMs = 0.5
const maxSpacingMs = 5_000
/** So few are called at once. */
const few = 16
/** Milliseconds in which a run that was begun here is usually driven. */
const soonMs = 1_000

export function statusBoard(): StatusBoard {
  const listeners = new Map<string, Set<StatusListener>>()
  const driven = new Set<string>()
  /** Begun or driven here, and nobody has said anything of them since. */
  const untouched = new Set<string>()
  /** Begun here, and not driven yet. */
  const fresh = new Set<string>()
  let waiting = 0
  let timer: NodeJS.Timeout | undefined
  let slow: NodeJS.Timeout | undefined
  let soon: NodeJS.Timeout | undefined

  const keyOf = (ref: StreamRef): string => `${ref.tenant}\n${ref.stream}`

  function callAll(): void {
    for (const set of [...listeners.values()]) for (const listener of [...set]) listener()
  }

  /** A run that hangs here may have been taken over: those who wait for one look as well, but rarely. */
  function callOthers(keys: Iterable<string> = [...listeners.keys()]): void {
    for (const key of keys) {
      const set = listeners.get(key)
      if (set === undefined) continue
      if (!driven.has(key)) for (const listener of [...set]) listener()
      else
        slow ??= setTimeout(() => {
          slow = undefined
          callAll()
        }, maxSpacingMs).unref()
    }
  }

  function lookAtFresh(): void {
    soon = undefined
    const keys = [...fresh]
    fresh.clear()
    for (const key of keys) untouched.delete(key)
    callOthers(keys)
  }

  return {
    on(ref, listener) {
      const key = keyOf(ref)
      // The same function twice is two subscriptions.
      const own: StatusListener = (last) => listener(last)
      const set = listeners.get(key)
      if (set === undefined) listeners.set(key, new Set([own]))
      else set.add(own)
      waiting++
      return () => {
        const left = listeners.get(key)
        if (left?.delete(own) !== true) return
        waiting--
        if (left.size === 0) listeners.delete(key)
      }
    },
    isTold: (ref) => untouched.has(keyOf(ref)),
    begun(ref) {
      untouched.add(keyOf(ref))
      fresh.add(keyOf(ref))
      soon ??= setTimeout(lookAtFresh, soonMs).unref()
    },
    driven(ref) {
      fresh.delete(keyOf(ref))
      driven.add(keyOf(ref))
      untouched.add(keyOf(ref))
    },
    changed(ref) {
      driven.delete(keyOf(ref))
      untouched.delete(keyOf(ref))
      for (const listener of [...(listeners.get(keyOf(ref)) ?? [])]) listener()
    },
    ended(ref, last) {
      for (const listener of [...(listeners.get(keyOf(ref)) ?? [])]) listener(last)
    },
    anyChanged(changed) {
      if (changed !== undefined) {
        const keys = new Set(changed.map(({ tenant, stream }) => keyOf({ tenant, stream: runStream(runIdOf(stream)) })))
        for (const key of keys) untouched.delete(key)
        callOthers(keys)
        return
      }
      untouched.clear()
      if (timer !== undefined || waiting === 0) return
      if (waiting <= few) {
        callOthers()
        return
      }
      const spacing = Math.min(maxSpacingMs, waiting * spacingMs)
      timer = setTimeout(() => {
        timer = undefined
        callOthers()
      }, spacing).unref()
    },
    close() {
      clearTimeout(timer)
      clearTimeout(slow)
      clearTimeout(soon)
      timer = slow = soon = undefined
      callAll()
    },
  }
}
