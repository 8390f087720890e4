import type pg from 'pg'
import { PgBoss } from 'pg-boss'
import type { Clock, Dispatcher, Ledger } from 'convoke/adapter'
import { partsOf } from '../address.ts'
import type { Where } from '../ledger/errors.ts'
import { targetOf } from '../ledger/open.ts'
import { openStatements } from './connection.ts'
import { postgresDispatcher } from './dispatcher.ts'
import { openRunQueue, queueSchemaOf } from './queue.ts'

/** What an app tells an engine that is found by its address. */
export interface PostgresEngineOptions {
  readonly ledger: Ledger
  readonly clock: Clock
  /** Runs driven at once in this process. */
  readonly concurrency?: number
  /** Told of what goes wrong outside any run. */
  readonly onTrouble?: (error: Error) => void
}

/** One thing that was looked at, as `convoke doctor` shows it. */
export interface EngineFinding {
  readonly name: string
  readonly state: 'ok' | 'warn' | 'bad'
  readonly says: string
  readonly code?: string
  /** What to do about it. */
  readonly next?: string
}

/**
 * The dispatcher on the Postgres at `address`, by rule the one that keeps the ledger; its parameters `schema` and
 * `sessionUrl` mean what they mean there. Nothing is opened before the
 * dispatcher starts.
 * @throws STORE_UNUSABLE when the address cannot be read; `start` throws ENGINE_UNREACHABLE
 */
export function openEngine(address: string, options: PostgresEngineOptions): Promise<Dispatcher> {
  const { ledger, clock, concurrency, onTrouble } = options
  const { config, where } = direct(address)
  return Promise.resolve(
    postgresDispatcher({
      ledger,
      clock,
      config,
      schema: where.schema,
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(onTrouble === undefined ? {} : { onTrouble }),
    }),
  )
}

/**
 * Makes or upgrades the queue's tables, so that workers need no right to. They do it themselves where they may.
 * @throws ENGINE_UNREACHABLE
 */
export async function migrateQueue(address: string): Promise<void> {
  const { config, where } = direct(address)
  const nothing = (): void => undefined
  const queue = await openRunQueue({ config, schema: where.schema, onBell: nothing, onTrouble: nothing })
  await queue.close()
}

/** The queue needs sessions (it listens), so it goes past a pooler. */
function direct(address: string): { readonly config: pg.ClientConfig; readonly where: Where } {
  const { url, schema, sessionUrl } = partsOf(address)
  return targetOf(sessionUrl ?? url, schema)
}

/** Looks at the queue and changes nothing. Never rejects. */
export async function inspectEngine(address: string): Promise<readonly EngineFinding[]> {
  try {
    const { config, where } = direct(address)
    const schema = queueSchemaOf(where.schema)
    const statements = openStatements({ ...config, application_name: 'convoke doctor' }, 1)
    try {
      const boss = new PgBoss({ db: statements, schema, migrate: false, supervise: false, schedule: false })
      boss.on('error', () => undefined)
      const version = (await boss.isInstalled()) ? await boss.schemaVersion() : undefined
      if (version === undefined || version === null)
        return [{ name: 'queue', state: 'ok', says: 'the queue is not there yet; the first worker makes it' }]
      const { rows } = await statements.executeSql(
        `SELECT count(*)::int AS jobs, coalesce(extract(epoch FROM now() - min(created_on)), 0)::int AS age
          FROM ${schema}.job WHERE state = 'created'`,
      )
      const { jobs, age } = rows[0] as { jobs: number; age: number }
      const says = `${jobs} runs wait for a place (queue version ${version})`
      if (age < 60) return [{ name: 'queue', state: 'ok', says }]
      const next = 'start more workers, or see whether any runs'
      return [{ name: 'queue', state: 'warn', says: `${says}, the oldest for ${age} s`, next }]
    } finally {
      await statements.close()
    }
  } catch (error) {
    const says = `the queue cannot be looked at: ${(error as Error).message}`
    return [{ name: 'queue', state: 'bad', code: 'ENGINE_UNREACHABLE', says, next: 'check the URL and its user' }]
  }
}
