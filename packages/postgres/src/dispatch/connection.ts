import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

// Owns the dispatcher's connections: a small pool for the queue's statements and one that listens. Invariants: no
// statement waits for an answer beyond `stallMs`; a connection that failed is closed and not used again; the listener
// comes back by itself, and rings whenever it does, since it may have missed something.

/** A queue's statements take milliseconds, its rare maintenance seconds. */
const stallMs = 15_000
const pingMs = 5_000

export interface Statements {
  executeSql(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>
  close(): Promise<void>
}

export function openStatements(config: pg.ClientConfig, max: number): Statements {
  const pool = new pg.Pool({ connectionTimeoutMillis: 5_000, keepAlive: true, ...config, max, allowExitOnIdle: true })
  pool.on('error', () => undefined)
  // The pool listens to idle clients only; a lost one that serves a statement fails that statement, and nothing else.
  pool.on('connect', (client) => void client.on('error', () => undefined))
  return {
    async executeSql(text, values) {
      const client = await pool.connect()
      const timer = setTimeout(() => cut(client, `no answer for ${stallMs} ms`), stallMs)
      try {
        const result = await client.query<Record<string, unknown>>(text, values)
        client.release()
        return result
      } catch (error) {
        // It may be within a transaction that has failed.
        client.release(true)
        throw error
      } finally {
        clearTimeout(timer)
      }
    },
    close: () => pool.end(),
  }
}

function cut(client: pg.ClientBase, why: string): void {
  const { connection } = client as unknown as { connection?: { stream?: { destroy(error: Error): void } } }
  connection?.stream?.destroy(new Error(why))
}

/** Calls `ring` at every notification and whenever listening (again) begins. Returns what ends it. */
export function listen(config: pg.ClientConfig, channel: string, ring: () => void): () => Promise<void> {
  const stopping = new AbortController()
  const { signal } = stopping

  async function once(): Promise<void> {
    const client = new pg.Client({ connectionTimeoutMillis: 5_000, keepAlive: true, ...config })
    const lost = new Promise<void>((resolve) => {
      client.on('error', () => resolve())
      client.on('end', () => resolve())
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    try {
      await client.connect()
      // Who only listens must not keep a process alive that has finished.
      ;(client as unknown as { unref(): void }).unref()
      client.on('notification', ring)
      await client.query(`LISTEN ${client.escapeIdentifier(channel)}`)
      ring()
      const gone = lost.then(() => true)
      while (!(await Promise.race([gone, pause(pingMs).then(() => false)]))) {
        const timer = setTimeout(() => cut(client, 'the listening connection does not answer'), pingMs)
        await client.query('SELECT 1').finally(() => clearTimeout(timer))
      }
    } finally {
      const timer = setTimeout(() => cut(client, 'closing'), 500)
      await client.end().catch(() => undefined)
      clearTimeout(timer)
    }
  }

  const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal, ref: false }).catch(() => undefined)
  const ended = (async () => {
    for (let failures = 0; !signal.aborted;) {
      const from = performance.now()
      await once().catch(() => undefined)
      failures = performance.now() - from > pingMs ? 0 : failures + 1
      if (!signal.aborted) await pause(Math.min(5_000, 50 * 2 ** failures))
    }
  })()
  return async () => {
    stopping.abort()
    await ended
  }
}
