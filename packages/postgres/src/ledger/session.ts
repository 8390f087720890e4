import type pg from 'pg'
import { closedError, fromPostgres, isLost, type Where } from './errors.ts'
import { connect, end, type Client, type Row } from './database.ts'

// One connection that stays: for what Postgres ties to a session, which are notifications and the locks that stand for
// workers. Owns that connection and its renewal. Invariants: it is opened at first need and again whenever it is lost,
// until closed; `onUp` runs on every new one before anybody else may use it; it keeps no process alive.

export interface Session {
  /** Resolves when it is up; rejects when it cannot be opened the first time. */
  start(): Promise<void>
  /** @throws STORE_UNREACHABLE when it is down */
  query(text: string, values?: readonly unknown[]): Promise<readonly Row[]>
  readonly up: boolean
  close(): Promise<void>
}

export interface SessionOptions {
  readonly config: pg.ClientConfig
  readonly where: Where
  readonly stallMs: number
  readonly channel: string
  /** Called with a new session, before it is used for anything else. */
  readonly onUp: (query: Session['query']) => Promise<void>
  readonly onNotice: (payload: string) => void
}

export function createSession(options: SessionOptions): Session {
  const { config, where, stallMs, channel, onUp, onNotice } = options
  let client: Client | undefined
  let starting: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let pause = 20
  let pending = 0
  let turn: Promise<void> = Promise.resolve()

  const queryOn =
    (its: Client): Session['query'] =>
    async (text, values = []) => {
      const { stream } = its.connection
      // One at a time: the driver does not queue.
      const before = turn
      const { promise, resolve } = Promise.withResolvers<void>()
      turn = promise
      await before
      const stall = setTimeout(() => stream.destroy(new Error(`no answer for ${stallMs} ms`)), stallMs)
      // Only what is waited for keeps the process alive.
      if (pending++ === 0) its.ref()
      try {
        const { rows } = await its.query({ text, values: values as unknown[], rowMode: 'array' })
        return rows as unknown as Row[]
      } catch (error) {
        if (isLost(error)) lose(its)
        throw fromPostgres(error, where)
      } finally {
        clearTimeout(stall)
        resolve()
        if (--pending === 0) its.unref()
      }
    }

  async function open(): Promise<void> {
    const fresh = await connect({ ...config, keepAliveInitialDelayMillis: 5_000 })
    if (closed) {
      await end(fresh)
      throw closedError()
    }
    fresh.unref()
    fresh.on('notification', ({ payload }) => onNotice(payload ?? ''))
    fresh.on('end', () => lose(fresh))
    fresh.on('error', () => lose(fresh))
    client = fresh
    try {
      const query = queryOn(fresh)
      await query(`LISTEN ${channel}`)
      await onUp(query)
      pause = 20
    } catch (error) {
      lose(fresh)
      throw error
    }
  }

  function lose(its: Client): void {
    if (client !== its) return
    client = undefined
    void end(its)
    again()
  }

  function again(): void {
    if (closed || timer !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      open().catch(again)
    }, pause)
    timer.unref()
    pause = Math.min(1_000, pause * 2)
  }

  return {
    start() {
      if (closed) return Promise.reject(closedError())
      starting ??= open().catch((error: unknown) => {
        starting = undefined
        clearTimeout(timer)
        timer = undefined
        throw fromPostgres(error, where)
      })
      return starting
    },
    query(text, values) {
      if (client === undefined) return Promise.reject(fromPostgres(new Error('the session is being renewed'), where))
      return queryOn(client)(text, values)
    },
    get up() {
      return client !== undefined
    },
    async close() {
      closed = true
      clearTimeout(timer)
      await starting?.catch(() => undefined)
      const its = client
      client = undefined
      if (its !== undefined) await end(its)
    },
  }
}
