import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { ConvokeError, type Clock, type Ids, type Ledger } from 'convoke/adapter'
import { createAppends } from './appends.ts'
import { createArchive } from './archive.ts'
import { createChanges } from './changes.ts'
import { checkServer } from './check.ts'
import { createDatabase } from './database.ts'
import { closedError, type Where } from './errors.ts'
import { createFollowers } from './follow.ts'
import { createLeases } from './leases.ts'
import { checkTenant } from './prepare.ts'
import { createQueries } from './queries.ts'
import { createReads, hexOf } from './reads.ts'
import { createSession } from './session.ts'
import { createShapes } from './shapes.ts'
import { toText } from './text.ts'
import { createTransfer } from './transfer.ts'

export interface PostgresLedgerOptions {
  /** `postgres://user:password@host:port/database`. */
  readonly url: string
  /**
   * The way to the server past a transaction-mode pooler, for the one connection that needs a session of its own
   * (notifications, the worker's lock). Without it, `url` must not lead through one.
   */
  readonly sessionUrl?: string
  /** Where the store's tables stand; `convoke` unless said. Lower-case letters, digits and `_`. */
  readonly schema?: string
  /** Whether missing steps of the schema are made when opening. True unless said. */
  readonly migrate?: boolean
  /** How long a worker that shows no life keeps its runs, in milliseconds; 10,000 unless said. */
  readonly leaseMs?: number
  /** How long a call is tried again while the server is away, in milliseconds; 30,000 unless said. */
  readonly busyMs?: number
  /** Milliseconds without an answer after which a connection counts as lost; 5,000 unless said. */
  readonly stallMs?: number
  /** Connections besides the session's; 6 unless said. */
  readonly connections?: number
  /** Groups of appends that are on their way at once; 2 unless said. */
  readonly lanes?: number
  /** Says when a worker registered, for people. Leases go by the database's clock. */
  readonly clock?: Clock
  readonly ids?: Ids
  /** Called at `commit.before` and `commit.after`. */
  readonly probe?: (point: string) => void
}

/**
 * The ledger on Postgres 15 or later: any number of processes on any number of machines.
 * @throws STORE_UNREACHABLE, STORE_DENIED, STORE_UNUSABLE, STORE_NEWER, STORE_OUTDATED, STORE_READ_ONLY, STORE_POOLED,
 *   POSTGRES_TOO_OLD
 */
export async function openPostgresLedger(given: string | PostgresLedgerOptions): Promise<Ledger> {
  const options = typeof given === 'string' ? { url: given } : given
  const { config, where } = targetOf(options.url, options.schema)
  const schema = `"${where.schema}"`
  const session = options.sessionUrl === undefined ? config : targetOf(options.sessionUrl, options.schema).config
  const found = await checkServer({
    config,
    where,
    schema,
    migrate: options.migrate ?? true,
    busyMs: options.busyMs ?? 30_000,
    direct: options.sessionUrl !== undefined,
  })
  const database = createDatabase({
    config,
    where,
    max: Math.max(2, options.connections ?? 6),
    busyMs: options.busyMs ?? 30_000,
    stallMs: options.stallMs ?? 5_000,
    prepare: !found.pooled,
  })
  return compose(options, { database, schema, where, session })
}

