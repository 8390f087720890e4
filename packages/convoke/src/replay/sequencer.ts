import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { seal, type Blob, type Draft, type Head, type LedgerRecord } from '../core/record.ts'
import type { AppendOptions, Claim, Guard, Ledger, Lease, StreamRef } from '../ports/ledger.ts'
import type { Probe } from '../ports/probe.ts'
import type { Clock, Ids } from '../ports/runtime.ts'
import type { Entry } from './types.ts'

export interface SequencerOptions {
  readonly ledger: Ledger
  readonly ref: StreamRef
  readonly claim: Claim
  readonly lease: Lease
  readonly clock: Clock
  readonly ids: Ids
  readonly redact: (value: Json) => Json
  readonly probe?: Probe | undefined
}

/** Nothing yet: whoever has something makes an array of its own. */
const none: never[] = []
const plain: AppendOptions = {}
const ignore = (): void => undefined

/** Records of one run, and bytes of their blobs, that may wait in memory while others of it are being written. */
const gathered = 256
const gatheredBytes = 8 * 1024 * 1024

/**
 * The one writer of a driven run's stream. Owns the head: position and previous hash are given when work is enqueued,
 * so order in the ledger is order of enqueueing.
 *
 * Invariants:
 * 1. Records leave in the order they were enqueued; a batch is sent only while no earlier one was refused.
 * 2. The first refusal ends this incarnation: everything enqueued after it is discarded, every wait rejects.
 * 3. Nothing is sent before somebody waits for it or the run comes to rest, so a completion and the next intent share
 *    one append. For what only computes nobody waits: it is sent when its stretch ends and nothing of the run is under
 *    way, and what comes meanwhile shares the next append.
 */
export class Sequencer {
  readonly #o: SequencerOptions
  #head: Head
  #records: LedgerRecord[] = none
  #blobs: readonly Blob[] = none
  #tail: Promise<void> = Promise.resolve()
  /** Appends that were sent and are not on disk; counts no further once one was refused. */
  #underWay = 0
  #lost: ConvokeError | undefined
  /** Whether the last completion went to disk with nothing behind it, so that the next may as well leave at once. */
  #alone = false
  /** Sent ahead, and not waited for yet. */
  #ahead = false
  /** Whether what has gathered is sent when nothing is under way any more. */
  #flows = false

  constructor(options: SequencerOptions) {
    this.#o = options
    this.#head = options.claim
  }

  get head(): Head {
    return this.#head
  }

  get lost(): ConvokeError | undefined {
    return this.#lost
  }

  get dirty(): boolean {
    return this.#records.length > 0
  }

