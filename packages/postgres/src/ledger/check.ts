import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { ConvokeError } from 'convoke/adapter'
import { connect, end, type Client, type Row } from './database.ts'
import { fromPostgres, isStarting, type Where } from './errors.ts'
import { checkNewer, migrate, pending, stateOf } from './migrate.ts'

// What must hold before a ledger is opened on a server. Everything that is wrong is said here, with a code of its own.

export const oldestServer = 15

export interface Found {
  /** The connection is shared with others between transactions, or may be. */
  readonly pooled: boolean
}

export async function checkServer(options: {
  readonly config: pg.ClientConfig
  readonly where: Where
  readonly schema: string
  readonly migrate: boolean
  readonly busyMs: number
  /** There is another way for what needs a session. */
  readonly direct: boolean
}): Promise<Found> {
  const { config, where, schema } = options
  const client = await reach(config, where, options.busyMs)
  const query = async (text: string, values: readonly unknown[] = []): Promise<readonly Row[]> => {
    try {
      const result = await client.query({ text, values: values as unknown[], rowMode: 'array' })
      return result.rows as unknown as Row[]
    } catch (error) {
      throw fromPostgres(error, where)
    }
  }
  try {
    const [row] = await query(
      `SELECT current_setting('server_version_num'), pg_is_in_recovery(), current_setting('server_encoding'),
        pg_backend_pid(), current_setting('server_version'), current_setting('transaction_read_only')`,
    )
    const [version, replica, encoding, backend, versionText, readOnly] = row ?? []
    checkVersion(Number(version), String(versionText), where)
    if (replica === 't' || readOnly === 'on') throw readOnlyError(where, replica === 't')
    if (encoding !== 'UTF8')
      throw new ConvokeError(
        'STORE_UNUSABLE',
        `database ${where.database} is encoded in ${String(encoding)}, not in UTF-8`,
        {
          details: { database: where.database, encoding: String(encoding) },
          next: "create the database with ENCODING 'UTF8'",
        },
      )
    // A pooler hands out process ids of its own (a server's is the one that the server itself tells).
    const pooled = Number(backend) !== client.processID
    if (pooled && !options.direct) throw pooledError(where)
    const state = await stateOf(query, schema, where)
    checkNewer(state, where)
    const steps = pending(state)
    if (steps.length > 0) {
      if (!options.migrate)
        throw new ConvokeError(
          'STORE_OUTDATED',
          `the store in schema ${where.schema} of ${where.database} has format ${state.format}, this build needs ${steps.at(-1)?.number ?? 0}`,
          {
            details: { schema: where.schema, database: where.database, found: state.format, missing: steps.length },
            next: 'run `convoke migrate` with a role that may change the schema',
          },
        )
      await migrate(query, schema, where)
    }
    return { pooled }
  } finally {
    await end(client)
  }
}

/** A server that is starting says so, and is worth waiting for. */
export async function reach(config: pg.ClientConfig, where: Where, busyMs: number): Promise<Client> {
  const start = performance.now()
  for (;;) {
    try {
      return await connect(config)
    } catch (error) {
      if (!isStarting(error) || performance.now() - start > busyMs) throw fromPostgres(error, where)
      await sleep(100)
    }
  }
}

export function checkVersion(number: number, text: string, where: Where): void {
  if (number >= oldestServer * 10_000) return
  throw new ConvokeError('POSTGRES_TOO_OLD', `Postgres ${text} at ${where.host}:${where.port} is too old`, {
    details: { host: where.host, port: where.port, found: text, needed: oldestServer },
    next: `upgrade the server to Postgres ${oldestServer} or later`,
  })
}

function readOnlyError(where: Where, replica: boolean): ConvokeError {
  return new ConvokeError(
    'STORE_READ_ONLY',
    `${where.host}:${where.port} takes no writes: it is ${replica ? 'a replica' : 'set to read-only transactions'}`,
    {
      details: { host: where.host, port: where.port, replica },
      next: replica
        ? 'give the URL of the primary'
        : 'look into default_transaction_read_only of the role and the database',
    },
  )
}

export function pooledError(where: Where): ConvokeError {
  return new ConvokeError(
    'STORE_POOLED',
    `${where.host}:${where.port} is a connection pooler, which does not keep a session`,
    {
      details: { host: where.host, port: where.port },
      next: 'give a direct URL, or add `sessionUrl` with one for the single connection that needs a session',
    },
  )
}
