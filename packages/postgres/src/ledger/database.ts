import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { closedError, fromPostgres, isLost, isRetryable, isForeign, isStarting, type Where } from './errors.ts'

// Owns the connections of one ledger but its session (session.ts). Invariants: a connection serves one query at a time; one that failed
// or did not answer in time is closed and never used again; a query is repeated only when its caller says that it may
// be, and not beyond `busyMs`; idle connections keep no process alive.

/** Values as Postgres writes them, in rows as arrays. */
export type Row = readonly (string | null)[]

export interface Query {
  readonly text: string
  readonly values?: readonly unknown[]
  /** Prepared under this name, once a connection. */
  readonly name?: string
  /** False for what must not be done twice. True unless said. */
  readonly repeat?: boolean
  /** Milliseconds without an answer after which the connection counts as lost; unless said, the database's. */
  readonly stallMs?: number
}

export interface Database {
  readonly where: Where
  query(query: Query): Promise<readonly Row[]>
  /** A connection of one's own for several statements; not repeated. */
  use<T>(act: (query: (text: string, values?: readonly unknown[]) => Promise<readonly Row[]>) => Promise<T>): Promise<T>
  /** Called after the way to the server was lost and found: what was cached of it may be of another server. */
  onLost(listener: () => void): void
  readonly closed: boolean
  close(): Promise<void>
}

export interface DatabaseOptions {
  readonly config: pg.ClientConfig
  readonly where: Where
  /** Connections at most. */
  readonly max: number
  /** How long a query is tried again while the server is away, in milliseconds. */
  readonly busyMs: number
  readonly stallMs: number
  /** Prepared statements stay with their connection: not so behind a pooler. */
  readonly prepare: boolean
}

const raw = { getTypeParser: () => (value: string) => value } as unknown as pg.CustomTypesConfig

/** Settings that the ledger counts on, whatever the server's defaults. */
const setup = `SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;
SET client_min_messages = warning; SET idle_in_transaction_session_timeout = '60s'; SET row_security = on;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`

/** The driver has more than its types say. */
export type Client = Omit<pg.Client, 'connection'> & {
  ref(): void
  unref(): void
  readonly processID: number
  readonly connection: { readonly stream: { destroy(error?: Error): void } }
}

export async function connect(config: pg.ClientConfig): Promise<Client> {
  const client = new pg.Client({
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    ...config,
    types: raw,
  }) as unknown as Client
  // A lost connection fails the query that is under way; nobody else needs to hear of it.
  client.on('error', () => undefined)
  try {
    await client.connect()
    // The way may be cut between the two.
    const stall = setTimeout(() => client.connection.stream.destroy(new Error('no answer to the settings')), 5_000)
    try {
      await client.query(setup)
    } finally {
      clearTimeout(stall)
    }
    return client
  } catch (error) {
    await end(client)
    throw error
  }
}

export async function end(client: Client): Promise<void> {
  // `end` waits for the server's last word, which a lost one never says.
  const timer = setTimeout(() => client.connection.stream.destroy(), 500)
  await client.end().catch(() => undefined)
  clearTimeout(timer)
}

export function createDatabase(options: DatabaseOptions): Database {
  const { config, where, max, busyMs } = options
  const idle: Client[] = []
  const waiting: ((client: Client | undefined) => void)[] = []
  const all = new Set<Client>()
  const lostListeners: (() => void)[] = []
  let open = 0
  let closed = false
  let away = false

  async function acquire(): Promise<Client> {
    for (;;) {
      if (closed) throw closedError()
      const client = idle.pop()
      if (client !== undefined) {
        client.ref()
        return client
      }
      if (open < max) break
      const handed = await new Promise<Client | undefined>((resolve) => waiting.push(resolve))
      if (handed !== undefined) return handed
    }
    open += 1
    try {
      const client = await connect(config)
      if (away) for (const listener of lostListeners) listener()
      away = false
      all.add(client)
      client.on('end', () => drop(client))
      return client
    } catch (error) {
      open -= 1
      away = true
      waiting.shift()?.(undefined)
      throw error
    }
  }

  function drop(client: Client): void {
    if (!all.delete(client)) return
    open -= 1
    const at = idle.indexOf(client)
    if (at >= 0) idle.splice(at, 1)
    waiting.shift()?.(undefined)
  }

  function give(client: Client): void {
    if (!all.has(client)) return
    const next = waiting.shift()
    if (next !== undefined) {
      next(client)
      return
    }
    client.unref()
    idle.push(client)
  }

  async function once({ text, values, name, stallMs = options.stallMs }: Query): Promise<readonly Row[]> {
    const client = await acquire()
    const { stream } = client.connection
    const timer = setTimeout(() => stream.destroy(new Error(`no answer for ${stallMs} ms`)), stallMs)
    try {
      const { rows } = await client.query({
        text,
        rowMode: 'array',
        ...(values === undefined ? {} : { values: values as unknown[] }),
        ...(name === undefined || !options.prepare ? {} : { name }),
      })
      give(client)
      return rows as unknown as readonly Row[]
    } catch (error) {
      if (isLost(error)) {
        away = true
        drop(client)
        void end(client)
      } else give(client)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    where,
    async query(query) {
      const start = performance.now()
      for (let tries = 0; ; tries++) {
        try {
          return await once(query)
        } catch (error) {
          const again = isStarting(error) || (query.repeat !== false && (isLost(error) || isRetryable(error)))
          if (!again || closed || performance.now() - start > busyMs)
            throw closed ? closedError() : isForeign(error) ? error : fromPostgres(error, where)
          // The first time at once: most often one connection was idle for too long.
          if (tries > 0) await sleep(Math.min(500, 10 * 2 ** tries) * (0.5 + Math.random() / 2))
        }
      }
    },
    async use(act) {
      let client: Client
      try {
        client = await acquire()
      } catch (error) {
        throw fromPostgres(error, where)
      }
      let broken = true
      try {
        const value = await act(async (text, values = []) => {
          try {
            return (await client.query({ text, values: values as unknown[], rowMode: 'array' }))
              .rows as unknown as Row[]
          } catch (error) {
            throw fromPostgres(error, where)
          }
        })
        broken = false
        return value
      } finally {
        // Whatever state it was left in ends with it.
        if (broken) {
          drop(client)
          await end(client)
        } else give(client)
      }
    },
    onLost(listener) {
      lostListeners.push(listener)
    },
    get closed() {
      return closed
    },
    async close() {
      if (closed) return
      closed = true
      for (const resolve of waiting.splice(0)) resolve(undefined)
      await Promise.all([...all].map(end))
    },
  }
}
