import { ConvokeError } from 'convoke/adapter'
import type { Row } from './database.ts'
import type { Where } from './errors.ts'
import { migrations as known, type Migration } from './migrations.ts'

// Brings the schema to what this build knows. One advisory lock for a whole store, held by the transaction, so that of
// many workers that start at once one migrates and the others find it done.

const lockMs = 3_000

type Query = (text: string, values?: readonly unknown[]) => Promise<readonly Row[]>

export interface StoreState {
  /** The last step that was made; 0 when there is no store yet. */
  readonly format: number
  /** The least format a build must know to work with it. */
  readonly oldest: number
  readonly projections: number
}

/** @throws STORE_UNUSABLE when the schema holds something else */
export async function stateOf(query: Query, schema: string, where: Where): Promise<StoreState> {
  const [row] = await query(
    `SELECT to_regclass($1) IS NOT NULL, (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $2), has_schema_privilege(n.oid, 'USAGE') FROM (SELECT to_regnamespace($2)::oid AS oid) AS n`,
    [`${schema}.store`, where.schema],
  )
  if (row?.[0] !== 't') {
    if (Number(row?.[1] ?? 0) > 0) throw foreign(where)
    return { format: 0, oldest: 0, projections: 0 }
  }
  let rows: readonly Row[]
  try {
    rows = await query(`SELECT key, value FROM ${schema}.store`)
  } catch (error) {
    if (error instanceof ConvokeError && error.code === 'LEDGER_IO') throw foreign(where)
    throw error
  }
  const values = new Map(rows.map(([key, value]) => [key, Number(value)]))
  if (!values.has('format')) throw foreign(where)
  return {
    format: values.get('format') ?? 0,
    oldest: values.get('oldest') ?? 0,
    projections: values.get('projections') ?? 0,
  }
}

/** @throws STORE_NEWER */
export function checkNewer(state: StoreState, where: Where, list: readonly Migration[] = known): void {
  const mine = list.at(-1)?.number ?? 0
  if (state.oldest <= mine) return
  throw new ConvokeError(
    'STORE_NEWER',
    `the store in schema ${where.schema} of ${where.database} needs format ${state.oldest}, this build knows ${mine}`,
    {
      details: {
        schema: where.schema,
        database: where.database,
        found: state.format,
        oldest: state.oldest,
        known: mine,
      },
      next: 'update Convoke, or choose another store',
    },
  )
}

/** What is still to be made. */
export function pending(state: StoreState, list: readonly Migration[] = known): readonly Migration[] {
  return list.filter(({ number }) => number > state.format)
}

/**
 * Makes what is missing, all of it or nothing. In a transaction of its own; takes the store's lock.
 * @returns the steps that were made
 * @throws STORE_NEWER, STORE_UNUSABLE, STORE_DENIED
 */
export async function migrate(
  query: Query,
  schema: string,
  where: Where,
  list: readonly Migration[] = known,
): Promise<readonly Migration[]> {
  await query('BEGIN')
  try {
    await query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 2026))`, [`${schema} migrations`])
    const state = await stateOf(query, schema, where)
    checkNewer(state, where, list)
    const steps = pending(state, list)
    if (steps.length > 0 && state.format === 0) {
      await query(`CREATE SCHEMA IF NOT EXISTS ${schema}`)
      await query(`CREATE TABLE ${schema}.store(key text PRIMARY KEY, value text NOT NULL)`)
    }
    // A step waits for locks that workers hold for moments, and whoever comes after waits behind it: rather not for long.
    if (steps.length > 0) await query(`SET LOCAL lock_timeout = '${lockMs}ms'`)
    for (const { number, sql, breaks } of steps) {
      await query(sql.replaceAll('$S', schema))
      await set(query, schema, 'format', number)
      if (breaks || number === 1) await set(query, schema, 'oldest', number)
    }
    await query('COMMIT')
    return steps
  } catch (error) {
    await query('ROLLBACK').catch(() => undefined)
    throw error
  }
}

async function set(query: Query, schema: string, key: string, value: number): Promise<void> {
  await query(
    `INSERT INTO ${schema}.store(key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
    [key, String(value)],
  )
}

function foreign(where: Where): ConvokeError {
  return new ConvokeError(
    'STORE_UNUSABLE',
    `schema ${where.schema} of database ${where.database} holds something else, no store`,
    {
      details: { database: where.database, schema: where.schema },
      next: 'name another database in the URL, or another schema',
    },
  )
}