  /** Gives the record its place. Durable only when a later `durable()` resolves. */
  enqueue(draft: Draft, blobs: readonly Blob[] = none): Entry {
    if (this.#lost !== undefined) throw this.#lost
    const sealed = this.#seal(draft, blobs)
    // Not the record itself, which is let go of once it is written.
    this.#head = { seq: sealed.record.seq, hash: sealed.record.hash }
    if (this.#records.length === 0) this.#records = [sealed.record]
    else this.#records.push(sealed.record)
    if (blobs.length > 0) this.#blobs = [...this.#blobs, ...blobs]
    if (sealed.spilled !== undefined) this.#blobs = [...this.#blobs, sealed.spilled]
    return {
      record: sealed.record,
      payload: sealed.payload as JsonObject,
    }
  }

  /**
   * Enqueues a completion. Where the one before had the next commit to itself, this one is sent ahead, and the code goes
   * on while it is written; where an intent followed, it waits for the next, so that both share one commit. One that only
   * computed (`flows`) needs nobody to wait for it.
   */
  completed(draft: Draft, blobs: readonly Blob[] = none, flows = false): Entry {
    const entry = this.enqueue(draft, blobs)
    if (flows) this.#flows = true
    else if (this.#alone && this.#records.length === 1) {
      this.#ahead = true
      this.#send(plain)
    }
    return entry
  }

  /** Sends what only computed, unless something is under way that it can follow. */
  flow(): void {
    if (!this.#flows || this.#underWay > 0) return
    this.#flows = false
    this.#send(plain)
  }

  /**
   * Sends what is enqueued and resolves when all of it is on disk and this worker may still act: also one that had
   * nothing to write must not begin a step that another has taken over (R7).
   */
  durable(): Promise<void> {
    this.#alone = this.#ahead ? this.#records.length === 0 : this.#records.length === 1
    this.#ahead = false
    if (this.#records.length > 0) this.#send(plain)
    return this.#lost === undefined ? this.#tail.then(this.#mayAct) : Promise.reject(this.#lost)
  }

  /** For what may begin before everything is on disk: waits only where too much has gathered. */
  keepUp(): Promise<void> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost)
    let bytes = 0
    for (const blob of this.#blobs) bytes += blob.bytes.length
    return this.#records.length < gathered && bytes < gatheredBytes ? Promise.resolve() : this.durable()
  }

  /** Asked after the wait: a process may be stopped for longer than its lease between a commit and what follows it. */
  readonly #mayAct = (): void => {
    if (this.#o.lease.remaining() <= 0) this.#lost ??= expired(this.#o.lease)
    if (this.#lost !== undefined) throw this.#lost
  }

  /** Appends the last records of this incarnation together with posts and other streams' records. */
  async finish(
    draft: Draft,
    options: AppendOptions & { readonly others?: Parameters<Ledger['append']>[0] } = {},
  ): Promise<Entry> {
    const entry = this.enqueue(draft, options.blobs)
    this.#send(options)
    await this.#tail
    return entry
  }

  /**
   * Appends one record under conditions. When a guard refuses, nothing has happened and the run goes on.
   * @throws what the guards throw
   */
  async guarded(draft: Draft, guards: readonly Guard[]): Promise<Entry> {
    await this.durable()
    const before = this.#head
    const { record } = this.#seal(draft, [])
    try {
      this.#o.probe?.(`append.before:${draft.type}`)
      await this.#o.ledger.append([{ ref: this.#o.ref, epoch: this.#o.claim.epoch, records: [record] }], { guards })
      this.#o.probe?.(`append.after:${draft.type}`)
    } catch (error) {
      const refused = error as ConvokeError
      if (!['INBOX_ADVANCED', 'UNIQUE_TAKEN', 'COUNTER_EXCEEDED'].includes(refused.code)) this.#lost ??= refused
      throw error
    }
    if (this.#head !== before) throw new Error('a record was enqueued during a guarded append')
    this.#head = { seq: record.seq, hash: record.hash }
    return { record, payload: record.payload as JsonObject }
  }

  #seal(draft: Draft, blobs: readonly Blob[]): ReturnType<typeof seal> {
    const o = this.#o
    const named =
      blobs.length === 0
        ? draft
        : { ...draft, blobs: [...new Set([...(draft.blobs ?? []), ...blobs.map((b) => b.hash)])] }
    return seal(
      { ...named, payload: o.redact(draft.payload) },
      {
        tenant: o.ref.tenant,
        stream: o.ref.stream,
        epoch: o.claim.epoch,
        head: this.#head,
        at: Math.floor(o.clock.now()),
        salt: o.ids.salt(),
      },
    )
  }

  readonly #sent = (): void => {
    this.#underWay--
    this.flow()
  }

  readonly #refused = (error: unknown): never => {
    this.#lost ??= error as ConvokeError
    throw this.#lost
  }

  #send(options: AppendOptions & { readonly others?: Parameters<Ledger['append']>[0] }): void {
    if (this.#records.length === 0) return
    const records = this.#records
    const blobs = this.#blobs
    this.#records = none
    this.#blobs = none
    const { ledger, ref, claim, lease, probe } = this.#o
    const { others = none, ...more } = options
    const told = probe === undefined ? undefined : { probe, type: typeOf(records) }
    told?.probe(`append.before:${told.type}`)
    const sent =
      this.#lost !== undefined
        ? Promise.reject(this.#lost)
        : lease.remaining() <= 0
          ? Promise.reject(expired(lease))
          : ledger.append([{ ref, epoch: claim.epoch, records }, ...others], { ...more, blobs })
    const both = this.#underWay === 0 ? sent : Promise.all([this.#tail, sent])
    this.#underWay++
    const done = told && ((): void => (told.probe(`append.after:${told.type}`), this.#sent()))
    this.#tail = both.then(done ?? this.#sent, this.#refused)
    this.#tail.catch(ignore)
  }
}

/** A commit is known by the record that matters most in it: an intent, wherever it stands, else the first. */
function typeOf(records: readonly LedgerRecord[]): string {
  return (records.find((record) => record.critical) ?? (records[0] as LedgerRecord)).type
}

function expired(lease: Lease): ConvokeError {
  return new ConvokeError('LEASE_EXPIRED', `worker ${lease.worker} lost its lease before it could act`, {
    details: { worker: lease.worker },
    next: 'nothing: another worker goes on with its runs',
  })
}
