import { isConvokeError } from 'convoke'
import type { Finding, Ledger, Migrated, MigrateOptions, StoreOptions } from 'convoke'
import { checkVersion, reach } from './ledger/check.ts'
import { createDatabase, end, type Client } from './ledger/database.ts'
import { fromPostgres, type Where } from './ledger/errors.ts'
import { checkNewer, migrate, pending, stateOf } from './ledger/migrate.ts'
import { openPostgresLedger } from './ledger/open.ts'
import { outdatedRows, rebuildProjections } from './ledger/rebuild.ts'
import { partsOf, targetOfAddress } from './address.ts'
import { migrateQueue } from './dispatch/engine.ts'

// What an address of this kind leads to: `store: 'postgres://…'`, `convoke migrate`, `convoke doctor`.

type Query = (text: string, values?: readonly unknown[]) => Promise<readonly (readonly (string | null)[])[]>

/**
 * Opens the ledger that a URL names. Of its parameters, `schema` and `sessionUrl` (see `PostgresLedgerOptions`) are ours.
 * @throws as `openPostgresLedger`
 */
export async function openStore(address: string, options: StoreOptions): Promise<Ledger> {
  const { url, schema, sessionUrl } = partsOf(address)
  return await openPostgresLedger({
    url,
    clock: options.clock,
    ids: options.ids,
    ...(schema === undefined ? {} : { schema }),
    ...(sessionUrl === undefined ? {} : { sessionUrl }),
    ...(options.probe === undefined ? {} : { probe: options.probe }),
    ...(options.leaseMs === undefined ? {} : { leaseMs: options.leaseMs }),
    ...(options.migrate === undefined ? {} : { migrate: options.migrate }),
  })
}

/** Brings the store's schema to this build's. @throws STORE_NEWER, STORE_UNUSABLE, STORE_DENIED, STORE_UNREACHABLE */
export async function migrateStore(address: string, options: MigrateOptions): Promise<Migrated> {
  const migrated = await looking(address, async (query, schema, where) => {
    const state = await stateOf(query, schema, where)
    checkNewer(state, where)
    const steps = options.dryRun === true ? pending(state) : await migrate(query, schema, where)
    return {
      from: state.format,
      to: steps.at(-1)?.number ?? state.format,
      applied: steps.map(({ number, what }) => `${number} ${what}`),
      // The lists of a new store are of this version from the start.
      older:
        state.format === 0 ? 0 : options.dryRun === true && steps.length > 0 ? 0 : await outdatedRows(query, schema),
    }
  })
  const { older, ...done } = migrated
  const rebuilds = options.dryRun !== true && (options.rebuild === true || older > 0)
  const rebuilt = rebuilds ? (await rebuildAt(address, options.rebuild === true)).runs : 0
  // Workers may not be allowed to make the tables of their queue.
  if (options.dryRun !== true) await migrateQueue(address)
  return { ...done, ...(rebuilt > 0 || older > 0 ? { rebuilt: rebuilds ? rebuilt : older } : {}) }
}

async function rebuildAt(address: string, all: boolean): Promise<{ readonly runs: number }> {
  const { config, where } = targetOfAddress(address)
  const database = createDatabase({ config, where, max: 3, busyMs: 30_000, stallMs: 60_000, prepare: false })
  try {
    return await rebuildProjections(database, `"${where.schema}"`, { all })
  } finally {
    await database.close()
  }
}

/** Looks at server, schema, clock and settings, and changes nothing. Never rejects. */
export async function inspectStore(address: string): Promise<readonly Finding[]> {
  try {
    return await looking(address, async (query, schema, where) => {
      const findings: Finding[] = [await server(query, where), await clockSkew(query)]
      findings.push(await schemaState(query, schema, where), ...(await settings(query)), await connections(query))
      return findings
    })
  } catch (error) {
    return [refused('store', error)]
  }
}

async function looking<T>(
  address: string,
  look: (query: Query, schema: string, where: Where) => Promise<T>,
): Promise<T> {
  const { config, where } = targetOfAddress(address)
  const client: Client = await reach(config, where, 2_000)
  const query: Query = async (text, values = []) => {
    try {
      const result = await client.query({ text, values: values as unknown[], rowMode: 'array' })
      return result.rows as unknown as (string | null)[][]
    } catch (error) {
      throw fromPostgres(error, where)
    }
  }
  try {
    return await look(query, `"${where.schema}"`, where)
  } finally {
    await end(client)
  }
}

