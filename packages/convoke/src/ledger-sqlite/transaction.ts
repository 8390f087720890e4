import type { DatabaseSync } from 'node:sqlite'
import type { Told } from './protocol.ts'
import type { Memory } from './streams.ts'

// Owns what the transaction of one group has to know: whether something was written that no savepoint can undo, and
// what is to be done once it is committed. Invariant: effects on others (waking, telling, lease times) happen only
// after the commit.

/** Beyond so many it is told as of anything: then whoever listens has to look, each with a read. A group has about half. */
const manyTold = 2_000

export interface Transaction {
  /**
   * Runs in a savepoint; what it throws leaves nothing behind. SQLite copies each page that is changed in one, which
   * doubles the price of a small write.
   */
  nested<T>(act: () => T): T
  /** Runs without one; what it throws spoils the whole group, which is then tried in halves. */
  unsaved<T>(act: () => T): T
  /** Others may want to know of this commit: of what concerns this stream, or of anything. */
  tell(tenant?: string, stream?: string): void
  /** Records were added. */
  grow(): void
  after(act: () => void): void
  start(): void
  /** Something was half-written outside a savepoint. */
  spoiled(): boolean
  finish(): { readonly told: Told; readonly grown: boolean; readonly acts: readonly (() => void)[] }
}

export function createTransaction(db: DatabaseSync, memory: Memory): Transaction {
  const save = db.prepare('SAVEPOINT one')
  const release = db.prepare('RELEASE one')
  const undo = db.prepare('ROLLBACK TO one')
  let told: false | Map<string, readonly [string, string]> | true = false
  let grown = false
  let dirty = false
  let acts: (() => void)[] = []

  return {
    nested(act) {
      save.run()
      try {
        const value = act()
        release.run()
        return value
      } catch (error) {
        memory.forget()
        // A full disk may have ended the whole transaction already.
        if (db.isTransaction) {
          undo.run()
          release.run()
        }
        throw error
      }
    },
    unsaved(act) {
      dirty = true
      const value = act()
      dirty = false
      return value
    },
    tell(tenant, stream) {
      if (told === true) return
      told ||= new Map()
      if (tenant === undefined || stream === undefined || told.size >= manyTold) told = true
      else told.set(`${tenant}\n${stream}`, [tenant, stream])
    },
    grow() {
      grown = true
    },
    after(act) {
      acts.push(act)
    },
    start() {
      told = false
      grown = false
      dirty = false
      acts = []
    },
    spoiled: () => dirty || !db.isTransaction,
    finish: () => ({ told: typeof told === 'boolean' ? told : [...told.values()], grown, acts }),
  }
}
