import type { Head, LedgerRecord } from '../core/record.ts'
import { inboxStream, runIdOf, runStream } from '../core/projections.ts'
import type { StreamRef } from '../ports/ledger.ts'

/** A run that was begun here and that nobody has driven yet. */
export interface Fresh {
  readonly records: readonly LedgerRecord[]
  /** Whether anything may have come to its inbox. */
  readonly touched: boolean
}

/**
 * The first records of runs that this process has begun itself: whoever drives one of them next has no need to read what
 * was just written, nor an inbox that nothing has come to.
 *
 * Invariants: what is given is the whole stream up to the head that the ledger claims, by its hash; whoever asks hears of
 * changes himself from then on, and of those before through `touch`; few are kept, and none for longer than until it is
 * driven.
 */
export interface Begun {
  add(ref: StreamRef, records: readonly LedgerRecord[]): void
  /** Something may have come to these streams, or to any. */
  touch(changed: readonly StreamRef[] | undefined): void
  /** Undefined where another has written to it since, or begun it. */
  get(ref: StreamRef, head: Head): Fresh | undefined
  drop(ref: StreamRef): void
}

const most = 4_096
/** Who has not been driven by then is driven elsewhere, or much later. */
const keptMs = 60_000

interface Kept {
  readonly records: readonly LedgerRecord[]
  readonly since: number
  touched: boolean
}

/** `now`: milliseconds of a clock that only goes forward. */
export function createBegun(now: () => number): Begun {
  const runs = new Map<string, Kept>()
  const keyOf = (ref: StreamRef): string => `${ref.tenant}\n${ref.stream}`

  return {
    add(ref, records) {
      // Spilled payloads are not in their records.
      if (records.some((record) => record.spill !== undefined)) return
      const since = now()
      if (runs.size >= most) for (const [key, kept] of runs) if (since - kept.since > keptMs) runs.delete(key)
      if (runs.size < most) runs.set(keyOf(ref), { records, since, touched: false })
    },
    touch(changed) {
      if (changed === undefined) for (const run of runs.values()) run.touched = true
      else
        for (const { tenant, stream } of changed) {
          const run = runs.size === 0 ? undefined : runs.get(keyOf({ tenant, stream: runStream(runIdOf(stream)) }))
          if (run !== undefined && stream === inboxStream(runIdOf(stream))) run.touched = true
        }
    },
    get(ref, head) {
      const run = runs.get(keyOf(ref))
      return run?.records.at(-1)?.hash === head.hash ? run : undefined
    },
    drop(ref) {
      runs.delete(keyOf(ref))
    },
  }
}
