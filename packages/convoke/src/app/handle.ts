import { ConvokeError, fromErrorData, type ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { inboxStream, isEnded, runStream, type RunRow } from '../core/projections.ts'
import type { Actor, LedgerRecord } from '../core/record.ts'
import type { Ledger, StreamRef } from '../ports/ledger.ts'
import type { Clock, Ids, Live, LiveEvent } from '../ports/runtime.ts'
import { entryOf } from '../replay/history.ts'
import type { Entry } from '../replay/types.ts'
import { cancelRun } from '../replay/start.ts'
import type { Signal } from '../replay/workflow.ts'
import type { OutputOf } from './correct.ts'
import { forkRun, type ForkOptions } from './fork.ts'
import type { StatusListener } from './status.ts'

export type RunEvent =
  { readonly kind: 'record'; readonly record: LedgerRecord } | { readonly kind: 'live'; readonly event: LiveEvent }

/** A run as seen from outside. Everything it says comes from the ledger, so a handle can be made anywhere, any time. */
export interface RunHandle<O = unknown> {
  readonly id: string
  readonly tenant: string
  /**
   * Waits until the run has ended.
   * @throws RUN_FAILED (details.error holds the run's own error), RUN_CANCELLED, RUN_UNKNOWN; a stopped run throws its reason
   */
  result(): Promise<O>
  /** Waits until the run has ended, or waits for something outside, or was stopped. */
  settled(): Promise<RunRow>
  /** @throws RUN_UNKNOWN */
  status(): Promise<RunRow>
  /** Records as they are committed, from the run's first, and live events of this process; ends with the run. */
  events(options?: { readonly signal?: AbortSignal }): AsyncIterable<RunEvent>
  /** @throws INPUT_INVALID when the value does not fit the signal's schema */
  signal<T>(signal: Signal<T>, value: T, options?: { readonly id?: string; readonly by?: Actor }): Promise<void>
  cancel(reason?: string): Promise<void>
  /** @throws RECORD_UNKNOWN, INPUT_INVALID for a correction that does not fit */
  fork(options: ForkOptions): Promise<RunHandle<O>>
}

export interface HandleDeps {
  readonly ledger: Ledger
  readonly clock: Clock
  readonly ids: Ids
  readonly live: Live
  readonly redact: (value: Json) => Json
  readonly wake: (ref: StreamRef) => Promise<void>
  /** Calls back after anything that may have changed the run's status. */
  readonly onStatus: (ref: StreamRef, listener: StatusListener) => () => void
  /** Whether `onStatus` will tell of the run's next change for certain, so that nobody need look before. */
  readonly isTold: (ref: StreamRef) => boolean
  readonly digestOf: (workflow: string) => { readonly version: string; readonly digest: string } | undefined
  readonly outputOf?: OutputOf | undefined
}

const aliveMs = 60_000
const lastTypes = /^run\.(completed|failed|cancelled|continued|stopped)$/

export function runHandle<O>(deps: HandleDeps, tenant: string, run: string): RunHandle<O> {
  const { ledger, clock } = deps
  const ref: StreamRef = { tenant, stream: runStream(run) }
  const inbox: StreamRef = { tenant, stream: inboxStream(run) }

  async function row(): Promise<RunRow> {
    const found = await ledger.run(ref)
    if (found === undefined)
      throw new ConvokeError('RUN_UNKNOWN', `no run ${run}`, { details: { run }, next: 'convoke runs' })
    return found
  }

  /** Its row still says why it rested, but something came in since and it will be driven. */
  const isWoken = (r: RunRow): boolean => r.due !== undefined && r.due <= clock.now()

  /** Looks until there is something; a last record that is known here needs no look. */
  async function wait<T>(look: () => Promise<T | undefined>, known: (last: Entry) => T | undefined): Promise<T> {
    let end: T | undefined
    let changed: (() => void) | undefined
    let dirty = false
    // Who waits for a run keeps the process alive: what ends it may come from another process.
    const alive = setInterval(() => undefined, aliveMs)
    const off = deps.onStatus(ref, (last) => {
      if (last !== undefined) end ??= known(last)
      dirty = true
      changed?.()
    })
    try {
      for (let told = deps.isTold(ref); ; told = false) {
        dirty = false
        const found = end ?? (told ? undefined : await look())
        if (found !== undefined) return found
        if (!dirty) await new Promise<void>((resolve) => (changed = resolve))
      }
    } finally {
      clearInterval(alive)
      off()
    }
  }

  async function ending(): Promise<Entry | undefined> {
    const now = await row()
    if (!isEnded(now.status) && (now.status !== 'stopped' || isWoken(now))) return undefined
    const head = await ledger.head(ref)
    const [record] = await ledger.read(ref, { from: head.seq, limit: 1 })
    return record !== undefined && lastTypes.test(record.type) ? entryOf(ledger, record) : undefined
  }

  const handle: RunHandle<O> = {
    id: run,
    tenant,
    status: row,
    settled: () =>
      wait(
        async () => {
          const now = await row()
          const rests = ['stopped', 'parked'].includes(now.status) && !isWoken(now)
          return isEnded(now.status) || rests ? now : undefined
        },
        () => undefined,
      ),
    async result() {
      const { record, payload } = await wait(ending, (last) => last)
      const { type } = record
      if (type === 'run.stopped') throw fromErrorData(payload as unknown as ErrorData)
      if (type === 'run.continued') return runHandle<O>(deps, tenant, payload['next'] as string).result()
      if (type === 'run.completed') return payload['value'] as O
      const error = payload['error'] as unknown as ErrorData
      throw new ConvokeError(
        type === 'run.cancelled' ? 'RUN_CANCELLED' : 'RUN_FAILED',
        `run ${run} ${type === 'run.cancelled' ? 'was cancelled' : 'failed'}: ${error.message}`,
        {
          details: { run, error: error as unknown as Json },
          next: `convoke why ${run}`,
          cause: fromErrorData(error),
        },
      )
    },
    async *events(options = {}) {
      const queue: RunEvent[] = []
      let bell: (() => void) | undefined
      const ring = (): void => bell?.()
      const offLive = deps.live.subscribe({ tenant, run }, (event) => {
        queue.push({ kind: 'live', event })
        ring()
      })
      const offStatus = deps.onStatus(ref, () => ring())
      options.signal?.addEventListener('abort', ring)
      let next = 1
      try {
        await row()
        while (options.signal?.aborted !== true) {
          const records = await ledger.read(ref, { from: next })
          for (const record of records) {
            next = record.seq + 1
            const last = lastTypes.test(record.type)
            // What was said before the end is told before it.
            if (last) while (queue.length > 0) yield queue.shift() as RunEvent
            yield { kind: 'record', record }
            if (last) return
          }
          while (queue.length > 0) yield queue.shift() as RunEvent
          if (records.length === 0)
            await new Promise<void>((resolve) => {
              const timer = setTimeout(resolve, 250)
              bell = () => {
                clearTimeout(timer)
                resolve()
              }
            })
        }
      } finally {
        offLive()
        offStatus()
        options.signal?.removeEventListener('abort', ring)
      }
    },
    async signal(signal, value, options = {}) {
      await row()
      const parsed = await signal.parse(value)
      await ledger.post(inbox, {
        id: options.id ?? `signal:${deps.ids.next()}`,
        type: 'signal',
        at: clock.now(),
        actor: options.by ?? { kind: 'system', id: 'app' },
        payload: deps.redact({ name: signal.name, ...(parsed === undefined ? {} : { value: parsed as Json }) }),
      })
      await deps.wake(ref)
    },
    async cancel(reason = 'asked to') {
      await row()
      await cancelRun(ledger, clock, tenant, run, { kind: 'system', id: 'app' }, reason)
      await deps.wake(ref)
    },
    async fork(options) {
      const id = await forkRun(deps, tenant, run, options)
      await deps.wake({ tenant, stream: runStream(id) })
      return runHandle<O>(deps, tenant, id)
    },
  }
  return handle
}
