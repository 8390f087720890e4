import type { ParkKind } from '../core/projections.ts'
import type { LedgerRecord } from '../core/record.ts'
import type { InboxMessage } from '../ports/ledger.ts'
import type { Claim, Waiting } from './claim.ts'
import type { Message } from './types.ts'

/** Where a message belongs: each kind of message is waited for under its own topic. */
export function topicOf(message: InboxMessage): string {
  const p = message.payload as { name?: unknown; id?: unknown } | null
  const name = typeof p?.name === 'string' ? p.name : typeof p?.id === 'string' ? p.id : ''
  return `${message.type}:${name}`
}

interface Waiter {
  readonly topic: string
  readonly done: (message: Message | undefined) => void
}

/**
 * Messages that were copied into the run and nobody has taken yet, first in first out per topic. Owned by the engine;
 * on replay it is refilled from the records, and what a finished step took is taken again.
 */
export class Mailbox {
  readonly #messages = new Map<string, Message[]>()
  /** When each message came, so that one that is given back stands where it stood. */
  readonly #arrival = new Map<Message, number>()
  readonly #waiters: Waiter[] = []

  put(message: Message): void {
    const arrived = this.#arrival.get(message) ?? this.#arrival.size
    this.#arrival.set(message, arrived)
    const topic = topicOf(message.message)
    const list = this.#messages.get(topic) ?? []
    const later = list.findIndex((m) => (this.#arrival.get(m) ?? 0) > arrived)
    list.splice(later < 0 ? list.length : later, 0, message)
    this.#messages.set(topic, list)
    this.#match(topic)
  }

  /**
   * Takes the message that a recorded step is known to have consumed: the one its record names as a cause, or else the
   * one with that number in the inbox of the record's own run (a fork has two inboxes: its ancestor's and its own).
   */
  takeRecorded(record: LedgerRecord, inboxSeq: number): void {
    const causes = new Set(record.causes.map((c) => c.ref))
    const own = `${record.stream}@`
    const taken = (m: Message): boolean => causes.has(m.ref) || (m.inboxSeq === inboxSeq && m.ref.startsWith(own))
    for (const [topic, list] of this.#messages) {
      const at = list.findIndex(taken)
      if (at >= 0) {
        list.splice(at, 1)
        if (list.length === 0) this.#messages.delete(topic)
        return
      }
    }
  }

  wait(topic: string, done: (message: Message | undefined) => void): () => void {
    const waiter = { topic, done }
    this.#waiters.push(waiter)
    this.#match(topic)
    return () => {
      const at = this.#waiters.indexOf(waiter)
      if (at >= 0) this.#waiters.splice(at, 1)
    }
  }

  #match(topic: string): void {
    const list = this.#messages.get(topic)
    if (list === undefined) return
    for (let i = 0; i < this.#waiters.length && list.length > 0;) {
      const waiter = this.#waiters[i] as Waiter
      if (waiter.topic !== topic) {
        i++
        continue
      }
      this.#waiters.splice(i, 1)
      waiter.done(list.shift())
    }
    if (list.length === 0) this.#messages.delete(topic)
  }
}

/** What stands for all that a parked run waits for. */
export interface Summary {
  /** The one most worth telling a person. */
  readonly kind: ParkKind
  /** The earliest time. */
  readonly next: number | undefined
}

/** Undefined while something that was begun works, and does not wait; or where nothing was. */
export function waitingFor(claims: Iterable<Claim>): Summary | undefined {
  const waits: Waiting[] = []
  for (const { operation, waits: its } of claims) {
    if (operation.orchestrate !== undefined) continue
    if (its.length === 0) return undefined
    waits.push(...its)
  }
  return waits.length === 0 ? undefined : summarize(waits)
}

function summarize(waits: Iterable<Waiting>): Summary {
  const order: readonly ParkKind[] = ['breaker', 'person', 'budget', 'limit', 'signal', 'child', 'timer']
  let kind: ParkKind = 'timer'
  let next: number | undefined
  for (const wait of waits) {
    if (order.indexOf(wait.kind) < order.indexOf(kind)) kind = wait.kind
    if (wait.until !== undefined && (next === undefined || wait.until < next)) next = wait.until
  }
  return { kind, next }
}
