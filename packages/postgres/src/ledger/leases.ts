import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  ConvokeError,
  halfCopied,
  isConvokeError,
  runArchived,
  type Claim,
  type Lease,
  type StreamRef,
} from 'convoke/adapter'
import { plainArray, textArray, toText } from './text.ts'
import type { Database } from './database.ts'
import { createGroups } from './groups.ts'
import { keyOf, placeOf } from './prepare.ts'
import { expired } from './refusals.ts'
import type { Session } from './session.ts'

// Owns the leases of this ledger's own workers. Two things end a worker's hold on its runs.
//
// 1. Its lease passes: the row's `expires`, judged by the database's clock alone. Whoever finds it passed deletes the
//    row, and a renewal changes only a row that is there and has not passed. So a worker that was declared dead can never
//    come back, and `isAlive` may say so for good. An append is refused when the row of the stream's owner is missing or
//    has passed, in the append's own transaction.
// 2. Its session is gone: the advisory lock that the session holds is free, and still was half a second later. That a
//    process was killed shows at once this way, but a cut connection looks the same. So it is no death: it only lets
//    others claim the worker's runs, which raises their epoch and shuts the old writer out wherever it is. What may have
//    left it before stays guarded by the lease: recovery of a call in doubt asks `isAlive`, which still says yes. A wrong
//    guess costs a run one replay. The lock cannot be lost while the worker owns it and believes in it: it hangs on the
//    one connection over which the lease is renewed too, and a new connection takes it again before it renews.
//
// For its holder a lease counts from before its renewal was sent, on the monotonic and on the wall clock (the first
// stands still while a machine sleeps), and ends a margin early. So it ends for its holder before it ends for others,
// also when a crash of the server takes back its last renewal, which is not synced: the margin is longer than Postgres
// may delay a commit record.

export interface Leases {
  register(worker: string): Promise<Lease>
  claim(ref: StreamRef, worker: string): Promise<Claim>
  release(ref: StreamRef, epoch: number): Promise<void>
  isAlive(worker: string): Promise<boolean>
  /** Takes the locks of our workers on a new session, and renews them. */
  adopt(query: Session['query']): Promise<void>
  close(): Promise<void>
}

interface Found {
  readonly changed: boolean
  readonly workers: number
  readonly suspected: boolean
}

interface Held {
  /** When the last renewal that succeeded was sent. */
  mono: number
  wall: number
  lapsed: boolean
}

/** How long a session must be away before others take over, in milliseconds. */
const graceMs = 500
/** How often all workers together look after each other, in milliseconds. */
const lookMs = 300
/** How far apart the looks of several workers at one suspect are, in milliseconds. */
const spreadMs = 100

export function marginOf(leaseMs: number): number {
  return Math.min(leaseMs / 5, 1_000)
}

