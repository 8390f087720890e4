import type { Json } from '../core/json.ts'
import type { Live, LiveEvent } from '../ports/runtime.ts'

// One bus owns its listeners, by tenant and run. Invariants: events are delivered within `publish` and never stored,
// so there is no queue to bound; a run without listeners has no entry; a listener that throws is taken off and
// reported, since publishers must not fail for those who watch.

export interface LiveOptions {
  /** The redaction that records get; events may go to a screen just as well. */
  readonly redact?: (data: Json) => Json
  /** Listeners of one run; more are refused. Default 1,000. */
  readonly maxListeners?: number
  /** Told about a listener that threw. Default: a process warning. */
  readonly onError?: (error: unknown) => void
}

export interface LiveBus extends Live {
  /** Subscriptions that are open now. */
  readonly size: number
}

/** The in-process Live. `subscribe` throws a RangeError beyond `maxListeners` (a leak in whoever subscribes). */
export function liveBus(options: LiveOptions = {}): LiveBus {
  const max = options.maxListeners ?? 1000
  const redact = options.redact ?? ((data: Json): Json => data)
  const warn =
    options.onError ?? ((error: unknown): void => process.emitWarning(`a live listener failed: ${String(error)}`))
  const runs = new Map<string, Set<(event: LiveEvent) => void>>()
  let size = 0
  const keyOf = (ref: { readonly tenant: string; readonly run: string }): string => `${ref.tenant}\n${ref.run}`

  function remove(key: string, listener: (event: LiveEvent) => void): void {
    const listeners = runs.get(key)
    if (listeners?.delete(listener) !== true) return
    size--
    if (listeners.size === 0) runs.delete(key)
  }

  return {
    get size() {
      return size
    },
    publish(event) {
      const key = keyOf(event)
      const listeners = runs.get(key)
      if (listeners === undefined) return
      const shown = { ...event, data: redact(event.data) }
      // Who subscribes during delivery starts with the next event.
      const now = [...listeners]
      for (const listener of now) {
        try {
          listener(shown)
        } catch (error) {
          remove(key, listener)
          warn(error)
        }
      }
    },
    subscribe(run, listener) {
      const key = keyOf(run)
      const listeners = runs.get(key) ?? new Set()
      if (listeners.size >= max) throw new RangeError(`run ${run.run} already has ${max} live listeners`)
      runs.set(key, listeners)
      // One function may subscribe twice; each subscription ends by itself.
      const own = (event: LiveEvent): void => listener(event)
      listeners.add(own)
      size++
      return () => remove(key, own)
    },
  }
}
