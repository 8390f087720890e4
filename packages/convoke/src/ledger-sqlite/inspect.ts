import { constants, accessSync, existsSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fromSqlite } from './errors.ts'
import { isLocked } from './leases.ts'
import { storeFormat } from './schema.ts'

export interface StoreWorker {
  readonly id: string
  readonly host: string
  readonly pid: number
  /** Milliseconds since the epoch at which it registered. */
  readonly since: number
  /** Undefined for a worker of another host: only its lease tells. */
  readonly alive: boolean | undefined
}

export interface StoreFacts {
  readonly dir: string
  /** Undefined when there is no store in the folder. */
  readonly format: number | undefined
  readonly known: number
  readonly writable: boolean
  readonly bytes: number
  readonly workers: readonly StoreWorker[]
}

/**
 * What can be said of a store without opening it for work: nothing is written.
 * @throws STORE_UNUSABLE, LEDGER_CORRUPT, LEDGER_IO
 */
export function inspectStore(dir: string): StoreFacts {
  const file = join(dir, 'ledger.db')
  const known = storeFormat
  if (!existsSync(file))
    return { dir, format: undefined, known, writable: mayWrite(nearest(dir)), bytes: 0, workers: [] }
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(file, { readOnly: true, timeout: 2_000 })
    const meta = db.prepare(`SELECT value FROM meta WHERE key = 'format'`).get() as { value: number } | undefined
    const rows = db.prepare('SELECT id, host, pid, since FROM workers ORDER BY since, id').all()
    const workers = (rows as unknown as Omit<StoreWorker, 'alive'>[]).map((row) => ({
      ...row,
      alive: row.host === hostname() ? isLocked(join(dir, 'workers', `${encodeURIComponent(row.id)}.lock`)) : undefined,
    }))
    return {
      dir,
      format: meta?.value,
      known,
      writable: mayWrite(dir) && mayWrite(file),
      bytes: sizeOf(file) + sizeOf(`${file}-wal`),
      workers,
    }
  } catch (error) {
    throw fromSqlite(error, dir)
  } finally {
    db?.close()
  }
}

/** The folder that would have to be written to make this one. */
function nearest(dir: string): string {
  for (let at = dir, i = 0; i < 100; i++) {
    if (existsSync(at)) return at
    const up = join(at, '..')
    if (up === at) return at
    at = up
  }
  return dir
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size
  } catch {
    return 0
  }
}
