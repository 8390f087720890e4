import type { Json } from '../core/json.ts'
import { inboxStream } from '../core/projections.ts'
import { refOf, type LedgerRecord } from '../core/record.ts'
import type { InboxMessage, StreamRef } from '../ports/ledger.ts'
import type { Engine } from './engine.ts'
import { entryOf, type History } from './history.ts'
import { newsOf } from './news.ts'
import type { Runtime } from './runtime.ts'

const checkMs = 100

export interface Inbox {
  readonly ref: StreamRef
  /** Something may have come in since this was last asked. */
  changed(): boolean
  /** Copies what came in into the run's own stream, each message with its cause; true when there was any. */
  read(): Promise<boolean>
  /** What came in that the run had not copied when it was loaded, and where the inbox ends. */
  pending(): Promise<{ readonly messages: readonly InboxMessage[]; readonly end: number }>
  stop(): void
}

/** What comes to one driven run from outside. Looks again at most every 100 ms while the ledger tells of changes. */
export function openInbox(runtime: Runtime, engine: Engine, history: History): Inbox {
  const { ledger } = runtime
  const ref = { tenant: engine.tenant, stream: inboxStream(engine.run) }
  const own = history.started.record.stream
  let dirty = false
  let timer: NodeJS.Timeout | undefined
  const unsubscribe = newsOf(ledger).watch(ref, () => {
    timer ??= setTimeout(() => {
      timer = undefined
      dirty = true
      engine.ring()
    }, checkMs).unref()
  })

  async function messageOf(record: LedgerRecord): Promise<InboxMessage> {
    const { payload } = await entryOf(ledger, record)
    // The sender's id is the ledger's own business; here a message is known by where it stands.
    return { id: refOf(record), type: record.type, at: record.at, actor: record.actor, payload }
  }

  return {
    ref,
    changed() {
      const was = dirty
      dirty = false
      return was
    },
    async read() {
      const records = await ledger.read(ref, { from: engine.inboxRead + 1 })
      for (const record of records) {
        const message = await messageOf(record)
        const entry = engine.sequencer.enqueue({
          type: 'inbox.received',
          causes: [{ ref: refOf(record), kind: 'input' }, ...record.causes],
          actor: record.actor,
          labels: record.labels,
          payload: { inbox: record.seq, message: message as unknown as Json },
        })
        engine.receive(entry.record, record.seq, message)
      }
      return records.length > 0
    },
    async pending() {
      const copied = history.entries.reduce(
        (most, { record, payload }) =>
          record.type === 'inbox.received' && record.stream === own ? Math.max(most, payload['inbox'] as number) : most,
        0,
      )
      const records = await ledger.read(ref, { from: copied + 1 })
      return { messages: await Promise.all(records.map(messageOf)), end: records.at(-1)?.seq ?? copied }
    },
    stop() {
      unsubscribe()
      clearTimeout(timer)
    },
  }
}