async function server(query: Query, where: Where): Promise<Finding> {
  const [row] = await query(
    "SELECT current_setting('server_version_num'), current_setting('server_version'), pg_is_in_recovery()",
  )
  const [number, version, replica] = row ?? []
  const says = `Postgres ${String(version)} at ${where.host}:${where.port}, database ${where.database}`
  try {
    checkVersion(Number(number), String(version), where)
  } catch (error) {
    return refused('store', error)
  }
  if (replica !== 't') return { name: 'store', state: 'ok', says }
  const next = 'give the URL of the primary'
  return { name: 'store', state: 'bad', code: 'STORE_READ_ONLY', says: `${says}: a replica`, next }
}

/** Leases go by the database's clock alone; what people read (times, due timers) goes by the workers' own. */
async function clockSkew(query: Query): Promise<Finding> {
  const before = Date.now()
  const [row] = await query('SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint')
  const after = Date.now()
  const skew = Math.round(Number(row?.[0]) - (before + after) / 2)
  const says = `${Math.abs(skew)} ms ${skew < 0 ? 'behind' : 'ahead of'} this machine, answered in ${after - before} ms`
  if (Math.abs(skew) - (after - before) < 1_000) return { name: 'clock', state: 'ok', says }
  return { name: 'clock', state: 'warn', says, next: 'let both keep time (NTP): timers fire by the workers’ clocks' }
}

async function schemaState(query: Query, schema: string, where: Where): Promise<Finding> {
  try {
    const state = await stateOf(query, schema, where)
    checkNewer(state, where)
    const steps = pending(state)
    const says = `schema ${where.schema}, format ${state.format}`
    if (steps.length === 0) {
      const older = await outdatedRows(query, schema)
      if (older === 0) return { name: 'schema', state: 'ok', says }
      const next = 'convoke migrate, once the last worker of the version before has gone'
      return { name: 'schema', state: 'warn', says: `${says}; an older build wrote the rows of ${older} runs`, next }
    }
    if (state.format === 0)
      return {
        name: 'schema',
        state: 'ok',
        code: 'STORE_OUTDATED',
        says: `no store in schema ${where.schema} yet; a first run or convoke migrate makes it`,
      }
    const missing = `${says}: ${steps.length} steps missing`
    return { name: 'schema', state: 'warn', code: 'STORE_OUTDATED', says: missing, next: 'convoke migrate' }
  } catch (error) {
    return refused('schema', error)
  }
}

async function settings(query: Query): Promise<Finding[]> {
  const [row] = await query(
    `SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),
      current_setting('synchronous_standby_names'), current_setting('archive_mode')`,
  )
  const [fsync, commit, pages, standbys, archive] = row ?? []
  const weak = [
    ...(fsync === 'on' ? [] : [`fsync is ${String(fsync)}`]),
    ...(commit === 'off' ? ['synchronous_commit is off'] : []),
    ...(pages === 'on' ? [] : [`full_page_writes is ${String(pages)}`]),
  ]
  const sync: Finding =
    weak.length === 0
      ? {
          name: 'sync',
          state: 'ok',
          says: `what was acknowledged survives power loss${standbys === '' ? '' : `, and stands on ${String(standbys)}`}`,
        }
      : {
          name: 'sync',
          state: 'warn',
          says: `${weak.join(', ')}: power loss may take the last commits or more`,
          next: 'set fsync, full_page_writes and synchronous_commit to on',
        }
  const archived: Finding = {
    name: 'archive',
    state: archive === 'off' ? 'warn' : 'ok',
    says: archive === 'off' ? 'the log is not archived: no restore to a point in time' : 'the log is archived',
    ...(archive === 'off' ? { next: 'see “Back-up and restore” in docs/deploy.md' } : {}),
  }
  return [sync, archived]
}

async function connections(query: Query): Promise<Finding> {
  const [row] = await query(
    "SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity WHERE backend_type = 'client backend'",
  )
  const [used = 0, most = 0] = (row ?? []).map(Number)
  const says = `${used} of ${most} connections in use`
  if (used < most * 0.8) return { name: 'connections', state: 'ok', says }
  return { name: 'connections', state: 'warn', says, next: 'raise max_connections, or run fewer workers a database' }
}

function refused(name: string, error: unknown): Finding {
  if (!isConvokeError(error)) return { name, state: 'bad', says: String(error) }
  return {
    name,
    state: 'bad',
    code: error.code,
    says: error.message,
    ...(error.next === undefined ? {} : { next: error.next }),
  }
}
