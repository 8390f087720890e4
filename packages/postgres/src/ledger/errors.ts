import { ConvokeError, isConvokeError, runArchived } from 'convoke/adapter'
import { fromText } from './text.ts'

// Says in our codes what Postgres, or the way to it, refused (https://www.postgresql.org/docs/current/errcodes-appendix.html).

export function sqlState(error: unknown): string | undefined {
  const { code, severity } = error as { code?: unknown; severity?: unknown }
  return typeof severity === 'string' && typeof code === 'string' ? code : undefined
}

/** The connection is gone, or the server is about to be: what was under way has an unknown outcome, or none yet. */
export function isLost(error: unknown): boolean {
  if (isConvokeError(error)) return false
  const state = sqlState(error)
  if (state === undefined) return true
  // 57P05 ends idle sessions; 53300: no connection is free.
  return state.startsWith('08') || ['57P01', '57P02', '57P03', '57P05', '53300'].includes(state)
}

/** Nothing was done, and the same may be tried at once: a deadlock, a snapshot that was too old. */
export function isRetryable(error: unknown): boolean {
  const state = sqlState(error)
  return state === '40P01' || state === '40001'
}

/** A stream's id is not of this database; raised by `append_1`. */
export function isForeign(error: unknown): boolean {
  return sqlState(error) === 'CV001'
}

/** The server is up and about to take connections. */
export function isStarting(error: unknown): boolean {
  return sqlState(error) === '57P03'
}

export interface Where {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  readonly schema: string
}

export function fromPostgres(error: unknown, where: Where): ConvokeError {
  if (isConvokeError(error)) return error
  const state = sqlState(error)
  const message = messageOf(error)
  if (state === 'CV003') return runArchived(fromText(message))
  if (state === '23514' && (error as { constraint?: unknown }).constraint === 'streams_archived')
    return runArchived(archivedStream(error))
  const { host, port, database, user, schema } = where
  const details = { host, port, database, schema, sqlstate: state ?? null, message }
  const make = (code: Parameters<typeof coded>[0], says: string, next: string): ConvokeError =>
    coded(code, `${says}: ${message}`, { details, next, cause: error })
  switch (state) {
    case undefined:
    case '57P01':
    case '57P02':
    case '57P03':
    case '53300':
      return make(
        'STORE_UNREACHABLE',
        `Postgres at ${host}:${port} does not answer`,
        'check host and port of the URL, and that the server runs and has connections left',
      )
    case '28000':
    case '28P01':
      return make(
        'STORE_DENIED',
        `Postgres at ${host}:${port} does not let ${user} in`,
        'check user and password of the URL, and pg_hba.conf',
      )
    case '42501':
      return make(
        'STORE_DENIED',
        `${user} may not do this in ${database}`,
        `grant the role usage of schema ${schema}, or let its owner run the migrations`,
      )
    case '3D000':
      return make(
        'STORE_UNUSABLE',
        `there is no database ${database} at ${host}:${port}`,
        'create it, or name another in the URL',
      )
    case '25006':
      return make('STORE_READ_ONLY', `${host}:${port} takes no writes`, 'give the URL of the primary, not of a replica')
    case '53100':
      return make(
        'LEDGER_FULL',
        `the disk of ${host} is full`,
        'free some space; nothing was half-written, and the next append works again',
      )
    case '55P03':
    case '57014':
      return make(
        'LEDGER_BUSY',
        `${database} was locked for too long`,
        'look into pg_locks for who holds it, then try again',
      )
    case '54000':
      return make('INPUT_INVALID', 'a name or key is too long for an index', 'keep names and keys below 2,000 bytes')
    case 'XX001':
    case 'XX002':
      return make('LEDGER_CORRUPT', `${database} is damaged`, 'restore the database from a backup')
    case '3F000':
    case '42P01':
    case '42883':
      return make(
        'STORE_UNUSABLE',
        `${schema} in ${database} is no longer a store`,
        'see who dropped it; restore it from a backup',
      )
    default:
      if (state.startsWith('08'))
        return make('STORE_UNREACHABLE', `the connection to ${host}:${port} broke`, 'the same call may be made again')
      return make(
        'LEDGER_IO',
        `${database} failed`,
        'the outcome of a write is unknown; the same append may be made again',
      )
  }
}

/** `Failing row contains (id, tenant, name, …)`: names of streams have no comma and space before their kind. */
function archivedStream(error: unknown): string {
  const { detail } = error as { detail?: unknown }
  const found = typeof detail === 'string' ? /, ((?:run|inbox)\/.+?), \d+, \d+, /s.exec(detail)?.[1] : undefined
  return fromText(found ?? 'the stream')
}

function coded(...args: ConstructorParameters<typeof ConvokeError>): ConvokeError {
  return new ConvokeError(...args)
}

function messageOf(error: unknown): string {
  // Node tries every address of a name, and gathers what each answered.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ')
  return error instanceof Error ? error.message : String(error)
}

export function closedError(): ConvokeError {
  return new ConvokeError('LEDGER_CLOSED', 'the ledger is closed', { next: 'open it again' })
}
