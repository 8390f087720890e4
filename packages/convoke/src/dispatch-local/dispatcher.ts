import type { Dispatcher } from '../ports/dispatcher.ts'
import type { Ledger, ReadyRun, StreamRef } from '../ports/ledger.ts'
import type { Clock } from '../ports/runtime.ts'

export interface LocalDispatcherOptions {
  readonly ledger: Ledger
  readonly clock: Clock
  /** Runs driven at once; 64 unless said. */
  readonly concurrency?: number
  /** Milliseconds between two looks when nothing calls; 2,000 unless said. */
  readonly sweepMs?: number
  readonly tenant?: string
}

const minBackoffMs = 50
const maxBackoffMs = 5_000

/**
 * Drives ready runs in this process. Owns: which runs are driven here, which are held back after a loss, and the one
 * timer for the next look.
 *
 * Invariants:
 * 1. The ledger's ready projection is the only list of work; a wake or a change is a reason to look at it.
 * 2. A run is driven at most once at a time here. Who drives it elsewhere is the ledger's business.
 * 3. One sweep at a time; a call during a sweep leads to exactly one more.
 * 4. A run that was lost is not tried again before its back-off has passed, so a failing one cannot spin.
 */
export function localDispatcher(options: LocalDispatcherOptions): Dispatcher {
  const { ledger, clock } = options
  const concurrency = options.concurrency ?? 64
  const sweepMs = options.sweepMs ?? 2_000
  const driven = new Map<string, Promise<void>>()
  const held = new Map<string, { readonly until: number; readonly backoff: number }>()
  const aborter = new AbortController()
  const idlers = new Set<() => void>()
  let drive: ((run: StreamRef, signal: AbortSignal) => Promise<'done' | 'parked' | 'lost'>) | undefined
  let sweeping = false
  let again = false
  let timer: NodeJS.Timeout | undefined
  let unsubscribe: (() => void) | undefined

  const keyOf = (ref: StreamRef): string => `${ref.tenant}\n${ref.stream}`

  function look(): void {
    if (drive === undefined || aborter.signal.aborted) return
    if (sweeping) {
      again = true
      return
    }
    sweeping = true
    void sweep().then(
      (quiet) => {
        sweeping = false
        if (again) {
          again = false
          look()
        } else if (quiet && driven.size === 0) for (const done of [...idlers]) done()
      },
      () => {
        // The store did not answer; the next look is soon enough.
        sweeping = false
        again = false
        lookIn(sweepMs)
      },
    )
  }

  function lookIn(ms: number): void {
    clearTimeout(timer)
    timer = setTimeout(look, Math.max(1, ms))
    // A worker that waits for work keeps no process alive; whoever wants to stay waits for idle() or a run.
    if (idlers.size === 0) timer.unref()
  }

  /** Starts what is ready; true when nothing is. */
  async function sweep(): Promise<boolean> {
    const room = concurrency - driven.size
    const now = clock.now()
    let ready: ReadyRun[] = []
    if (room > 0) {
      ready = await ledger.ready({
        now,
        limit: room + driven.size + held.size,
        ...(options.tenant === undefined ? {} : { tenant: options.tenant }),
      })
      const mono = clock.monotonic()
      for (const { ref } of ready) {
        const key = keyOf(ref)
        if (driven.has(key)) continue
        if ((held.get(key)?.until ?? 0) > mono) continue
        if (driven.size >= concurrency || aborter.signal.aborted) break
        begin(key, ref)
      }
    }
    const waiting = ready.filter(({ ref }) => !driven.has(keyOf(ref)))
    let next = sweepMs
    const due = await ledger.nextDue(now)
    if (due !== undefined) next = Math.min(next, due - clock.now())
    const mono = clock.monotonic()
    for (const { ref } of waiting) {
      const until = held.get(keyOf(ref))?.until
      if (until !== undefined) next = Math.min(next, until - mono)
    }
    lookIn(next)
    return waiting.length === 0
  }

  function begin(key: string, ref: StreamRef): void {
    const work = (drive as NonNullable<typeof drive>)(ref, aborter.signal).then((result) => {
      driven.delete(key)
      if (result === 'lost') {
        const backoff = Math.min(maxBackoffMs, (held.get(key)?.backoff ?? minBackoffMs / 2) * 2)
        held.set(key, { until: clock.monotonic() + backoff, backoff })
      } else held.delete(key)
      look()
    })
    driven.set(key, work)
  }

  return {
    async wake(_run, wakeOptions = {}) {
      if (wakeOptions.at === undefined || wakeOptions.at <= clock.now()) look()
      else lookIn(Math.min(sweepMs, wakeOptions.at - clock.now()))
    },
    async start(toDrive) {
      drive = toDrive
      unsubscribe = ledger.onChange(look)
      look()
    },
    async stop() {
      aborter.abort()
      clearTimeout(timer)
      unsubscribe?.()
      await Promise.all(driven.values())
      for (const done of [...idlers]) done()
    },
    idle() {
      return new Promise((resolve) => {
        const done = (): void => {
          idlers.delete(done)
          resolve()
        }
        idlers.add(done)
        look()
      })
    },
  }
}
