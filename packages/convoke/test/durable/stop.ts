import type { ChildProcess } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'

// Stopping (SIGSTOP) a process that works on a store: one that stops inside a transaction holds everybody up, which is a
// case of its own.

/** State of a process as Linux tells it; T is stopped. */
export function stateOf(pid: number): string {
  const path = `/proc/${pid}/stat`
  return existsSync(path) ? (readFileSync(path, 'utf8').split(') ')[1]?.[0] ?? '') : ''
}

/** Whether nobody holds the write lock of the store. */
export function isFree(dir: string): boolean {
  const db = new DatabaseSync(join(dir, 'ledger.db'), { timeout: 0 })
  try {
    db.exec('BEGIN IMMEDIATE; ROLLBACK')
    return true
  } catch {
    return false
  } finally {
    db.close()
  }
}

/** At any time but inside a transaction. Nobody else may be writing. */
export async function stop(child: ChildProcess, dir: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    child.kill('SIGSTOP')
    for (let looks = 0; process.platform === 'linux' && stateOf(child.pid as number) !== 'T'; looks++) {
      if (looks > 1_000) throw new Error('the process did not stop')
      await pause(5)
    }
    if (isFree(dir)) return
    child.kill('SIGCONT')
    await pause(7)
  }
  throw new Error('the store was never free')
}