export function createLeases(parts: {
  readonly database: Database
  readonly session: Session
  readonly schema: string
  readonly leaseMs: number
  readonly now: () => number
  /** Others may want to know. */
  readonly tell: () => void
}): Leases {
  const { database, session, schema, leaseMs, tell } = parts
  const held = new Map<string, Held>()
  const locked = new Set<string>()
  let beating: NodeJS.Timeout | undefined
  let looking: NodeJS.Timeout | undefined
  let closed = false

  function remaining(its: Held): number {
    if (its.lapsed || closed) return 0
    const passed = Math.max(performance.now() - its.mono, Date.now() - its.wall)
    return leaseMs - marginOf(leaseMs) - passed
  }

  async function renew(query: Session['query']): Promise<void> {
    const list = [...held].filter(([, its]) => !its.lapsed && remaining(its) > 0).map(([worker]) => worker)
    for (const its of held.values()) if (remaining(its) <= 0) its.lapsed = true
    if (list.length === 0) return
    const mono = performance.now()
    const wall = Date.now()
    const texts = list.map(toText)
    const want = texts.filter((worker) => !locked.has(worker))
    const [row] = await query(`SELECT ${schema}.renew_1($1, $2)`, [textArray(texts), textArray(want)])
    const answer = JSON.parse(row?.[0] ?? '{}') as {
      readonly kept: readonly string[]
      readonly locked: readonly string[]
    }
    for (const worker of answer.locked) locked.add(worker)
    for (const worker of list) {
      const its = held.get(worker)
      if (its === undefined) continue
      if (!answer.kept.includes(toText(worker))) its.lapsed = true
      else Object.assign(its, { mono, wall })
    }
  }

  function beat(): void {
    beating ??= setInterval(() => {
      if (session.up && held.size > 0) renew((text, values) => session.query(text, values)).catch(() => undefined)
    }, leaseMs / 4).unref()
    if (looking === undefined) look(1)
  }

  /** The next look. When somebody is suspected it comes as soon as the grace has passed: his runs wait for it. */
  function look(workers: number, suspected = false): void {
    if (closed) return
    // Those who are left when one is gone look about once in `lookMs` together, however many they are.
    looking = setTimeout(
      () => {
        if (held.size === 0) {
          look(workers)
          return
        }
        database.query({ text: `SELECT ${schema}.look_after_2($1)`, values: [graceMs], repeat: false }).then(
          ([row]) => {
            const found = JSON.parse(row?.[0] ?? '{}') as Found
            if (found.changed) tell()
            look(found.workers, found.suspected)
          },
          () => look(workers),
        )
      },
      suspected
        ? graceMs + Math.random() * spreadMs
        : Math.max(1, Math.min(workers - 1, 100)) * lookMs * (0.5 + Math.random()),
    ).unref()
  }

  async function give(worker: string): Promise<void> {
    const its = held.get(worker)
    if (its === undefined) return
    its.lapsed = true
    held.delete(worker)
    await database.query({ text: `DELETE FROM ${schema}.workers WHERE id = $1`, values: [toText(worker)] })
    if (locked.delete(toText(worker)))
      await session.query(`SELECT pg_advisory_unlock(${schema}.lock_of_1($1))`, [toText(worker)]).catch(() => undefined)
    tell()
  }

  const claims = createGroups<{ ref: StreamRef; worker: string }, Claim>({
    lanes: 2,
    maxItems: 100,
    maxBytes: Infinity,
    keysOf: ({ ref }) => [keyOf(ref)],
    sizeOf: () => 1,
    async write(items) {
      const places = items.map(({ ref }) => placeOf(ref))
      const [row] = await database.query({
        text: `SELECT ${schema}.claim_1($1, $2, $3)`,
        values: [
          textArray(places.map(([tenant]) => tenant)),
          textArray(places.map(([, name]) => name)),
          textArray(items.map(({ worker }) => toText(worker))),
        ],
        name: `convoke ${schema} claim`,
      })
      const answers = JSON.parse(row?.[0] ?? '[]') as readonly (readonly (string | number)[])[]
      return items.map(({ ref, worker }, at) => {
        const [code, ...facts] = answers[at] ?? []
        if (code !== 'ok') return { error: refused(String(code), facts, ref, worker) }
        return { value: { epoch: Number(facts[0]), seq: Number(facts[1]), hash: String(facts[2]) } }
      })
    },
  })

  const releases = createGroups<{ ref: StreamRef; epoch: number }, void>({
    lanes: 1,
    maxItems: 100,
    maxBytes: Infinity,
    keysOf: ({ ref }) => [keyOf(ref)],
    sizeOf: () => 1,
    async write(items) {
      const places = items.map(({ ref }) => placeOf(ref))
      const [row] = await database.query({
        text: `SELECT ${schema}.release_1($1, $2, $3)`,
        values: [
          textArray(places.map(([tenant]) => tenant)),
          textArray(places.map(([, name]) => name)),
          plainArray(items.map(({ epoch }) => epoch)),
        ],
        name: `convoke ${schema} release`,
      })
      if (row?.[0] === 't') tell()
      return items.map(() => ({ value: undefined }))
    },
  })

  return {
    async register(worker) {
      const nonce = randomUUID()
      const its: Held = { mono: 0, wall: 0, lapsed: false }
      await session.start()
      // Whether a lost session had registered it already, the nonce tells.
      for (let tries = 0; ; tries++) {
        its.mono = performance.now()
        its.wall = Date.now()
        try {
          const [row] = await session.query(`SELECT ${schema}.register_1($1, $2, $3, $4, $5, $6)`, [
            toText(worker),
            nonce,
            hostname(),
            process.pid,
            parts.now(),
            Math.ceil(leaseMs),
          ])
          if (row?.[0] === 't') break
          throw new ConvokeError('INPUT_INVALID', `worker ${worker} is registered already`, {
            details: { worker },
            next: 'give each incarnation an id of its own',
          })
        } catch (error) {
          if (!isConvokeError(error, 'STORE_UNREACHABLE') || tries === 20 || closed) throw error
          await sleep(100)
        }
      }
      held.set(worker, its)
      locked.add(toText(worker))
      beat()
      return { worker, remaining: () => remaining(its), release: () => give(worker) }
    },
    claim: async (ref, worker) => {
      placeOf(ref)
      return await claims.add({ ref, worker })
    },
    release: async (ref, epoch) => {
      placeOf(ref)
      await releases.add({ ref, epoch })
    },
    async isAlive(worker) {
      const [row] = await database.query({
        text: `SELECT ${schema}.is_alive_1($1)`,
        values: [toText(worker)],
        name: `convoke ${schema} alive`,
      })
      return row?.[0] === 't'
    },
    adopt(query) {
      locked.clear()
      return renew(query)
    },
    async close() {
      clearInterval(beating)
      clearTimeout(looking)
      await Promise.all([claims.idle(), releases.idle()])
      claims.close()
      releases.close()
      await Promise.all([...held.keys()].map((worker) => give(worker).catch(() => undefined)))
      closed = true
    },
  }
}

function refused(code: string, facts: readonly (string | number)[], ref: StreamRef, worker: string): ConvokeError {
  if (code === 'LEASE_EXPIRED') return expired(worker)
  if (code === 'STORE_UNUSABLE') return halfCopied(ref.tenant)
  if (code === 'RUN_ARCHIVED') return runArchived(ref.stream)
  if (code === 'RUN_UNKNOWN')
    return new ConvokeError('RUN_UNKNOWN', `${ref.stream} has no records`, {
      details: { stream: ref.stream },
      next: 'list runs with `convoke runs`',
    })
  const [owner, pid, host, since, lease] = facts.map(String)
  return new ConvokeError(
    'RUN_OWNED',
    `${ref.stream} is driven by worker ${owner ?? '?'} (process ${pid ?? '?'} on ${host ?? '?'})`,
    {
      details: {
        stream: ref.stream,
        worker: owner ?? '',
        pid: Number(pid),
        host: host ?? '',
        since: Number(since),
        leaseMs: Number(lease),
      },
      next: `wait until it parks, or end process ${pid ?? '?'} on ${host ?? '?'}; a stopped process loses its runs after ${lease ?? '?'} ms`,
    },
  )
}
