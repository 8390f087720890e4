import { randomUUID } from 'node:crypto'
import type { Database } from './database.ts'

// Tells others, and our own listeners, that something was committed which may concern them. Hints only: they may be
// lost or come twice, and whoever counts on them looks by itself now and then.
//
// Notifications leave after the commit that they tell of, in a transaction of their own: a transaction that notifies
// makes all others of the server that do wait for it until its own commit is synced, and one that does nothing else is
// not synced at all.

export interface Changes {
  onChange(listener: () => void): () => void
  /** We committed something that concerns others. */
  tell(): void
  /** A notification came in. */
  hear(payload: string): void
  /** The way to notifications was lost for a while, or has just been made. */
  catchUp(): void
  /** Sends what is still to be told. */
  flush(): Promise<void>
  close(): void
}

const gatherMs = 4
const lookMs = 2_000

export function createChanges(parts: {
  readonly database: Database
  readonly schema: string
  readonly channel: string
  readonly grown: () => void
  /** Somebody listens for the first time. */
  readonly onListen: () => void
}): Changes {
  const { database, schema, channel, grown } = parts
  const own = randomUUID()
  const listeners = new Set<() => void>()
  let timer: NodeJS.Timeout | undefined
  let looking: NodeJS.Timeout | undefined
  let seen: string | undefined
  let sending: Promise<unknown> = Promise.resolve()
  let closed = false

  function call(): void {
    grown()
    for (const listener of [...listeners]) if (listeners.has(listener)) listener()
  }

  function send(): void {
    timer = undefined
    sending = database
      .query({ text: 'SELECT pg_notify($1, $2)', values: [channel, own], repeat: false, name: 'convoke notify' })
      .catch(() => undefined)
  }

  async function look(): Promise<void> {
    const [row] = await database.query({ text: `SELECT last_value FROM ${schema}.positions`, repeat: false })
    const last = row?.[0] ?? undefined
    if (seen !== undefined && last !== seen) call()
    seen = last
  }

  return {
    onChange(listener) {
      // The same function twice is two subscriptions.
      const mine = (): void => listener()
      listeners.add(mine)
      if (listeners.size === 1 && !closed) {
        parts.onListen()
        looking ??= setInterval(() => void look().catch(() => undefined), lookMs).unref()
      }
      return () => {
        if (!listeners.delete(mine) || listeners.size > 0) return
        clearInterval(looking)
        looking = undefined
        seen = undefined
      }
    },
    tell() {
      call()
      if (!closed) timer ??= setTimeout(send, gatherMs)
    },
    hear(payload) {
      if (payload !== own) call()
    },
    catchUp: call,
    async flush() {
      if (timer !== undefined) {
        clearTimeout(timer)
        send()
      }
      await sending
    },
    close() {
      closed = true
      clearInterval(looking)
      clearTimeout(timer)
      listeners.clear()
    },
  }
}
