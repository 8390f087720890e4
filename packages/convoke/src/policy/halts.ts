import { ConvokeError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import { inboxStream, runStream } from '../core/projections.ts'
import type { Actor, LedgerRecord } from '../core/record.ts'
import type { Ledger } from '../ports/ledger.ts'
import { appendPolicy, readPolicy } from './log.ts'

// Stop means stop. Orders stand in the stream `policy/halts`, so every process that shares the store finds them, also one
// that starts later. A run that is halted is stopped: nothing of it goes on until the order is lifted and it is resumed.

export const haltStream = 'policy/halts'

/** What is halted: one run, everything a role does, or all runs of the tenant. */
export type HaltTarget = { readonly run: string } | { readonly role: string } | { readonly all: true }

export interface Halt {
  readonly id: string
  readonly target: HaltTarget
  readonly by: string
  readonly reason?: string
  readonly at: number
}

/** Orders as this process knows them. */
export interface Halts {
  /** Reads what has been ordered; once for all who ask at the same time. */
  refresh(): Promise<void>
  /** The order that concerns a run, or what a role does in it. */
  concerning(run: string, role?: string): Halt | undefined
  /** Whether what is known is recent enough to act upon: an order reaches every process before that. */
  fresh(): boolean
  /** Whether it was read within the last second that nothing concerns a run or a role; `current` has nothing to say then. */
  clear(run: string, role?: string): boolean
  /** Reads what has been ordered when that was not done within the last second. */
  current(run: string, role?: string): Promise<Halt | undefined>
  /** Calls `stop` once when a run is halted, now or later; returns how to end it. */
  watch(run: string, stop: (error: ConvokeError) => void): () => void
}

interface HaltClock {
  monotonic(): number
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

const freshMs = 1_000
/** No byte leaves on older knowledge than this: a process that cannot read orders obeys them all the same. */
const maxAgeMs = 4_000

/**
 * Owns what this process knows of the orders, and the watch over runs driven here. Reads the stream again every second
 * while somebody watches, and whenever the ledger says that something has changed.
 */
export function haltBoard(ledger: Ledger, tenant: string, clock: HaltClock): Halts {
  const records: LedgerRecord[] = []
  const watchers = new Set<{ readonly run: string; readonly stop: (error: ConvokeError) => void }>()
  let standing: readonly Halt[] = []
  let readAt = -Infinity
  let reading: Promise<void> | undefined
  let looking: AbortController | undefined
  let off: (() => void) | undefined

  function concerning(run: string, role?: string): Halt | undefined {
    if (standing.length === 0) return undefined
    return standing.find(
      ({ target }) =>
        'all' in target || ('run' in target && target.run === run) || ('role' in target && target.role === role),
    )
  }

  function refresh(): Promise<void> {
    return (reading ??= (async () => {
      const began = clock.monotonic()
      const news = await readPolicy(ledger, tenant, haltStream, (records.at(-1)?.seq ?? 0) + 1)
      readAt = began
      if (news.length === 0) return
      records.push(...news)
      standing = standingIn(records)
      for (const watcher of [...watchers]) {
        const halt = concerning(watcher.run)
        if (halt !== undefined) watcher.stop(halted(watcher.run, halt))
      }
    })().finally(() => (reading = undefined)))
  }

  async function look(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await refresh().catch(() => undefined)
      await clock.sleep(freshMs, signal).catch(() => undefined)
    }
  }

  return {
    refresh,
    concerning,
    fresh: () => clock.monotonic() - readAt <= maxAgeMs,
    clear: (run, role) => clock.monotonic() - readAt <= freshMs && concerning(run, role) === undefined,
    async current(run, role) {
      const asked = clock.monotonic()
      if (asked - readAt > freshMs) await refresh()
      // An order may have been lifted since: whoever is stopped by an old one would wait for nobody. A reading that was
      // under way before does not tell.
      while (concerning(run, role) !== undefined && readAt < asked) await refresh()
      return concerning(run, role)
    },
    watch(run, stop) {
      const watcher = { run, stop }
      watchers.add(watcher)
      if (looking === undefined) {
        looking = new AbortController()
        off = ledger.onChange((changed) => {
          // A run that is halted is told so in its inbox; what concerns runs alone orders nothing.
          if (changed?.every(({ stream }) => stream.startsWith('run/')) !== true) refresh().catch(() => undefined)
        })
        void look(looking.signal)
      }
      return () => {
        watchers.delete(watcher)
        if (watchers.size > 0) return
        looking?.abort()
        off?.()
        looking = undefined
      }
    },
  }
}

export function halted(run: string, halt: Halt): ConvokeError {
  const why = halt.reason === undefined ? '' : `: ${halt.reason}`
  const { target } = halt
  const what = 'all' in target ? 'everything' : 'role' in target ? `role ${target.role}` : `run ${target.run}`
  return new ConvokeError('RUN_HALTED', `${halt.by} stopped ${what}${why}`, {
    details: { run, halt: halt.id, by: halt.by, ...target },
    next: `convoke stop --lift ${halt.id}`,
  })
}

function standingIn(records: readonly LedgerRecord[]): readonly Halt[] {
  const all = new Map<string, Halt>()
  for (const { type, payload, actor, at } of records) {
    const p = payload as JsonObject
    const id = p['id'] as string
    if (type === 'halt.lifted') all.delete(id)
    if (type === 'halt.ordered')
      all.set(id, {
        id,
        target: p['target'] as unknown as HaltTarget,
        by: actor.id,
        at,
        ...(typeof p['reason'] === 'string' ? { reason: p['reason'] } : {}),
      })
  }
  return [...all.values()]
}

/** What every order to stop, or to go on, says. */
export interface HaltOrder {
  readonly tenant: string
  readonly by: Actor
  readonly reason?: string
  /** Milliseconds since the epoch. */
  readonly at: number
  /** 32 random hexadecimal digits. */
  readonly salt: string
}

/** Orders a stop. It stands until it is lifted. @throws INPUT_INVALID without a target, RUN_UNKNOWN */
export async function orderHalt(ledger: Ledger, o: HaltOrder & { readonly target: HaltTarget }): Promise<Halt> {
  const { tenant, target, by, reason, at, salt } = o
  const named = ['run', 'role', 'all'].filter((key) => Object.hasOwn(target, key))
  if (named.length !== 1)
    throw new ConvokeError('INPUT_INVALID', 'a stop is of one run, one role, or all', {
      next: 'convoke stop RUN, --role ROLE or --all',
    })
  if ('run' in target && (await ledger.run({ tenant, stream: runStream(target.run) })) === undefined)
    throw new ConvokeError('RUN_UNKNOWN', `no run ${target.run}`, {
      details: { run: target.run },
      next: 'convoke runs',
    })
  const id = `halt_${salt.slice(0, 8)}`
  await appendPolicy(ledger, tenant, haltStream, () => [
    {
      type: 'halt.ordered',
      payload: { id, target: { ...target }, ...(reason === undefined ? {} : { reason }) },
      actor: by,
      at: Math.floor(at),
      salt,
    },
  ])
  // A parked run finds out when it is woken; one that is named should say so at once.
  if ('run' in target) await wake(ledger, tenant, target.run, { id, by, at })
  return { id, target, by: by.id, at, ...(reason === undefined ? {} : { reason }) }
}

/** Lifts a stop, and wakes the runs that it had stopped and no other does. @throws INPUT_INVALID when no such stop stands */
export async function liftHalt(
  ledger: Ledger,
  o: HaltOrder & { readonly id: string },
): Promise<{ readonly woken: readonly string[] }> {
  const { tenant, id, by, reason, at, salt } = o
  await appendPolicy(ledger, tenant, haltStream, (records) => {
    if (!standingIn(records).some((halt) => halt.id === id))
      throw new ConvokeError('INPUT_INVALID', `no stop ${id} stands`, {
        details: { standing: standingIn(records).map((halt) => halt.id) },
        next: 'convoke stop --list',
      })
    const payload = { id, ...(reason === undefined ? {} : { reason }) }
    return [{ type: 'halt.lifted', payload, actor: by, at: Math.floor(at), salt }]
  })
  const others = await standingHalts(ledger, tenant)
  const woken: string[] = []
  for (let before: string | undefined; ;) {
    // A run that is driven may be about to stop or to park because of the order: it has to hear of this as well.
    const status = ['stopped', 'parked', 'running'] as const
    const rows = await ledger.runs({ tenant, status, ...(before === undefined ? {} : { before }) })
    for (const row of rows) {
      const waits = row.status === 'stopped' ? row.error === 'RUN_HALTED' : row.parkedOn === 'breaker'
      if (!waits && row.status !== 'running') continue
      if (others.some(({ target }) => 'all' in target || ('run' in target && target.run === row.run))) continue
      await wake(ledger, tenant, row.run, { id, lifted: true, by, at })
      if (waits) woken.push(row.run)
    }
    before = rows.at(-1)?.run
    if (rows.length < 100) return { woken }
  }
}

/** Stops that stand. */
export async function standingHalts(ledger: Ledger, tenant: string): Promise<readonly Halt[]> {
  return standingIn(await readPolicy(ledger, tenant, haltStream))
}

async function wake(
  ledger: Ledger,
  tenant: string,
  run: string,
  o: { readonly id: string; readonly lifted?: true; readonly by: Actor; readonly at: number },
): Promise<void> {
  const { id, lifted, by, at } = o
  await ledger.post(
    { tenant, stream: inboxStream(run) },
    lifted === true
      ? { id: `halt:${id}:lifted`, type: 'run.halt', at, actor: by, payload: { id, lifted } }
      : { id: `halt:${id}`, type: 'run.halt', at, actor: by, payload: { id } },
  )
}
