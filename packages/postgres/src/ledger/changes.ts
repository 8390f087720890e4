import { randomUUID } from 'node:crypto'
import type { ChangeListener, StreamRef } from 'convoke/adapter'
import type { Database } from './database.ts'

// Tells others, and our own listeners, that something was committed which may concern them. Hints only: they may be
// lost or come twice, and whoever counts on them looks by itself now and then.
//
// Notifications leave after the commit that they tell of, in a transaction of their own: a transaction that notifies
// makes all others of the server that do wait for it until its own commit is synced, and one that does nothing else is
// not synced at all.

export interface Changes {
  onChange(listener: ChangeListener): () => void
  /** We committed something that concerns others: those interested in these streams, or everybody. */
  tell(changed?: readonly StreamRef[]): void
  /** A notification came in. */
  hear(payload: string): void
  /** The way to notifications was lost for a while, or has just been made. */
  catchUp(): void
  /** Sends what is still to be told. */
  flush(): Promise<void>
  close(): void
}

/** Postgres takes notifications of up to 8,000 bytes. */
const payloadBytes = 7_500
const manyRefs = 200

/** What is told alone leaves soon; while much is told, each notification waits a little for more. */
const [gatherMs, crowdMs, crowdedMs] = [4, 20, 50]
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
  const listeners = new Set<ChangeListener>()
  /** What the next notification tells of. */
  let untold: readonly StreamRef[] | undefined = []
  let timer: NodeJS.Timeout | undefined
  let sentAt = -Infinity
  let looking: NodeJS.Timeout | undefined
  let seen: string | undefined
  let sending: Promise<unknown> = Promise.resolve()
  let closed = false

  function call(changed?: readonly StreamRef[]): void {
    grown()
    for (const listener of [...listeners]) if (listeners.has(listener)) listener(changed)
  }

  function send(): void {
    timer = undefined
    sentAt = performance.now()
    const payload = payloadOf(own, untold)
    untold = []
    sending = database
      .query({ text: 'SELECT pg_notify($1, $2)', values: [channel, payload], repeat: false, name: 'convoke notify' })
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
      const mine: ChangeListener = (changed) => listener(changed)
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
    tell(changed) {
      call(changed)
      if (changed === undefined) untold = undefined
      else if (untold !== undefined) untold = untold.length > manyRefs ? undefined : [...untold, ...changed]
      if (closed || timer !== undefined) return
      timer = setTimeout(send, performance.now() - sentAt < crowdedMs ? crowdMs : gatherMs)
    },
    hear(payload) {
      if (!payload.startsWith(own)) call(refsOf(payload))
    },
    catchUp: () => call(),
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

/** The sender's id; and, if they are few enough, the streams: without them, anything may have changed. */
function payloadOf(own: string, changed: readonly StreamRef[] | undefined): string {
  if (changed === undefined || changed.length > manyRefs) return own
  const refs = new Map(changed.map(({ tenant, stream }) => [`${tenant}\n${stream}`, [tenant, stream]]))
  const payload = `${own} ${JSON.stringify([...refs.values()])}`
  return Buffer.byteLength(payload) > payloadBytes ? own : payload
}

function refsOf(payload: string): readonly StreamRef[] | undefined {
  const at = payload.indexOf(' ')
  if (at < 0) return undefined
  try {
    return (JSON.parse(payload.slice(at + 1)) as [string, string][]).map(([tenant, stream]) => ({ tenant, stream }))
  } catch {
    return undefined
  }
}
