import type { LedgerRecord, Position } from 'convoke/adapter'
import type { Database } from './database.ts'
import { checkTenant } from './prepare.ts'
import { hexOf, recordColumns, type Reads } from './reads.ts'
import { emptyHash } from 'convoke/adapter'
import { fromText, toText } from './text.ts'

// Follows the records in commit order. Positions come from a sequence, so one that is handed out earlier may be
// committed later, or never. A reader therefore goes on only over positions without a gap, or once it is certain that
// nothing can come into the gap any more:
//
// - whoever inserts records holds a lock on the table (RowExclusiveLock) from before it takes a position until after
//   its commit is visible;
// - so when a later position is visible, whoever took the missing one held that lock then, or had ended;
// - so when none of those who held it at a look after that still does, the gap is final.
//
// Long transactions elsewhere in the cluster do not hold this up (a horizon by transaction id would), and appends pay
// nothing for it. Within a stream, positions follow seq: they are taken while the stream's row is locked.

export interface Followed {
  readonly position: Position
  readonly record: LedgerRecord
}

export interface Followers {
  watch(tenant: string, after: Position | 'now' | undefined): AsyncIterable<Followed>
  /** Settled when every iterator that was asked for its first record knows where it begins. */
  readonly begun: Promise<void> | undefined
  /** Records were committed, here or elsewhere. */
  grown(): void
  close(): void
}

const pageSize = 500
const gatherMs = 5
const minWaitMs = 25
const maxWaitMs = 500

export function createFollowers(database: Database, schema: string, reads: Reads): Followers {
  const asleep = new Set<() => void>()
  let ended = false
  let begun: Promise<void> | undefined
  const page = `SELECT position FROM ${schema}.records WHERE position > $1 ORDER BY position LIMIT ${pageSize}`
  const between = `SELECT ${recordColumns(schema)},
      (SELECT p.sums FROM ${schema}.records p WHERE p.stream = r.stream AND p.seq = r.seq - 1), s.name
    FROM ${schema}.records r JOIN ${schema}.streams s ON s.id = r.stream
    WHERE r.position > $1 AND r.position <= $2 AND s.tenant = $3 ORDER BY r.position`
  const holders = `SELECT DISTINCT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND relation = '${schema}.records'::regclass AND mode = 'RowExclusiveLock'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

  let timer: NodeJS.Timeout | undefined

  function wakeAll(): void {
    clearTimeout(timer)
    timer = undefined
    for (const wake of asleep) wake()
    asleep.clear()
  }

  function follow(tenant: string, after: Position | 'now'): AsyncIterator<Followed> {
    let position = after === 'now' ? -1 : after
    let ready: Followed[] = []
    let done = false
    let wake: (() => void) | undefined
    /** Up to here every gap is final. */
    let final = 0
    let suspects: { readonly upTo: number; readonly holders: ReadonlySet<string> } | undefined
    let wait = minWaitMs

    async function settle(upTo: number): Promise<void> {
      const now = new Set((await database.query({ text: holders })).map(([holder]) => holder as string))
      const still = suspects === undefined ? now : new Set([...suspects.holders].filter((holder) => now.has(holder)))
      if (still.size > 0) {
        suspects ??= { upTo, holders: now }
        return
      }
      final = Math.max(final, suspects?.upTo ?? upTo)
      suspects = undefined
    }

    /** Where all up to is certain; undefined when there is a gap to be settled first. */
    async function safeEnd(): Promise<{ end: number; gap: boolean }> {
      const rows = await database.query({ text: page, values: [position], name: `convoke ${schema} page` })
      let end = position
      for (const [value] of rows) {
        const at = Number(value)
        if (at > final && at !== Math.max(end, final) + 1) {
          await settle(Number(rows.at(-1)?.[0]))
          return { end, gap: true }
        }
        end = at
      }
      return { end, gap: false }
    }

    async function fetch(end: number): Promise<void> {
      const rows = await database.query({
        text: between,
        values: [position, end, toText(tenant)],
        name: `convoke ${schema} between`,
      })
      const records = await reads.decode(
        rows,
        (row) => ({ tenant, stream: fromText(row[14] as string) }),
        (row) => (row[1] === '1' ? emptyHash : hexOf(row[13]).slice(0, 64)),
      )
      ready = records.map((record, at) => ({ position: Number(rows[at]?.[0]), record })).reverse()
      position = end
    }

    async function begin(): Promise<void> {
      const [row] = await database.query({
        text: `SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM ${schema}.positions`,
      })
      position = Number(row?.[0])
    }

    async function pull(): Promise<void> {
      if (position < 0 && !done && !ended) {
        const mine = begin()
        const all = Promise.all([begun, mine.catch(() => undefined)]).then(() => undefined)
        begun = all
        await mine
        if (begun === all) begun = undefined
      }
      while (ready.length === 0 && !done && !ended) {
        // Armed before looking, so that what comes in meanwhile is not missed.
        const { promise: news, resolve } = Promise.withResolvers<void>()
        wake = resolve
        asleep.add(resolve)
        try {
          const { end, gap } = await safeEnd()
          if (end > position) {
            await fetch(end)
            wait = minWaitMs
          } else await rest(news, resolve, gap && suspects !== undefined ? 5 : gap ? 0 : wait)
        } finally {
          asleep.delete(resolve)
        }
      }
    }

    /** Other processes' plain records are told by nobody: we look ourselves, ever more seldom while nothing comes. */
    async function rest(news: Promise<void>, resolve: () => void, ms: number): Promise<void> {
      if (ms === 0) return
      const timer = setTimeout(resolve, ms)
      await news
      clearTimeout(timer)
      if (ms === wait) wait = Math.min(maxWaitMs, wait * 1.5)
    }

    async function step(): Promise<IteratorResult<Followed, undefined>> {
      try {
        await pull()
      } catch (error) {
        done = true
        if (!database.closed && !ended) throw error
      }
      const value = done || ended ? undefined : ready.pop()
      if (value !== undefined) return { done: false, value }
      done = true
      return { done: true, value: undefined }
    }

    // Calls to `next` are served in their order, whether or not the caller awaits each.
    let turn: Promise<unknown> | undefined
    return {
      next() {
        const mine = turn === undefined ? step() : turn.then(step)
        turn = mine.catch(() => undefined)
        return mine
      },
      return() {
        done = true
        wake?.()
        return Promise.resolve({ done: true, value: undefined })
      },
    }
  }

  return {
    watch: (tenant, after = 0) => {
      checkTenant(tenant)
      return { [Symbol.asyncIterator]: () => follow(tenant, after) }
    },
    get begun() {
      return begun
    },
    grown() {
      // A look for each commit would cost more than the commits.
      if (asleep.size > 0) timer ??= setTimeout(wakeAll, gatherMs)
    },
    close() {
      ended = true
      wakeAll()
    },
  }
}