function compose(
  options: PostgresLedgerOptions,
  parts: {
    readonly database: ReturnType<typeof createDatabase>
    readonly schema: string
    readonly where: Where
    readonly session: pg.ClientConfig
  },
): Ledger {
  const { database, schema, where } = parts
  const { ids, clock } = options
  const salt = (): string => ids?.salt() ?? randomBytes(16).toString('hex')
  const channel = `"convoke ${where.schema}"`
  const shapes = createShapes(database, schema)
  const reads = createReads(database, schema, shapes)
  const queries = createQueries(database, schema)
  const followers = createFollowers(database, schema, reads)
  const session = createSession({
    config: parts.session,
    where,
    stallMs: options.stallMs ?? 5_000,
    channel,
    onUp: async (query) => {
      await leases.adopt(query)
      changes.catchUp()
    },
    onNotice: (payload) => changes.hear(payload),
  })
  const changes = createChanges({
    database,
    schema,
    channel: `convoke ${where.schema}`,
    grown: () => followers.grown(),
    onListen: () => void session.start().catch(() => undefined),
  })
  const leases = createLeases({
    database,
    session,
    schema,
    leaseMs: options.leaseMs ?? 10_000,
    now: () => clock?.now() ?? Date.now(),
    tell: () => changes.tell(),
  })
  const appends = createAppends({
    database,
    schema,
    lanes: options.lanes ?? 2,
    shapes,
    salt,
    committed: (told) => (told.length > 0 ? changes.tell(told) : followers.grown()),
    probe: options.probe,
  })
  const tenantKey = async (tenant: string): Promise<Uint8Array> => {
    const [row] = await database.query({
      text: `SELECT ${schema}.tenant_key_1($1, decode($2, 'hex'))`,
      values: [toText(checkTenant(tenant)), randomBytes(32).toString('hex')],
    })
    return Uint8Array.from(Buffer.from(hexOf(row?.[0]), 'hex'))
  }
  const transfer = createTransfer({
    database,
    schema,
    reads,
    shapes,
    putBlobs: (tenant, blobs) => appends.putBlobs(tenant, blobs),
    tenantKey,
    tell: () => changes.tell(),
  })
  const archive = createArchive({
    database,
    schema,
    reads,
    shapes,
    putBlobs: (tenant, blobs) => appends.putBlobs(tenant, blobs),
    tell: () => changes.tell(),
  })
  let closing: Promise<void> | undefined

  async function open<R>(act: () => Promise<R>): Promise<R> {
    if (closing !== undefined) throw closedError()
    // Whoever began to watch before this call is to see what it does.
    if (followers.begun !== undefined) await followers.begun
    return await act()
  }

  async function close(): Promise<void> {
    followers.close()
    await appends.idle()
    appends.close()
    await leases.close()
    await changes.flush()
    changes.close()
    await session.close()
    await database.close()
  }

  return {
    append: (batch, more) => open(() => appends.append(batch, more)),
    post: (inbox, message) => open(() => appends.post(inbox, message)),
    putBlobs: (tenant, blobs) => open(() => appends.putBlobs(tenant, blobs)),
    read: (ref, more) => open(() => reads.read(ref, more)),
    head: (ref) => open(() => reads.head(ref)),
    heads: (tenant, more) => open(() => reads.heads(tenant, more)),
    getBlob: (tenant, hash) => open(() => reads.getBlob(tenant, hash)),
    dependents: (tenant, ref) => open(() => reads.dependents(tenant, ref)),
    register: (worker) => open(() => leases.register(worker)),
    claim: (ref, worker) => open(() => leases.claim(ref, worker)),
    release: (ref, epoch) => open(() => leases.release(ref, epoch)),
    isAlive: (worker) => open(() => leases.isAlive(worker)),
    run: (ref) => open(() => queries.run(ref)),
    runs: (filter) => open(() => queries.runs(filter)),
    approval: (tenant, id) => open(() => queries.approval(tenant, id)),
    approvals: (filter) => open(() => queries.approvals(filter)),
    ready: (filter) => open(() => queries.ready(filter)),
    nextDue: (now) => open(() => queries.nextDue(now)),
    guardOwner: (tenant, key) => open(() => queries.guardOwner(tenant, key)),
    tenantKey: (tenant) => open(() => tenantKey(tenant)),
    watch: (tenant, after) => followers.watch(tenant, after),
    onChange: (listener) => changes.onChange(listener),
    transfer,
    archive,
    close: () => (closing ??= close()),
  }
}

/** @throws STORE_UNUSABLE when the URL or the schema's name cannot be one */
export function targetOf(url: string, schema = 'convoke'): { readonly config: pg.ClientConfig; readonly where: Where } {
  if (!/^[a-z_][a-z0-9_]{0,50}$/.test(schema) || schema.startsWith('pg_'))
    throw new ConvokeError('STORE_UNUSABLE', `${JSON.stringify(schema)} cannot name a schema of ours`, {
      details: { schema },
      next: 'use lower-case letters, digits and _, at most 50',
    })
  let client: pg.Client
  try {
    if (!/^postgres(ql)?:\/\//.test(url)) throw new Error('it does not begin with postgres://')
    new URL(url)
    client = new pg.Client({ connectionString: url })
  } catch (error) {
    // The URL itself may hold a password.
    throw new ConvokeError('STORE_UNUSABLE', `the URL of the store cannot be read: ${(error as Error).message}`, {
      next: 'write it as postgres://user:password@host:5432/database',
    })
  }
  return {
    config: { connectionString: url, application_name: 'convoke' },
    where: {
      host: client.host,
      port: client.port,
      database: client.database ?? '',
      user: client.user ?? '',
      schema,
    },
  }
}
