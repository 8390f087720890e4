import { statSync, utimesSync, watch, type FSWatcher } from 'node:fs'
import { join } from 'node:path'

// Three empty files by which the processes of one folder tell each other something; touching one is the message.
// `wake`: something was committed that concerns others. `tail`: records were committed (for those who follow them).
// `turn`: somebody waits for the write lock. They are touched after the commit (events on the WAL itself come before
// it can be read) and are hints only: whoever watches also polls slowly.

export interface Signals {
  committed(told: boolean): void
  /** Calls back when another process touched a file, and now and then without. */
  listen(interest: { readonly changes: boolean; readonly records: boolean }, heard: () => void): void
  /** Says that we wait for the write lock. */
  ask(): void
  /** Whether somebody has asked since the last time. */
  asked(): boolean
  close(): void
}

const pollMs = 1_000
/** Followers of records see them this late at most; a touch a commit would cost more than the commit's own work. */
const tailMs = 20

/** With `polls`, listening is a look every so many milliseconds, and no file is watched. No timer keeps a process alive. */
export function createSignals(dir: string, polls?: number): Signals {
  const paths = { wake: join(dir, 'wake'), tail: join(dir, 'tail'), turn: join(dir, 'turn') }
  let watchers: FSWatcher[] = []
  let poll: NodeJS.Timeout | undefined
  let tail: NodeJS.Timeout | undefined
  let turn = stamp(paths.turn)

  function touch(path: string): void {
    try {
      const now = Date.now() / 1000
      utimesSync(path, now, now)
    } catch {
      // A hint that cannot be given: the others poll.
    }
  }

  function unlisten(): void {
    for (const watcher of watchers) watcher.close()
    watchers = []
    clearInterval(poll)
  }

  return {
    committed(told) {
      if (told) touch(paths.wake)
      tail ??= setTimeout(() => {
        tail = undefined
        touch(paths.tail)
      }, tailMs).unref()
    },
    listen(interest, heard) {
      unlisten()
      if (!interest.changes && !interest.records) return
      poll = setInterval(heard, polls ?? pollMs).unref()
      if (polls !== undefined) return
      for (const path of interest.records ? [paths.wake, paths.tail] : [paths.wake]) {
        try {
          const watcher = watch(path, heard)
          watcher.on('error', () => watcher.close())
          watchers.push(watcher)
        } catch {
          // No watches left on this system: polling has to do.
        }
      }
    },
    ask() {
      touch(paths.turn)
      turn = stamp(paths.turn)
    },
    asked() {
      const now = stamp(paths.turn)
      if (now === turn) return false
      turn = now
      return true
    },
    close() {
      unlisten()
      if (tail !== undefined) {
        clearTimeout(tail)
        touch(paths.tail)
      }
    },
  }
}

function stamp(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
