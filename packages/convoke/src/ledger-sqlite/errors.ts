import { statfsSync } from 'node:fs'
import { ConvokeError } from '../core/errors.ts'

/** SQLite's primary result codes (https://sqlite.org/rescode.html) that we tell apart. */
const BUSY = 5
const LOCKED = 6
const READONLY = 8
const IOERR = 10
const CORRUPT = 11
const FULL = 13
const CANTOPEN = 14
const NOTADB = 26

export function sqliteCode(error: unknown): number | undefined {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown }
  return code === 'ERR_SQLITE_ERROR' && typeof errcode === 'number' ? errcode & 0xff : undefined
}

export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error)
  return code === BUSY || code === LOCKED
}

/** `waited`: milliseconds, where somebody has waited. */
export function busy(dir: string, waited?: number): ConvokeError {
  const since = waited === undefined ? '' : ` for ${waited} ms`
  return new ConvokeError('LEDGER_BUSY', `another process has held the write lock of ${dir}${since}`, {
    details: { dir, ...(waited === undefined ? {} : { waited }) },
    next: 'look for a process that is stopped in the middle of a write to this store, then try again',
  })
}

/** Says in our codes what SQLite, or the file system under it, refused. */
export function fromSqlite(error: unknown, dir: string): ConvokeError {
  if (error instanceof ConvokeError) return error
  const code = sqliteCode(error)
  const message = error instanceof Error ? error.message : String(error)
  const details = { dir, sqlite: code ?? null, message }
  if (code === FULL || (code === IOERR && isFull(dir)))
    return new ConvokeError('LEDGER_FULL', `no space left for ${dir}: ${message}`, {
      details,
      next: 'free some space on that disk; nothing was half-written, and the next append works again',
      cause: error,
    })
  if (code === BUSY || code === LOCKED) return busy(dir)
  if (code === CORRUPT || code === NOTADB || isNonsense(error))
    return new ConvokeError('LEDGER_CORRUPT', `${dir}/ledger.db is damaged: ${message}`, {
      details,
      next: 'keep a copy of the folder, then restore it from a backup',
      cause: error,
    })
  if (code === READONLY || code === CANTOPEN)
    return new ConvokeError('STORE_UNUSABLE', `${dir} cannot be written: ${message}`, {
      details,
      next: 'check that the folder exists and that this user may write to it',
      cause: error,
    })
  return new ConvokeError('LEDGER_IO', `the store in ${dir} failed: ${message}`, {
    details,
    next: 'the outcome of a write is unknown; the same append may be made again',
    cause: error,
  })
}

/** A column holds what was never written there: a number beyond the safe ones, a text that is no JSON. */
function isNonsense(error: unknown): boolean {
  return error instanceof SyntaxError || (error as { code?: unknown }).code === 'ERR_OUT_OF_RANGE'
}

function isFull(dir: string): boolean {
  try {
    return statfsSync(dir).bavail === 0
  } catch {
    return false
  }
}

interface Place {
  readonly tenant: string
  readonly name: string
}

const proofNext = 'compare with `convoke audit verify`, then restore the store from a backup'

/** A record that is not what was written. */
export function corrupt({ tenant, name }: Place, seq: number, why: string): ConvokeError {
  return new ConvokeError('LEDGER_CORRUPT', `${name}@${seq}: ${why}`, {
    details: { tenant, stream: name, seq, fault: why },
    next: proofNext,
  })
}

/** `found` stands where record `seq` should. */
export function missing({ tenant, name }: Place, seq: number, found: number): ConvokeError {
  return new ConvokeError('LEDGER_CORRUPT', `${name}@${seq} is missing`, {
    details: { tenant, stream: name, seq, fault: `seq ${found} follows ${seq - 1}` },
    next: proofNext,
  })
}

export function unsupported({ tenant, name }: Place, seq: number, version: number): ConvokeError {
  return new ConvokeError('RECORD_UNSUPPORTED', `${name}@${seq} has version ${version}, known is 1`, {
    details: { tenant, stream: name, seq, version },
    next: 'update Convoke',
  })
}
