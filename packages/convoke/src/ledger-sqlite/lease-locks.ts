import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

// Owns the operating system's locks on the files of workers: each is held by a connection that stays open. Invariants:
// one connection a file; a lock is let go of before its file is removed. Only SQLite ever opens these files, since closing
// any other descriptor of one would drop the lock that this process holds on it (POSIX).

export interface Locks {
  /** @throws when somebody holds it, here or elsewhere */
  take(worker: string): void
  has(worker: string): boolean
  /** Lets go of the lock, then removes the file. */
  free(worker: string): void
  /** Lets go of all that are left; the files stay. */
  close(): void
}

export function lockFileOf(dir: string, worker: string): string {
  return join(dir, 'workers', `${encodeURIComponent(worker)}.lock`)
}

export function createLocks(dir: string): Locks {
  const held = new Map<string, DatabaseSync>()
  return {
    take(worker) {
      const lock = new DatabaseSync(lockFileOf(dir, worker), { timeout: 0 })
      try {
        // The lock is all we want; a journal would be one more file to be left behind.
        lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
      } catch (error) {
        lock.close()
        throw error
      }
      held.set(worker, lock)
    },
    has: (worker) => held.has(worker),
    free(worker) {
      held.get(worker)?.close()
      held.delete(worker)
      rmSync(lockFileOf(dir, worker), { force: true })
    },
    close() {
      for (const lock of held.values()) lock.close()
      held.clear()
    },
  }
}
