import { deepFreeze } from '../core/canonical.ts'
import { fromErrorData, type ConvokeError, type ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { joinLabels } from '../core/labels.ts'
import { Queue } from '../core/queue.ts'
import { SmallMap } from '../core/small-map.ts'
import { refOf, type LedgerRecord } from '../core/record.ts'
import type { InboxMessage } from '../ports/ledger.ts'
import { Asked } from './asked.ts'
import { Awaited } from './awaited.ts'
import { execute, orchestrate } from './begin.ts'
import type { Claim } from './claim.ts'
import { Claims, leave } from './claims.ts'
import { fits, mismatch, unclaimed } from './divergence.ts'
import type { EngineOptions } from './engine-options.ts'
import { corrected, endingOf, faultIn, immediately } from './finish.ts'
import { givenUp, Settlers } from './given-up.ts'
import { Mailbox } from './mailbox.ts'
import { Bell, Ending, Gate, patiently } from './pacing.ts'
import { Recorded } from './recorded.ts'
import { Rollbacks } from './rollback.ts'
import { Scope, type EngineHandle } from './scope.ts'
import type { Sequencer } from './sequencer.ts'
import { StepPromise } from './step-promise.ts'
import type { TaskHost } from './task.ts'
import { isTerminal, type Completion, type Entry, type Operation } from './types.ts'

/**
 * One driven run. Owns: the scopes, the claims, the order in which results reach workflow code.
 *
 * Invariants (R1, R3):
 * 1. One result is delivered at a time, in ledger order, and the next only when the code is at rest.
 * 2. No executor starts before every loaded record has been delivered or otherwise accounted for.
 * 3. A record at rest that nothing claims, or a claim whose fingerprint differs, stops the run before anything new starts.
 * 4. A delivered result is the decoded canonical text that was enqueued, live and on replay.
 * 5. Code that is given up stops where it is, as it does when the run parks: what it awaits never comes. Telling it with
 *    an error would reject promises that nobody holds any more, and one of those ends the process and every run in it.
 */
export class Engine implements EngineHandle, TaskHost {
  readonly o: EngineOptions
  readonly tenant: string
  readonly run: string
  readonly seed: string
  readonly root: Scope
  readonly claims: SmallMap<string, Claim> = new SmallMap()
  readonly rollbacks: Rollbacks = new Rollbacks()
  readonly ended: Ending = new Ending()
  /** Rings at the next claim, completion, message or loss. */
  readonly bell: Bell = new Bell()
  /** Closed while the run parks: no timer sets anything going. */
  readonly gate: Gate = new Gate()
  time: number
  cancelled: InboxMessage | undefined
  inboxRead = 0
  /** Whether something has happened since the code came to rest that may have set it, or what waits, going. */
  stirred = true
  stopped: Error | undefined

  #mailbox: Mailbox | undefined
  readonly #claims: Claims
  readonly #asked = new Asked()
  readonly #completed: Queue<Claim> = new Queue()
  readonly #awaited = new Awaited()
  readonly #recorded: Recorded
  readonly #settlers = new Settlers()
  /** Where compensations run: never given up. */
  #undoing: Scope | undefined
  #delivered = 0
  #computes = false
  #onCancel: (() => void) | undefined

  constructor(options: EngineOptions) {
    this.o = options
    this.tenant = options.ref.tenant
    this.run = options.run
    this.seed = options.seed
    this.#claims = new Claims(options.keyed)
    this.#recorded = new Recorded(options.history)
    this.time = options.history[0]?.record.at ?? 0
    this.root = new Scope(this, '', undefined).given(options.history)
  }

  get replaying(): boolean {
    return this.#recorded.next !== undefined
  }
  /** Whether recorded steps are being delivered, or what was last done here only computes. */
  get hurries(): boolean {
    return this.#computes || this.replaying
  }
  /** Whether there is more of that to do at once: the next record's step has been asked for, or a computation. */
  get ready(): boolean {
    const recorded = this.#recorded.next
    if (recorded !== undefined) return recorded.record.path !== undefined && this.claims.has(recorded.record.path)
    return (this.#asked.first ?? this.#completed.first)?.operation.pure === true
  }
  get mailbox(): Mailbox {
    return (this.#mailbox ??= new Mailbox())
  }
  get sequencer(): Sequencer {
    return this.o.sequencer
  }

  // ---- what workflow code calls -------------------------------------------------------------------------------------

  claim(scope: Scope, operation: Operation): StepPromise<unknown> {
    if (scope.dead) return StepPromise.never()
    const claim = this.#claims.make(scope, operation)
    const { path, promise } = claim
    this.claims.set(path, claim)
    if (operation.orchestrate !== undefined && !this.#recorded.closes(path) && !this.#reusable(claim))
      orchestrate(this, claim)
    else this.#asked.add(claim)
    this.ring()
    return promise
  }

  abandon(scope: Scope, reason: unknown): void {
    scope.kill(reason)
    for (const claim of [...this.claims.values()]) {
      if (!claim.scope.dead || claim.state === 'delivered') continue
      claim.promise.observed = true
      if (claim.operation.effect !== true) {
        this.#remove(claim)
        for (const message of claim.taken.splice(0)) this.mailbox.put(message)
      } else if (claim.state === 'claimed' && !this.replaying && claim.history.length === 0)
        this.complete(claim, { error: givenUp(claim.scope).toJSON() })
    }
    this.ring()
  }

  /** Resolves when nothing that may have acted outside is pending in a given-up scope. */
  settled(scope: Scope): Promise<void> {
    return this.#settlers.wait(scope, this.claims)
  }

  rollback(scope: Scope): Promise<void> {
    return this.rollbacks.take(scope, (operation) =>
      this.claim((this.#undoing ??= new Scope(this, '', undefined)), operation),
    )
  }

  stop(error: Error): void {
    this.stopped ??= error
    this.ring()
  }

  live(scope: Scope, type: string, data: Json): void {
    if (!this.replaying) this.o.live?.publish({ tenant: this.tenant, run: this.run, path: scope.path, type, data })
  }

  watched<T>(scope: Scope, name: string, promise: Promise<T>): StepPromise<T> {
    return this.#awaited.watch(scope, name, promise)
  }

  onCancel(listener: () => void): void {
    this.#onCancel = listener
    if (this.cancelled !== undefined) listener()
  }

  // ---- the loop's parts ---------------------------------------------------------------------------------------------

  /** Delivers loaded records until one needs the code to come to rest first. True while there is more to do. */
  async replayNext(finished: () => boolean): Promise<boolean> {
    for (let entry = this.#recorded.next; entry !== undefined; entry = this.#recorded.next) {
      const found = this.#process(entry)
      if (found === 'unclaimed') {
        const path = entry.record.path as string
        // Code that awaits something of its own (a native promise from a thread pool) may claim a little later.
        if (
          await patiently(
            this.o.clock,
            () => this.claims.has(path),
            () => this.stopped !== undefined,
          )
        )
          continue
        throw unclaimed(entry, this.claims.values(), finished())
      }
      this.#recorded.advance()
      if (found === 'delivered') return true
    }
    return false
  }

  /** Starts or finishes one thing; true when the code must come to rest before the next. Live only. */
  liveNext(starting: boolean): 'delivered' | 'progress' | 'nothing' {
    const claim = this.#asked.next()
    this.#computes = (claim ?? this.#completed.first)?.operation.pure === true
    if (claim !== undefined) {
      const op = claim.operation
      const at = { path: claim.path, now: this.time }
      const done = op.immediate === undefined ? this.#reusable(claim) : immediately(op, at)
      if (done !== undefined) {
        claim.completion = done
        this.#finish(claim)
        return 'delivered'
      }
      if (!starting) {
        this.#asked.putBack(claim)
        return this.#finishNext()
      }
      execute(this, claim)
      return 'progress'
    }
    return this.#finishNext()
  }

  #finishNext(): 'delivered' | 'nothing' {
    const claim = this.#completed.shift()
    if (claim?.state === 'completed') this.#finish(claim)
    return claim === undefined ? 'nothing' : 'delivered'
  }

  get busy(): boolean {
    return this.#asked.any || this.#completed.length > 0
  }

  /** Paths that were asked for and never awaited. */
  unawaited(): string[] {
    const pending = [...this.claims.values()].filter((c) => !c.scope.dead && c.scope !== this.#undoing)
    return [...pending.map((c) => c.path), ...this.#awaited.unobserved()]
  }

  complete(claim: Claim, completion: Completion): void {
    if (claim.state === 'delivered' || claim.state === 'completed') return
    const code = completion.error?.code
    // What ends because the run is stopped has not failed; of an incarnation that ends, only what acted outside counts.
    if (code !== undefined && code === (this.stopped as ConvokeError | undefined)?.code) return
    if (this.ended.over && (claim.operation.effect !== true || code === 'INTERRUPTED')) return
    claim.completion = completion
    claim.state = 'completed'
    claim.waits.length = 0
    this.#completed.push(claim)
    // Code that claims steps itself has come to its end, perhaps beside other code that goes on; an executor has not.
    if (claim.operation.orchestrate !== undefined) this.stirred = true
    this.bell.ring()
  }

  /** Takes a message that was copied into this run, or into the ancestor it shares records with. */
  receive(record: LedgerRecord, inboxSeq: number, message: InboxMessage): void {
    if (record.stream === this.o.ref.stream) this.inboxRead = Math.max(this.inboxRead, inboxSeq)
    if (message.type === 'run.cancel') {
      if (this.cancelled !== undefined) return
      this.cancelled = message
      this.time = record.at
      this.#onCancel?.()
    } else this.mailbox.put({ ref: refOf(record), inboxSeq, message, labels: record.labels })
    this.ring()
  }

  ring(): void {
    this.stirred = true
    this.bell.ring()
  }

  pass(act: () => void): void {
    this.gate.pass(act)
  }

  // ---- inside -------------------------------------------------------------------------------------------------------

  #reusable(claim: Claim): Completion | undefined {
    if (claim.history.length > 0 || claim.operation.path !== undefined || this.#recorded.opens(claim.path))
      return undefined
    return this.o.reuse?.(claim)
  }

  #process(entry: Entry): 'delivered' | 'consumed' | 'unclaimed' {
    const { record } = entry
    if (record.path === undefined) {
      if (record.type !== 'inbox.received') return 'consumed'
      const before = this.cancelled
      this.receive(record, entry.payload['inbox'] as number, entry.payload['message'] as unknown as InboxMessage)
      return before === this.cancelled ? 'consumed' : 'delivered'
    }
    if (this.#recorded.folds(record.path)) return 'consumed'
    const claim = this.claims.get(record.path)
    if (claim === undefined) return 'unclaimed'
    if (!fits(entry, claim)) throw mismatch(entry, claim)
    const taken = entry.payload['inbox'] // Also a step that goes on must not get a message twice.
    if (typeof taken === 'number') this.mailbox.takeRecorded(record, taken)
    if (!isTerminal(entry)) {
      claim.history.push(entry)
      return 'consumed'
    }
    this.#deliver(claim, entry)
    return 'delivered'
  }

  /** Makes a completion the record that ends the step, and delivers it. */
  #finish(claim: Claim): void {
    const completion = claim.completion as Completion
    const { sequencer, actor } = this.o
    let entry: Entry
    try {
      const ending = endingOf(claim, completion, completion.error, actor)
      entry = sequencer.completed(ending, completion.blobs, claim.operation.pure)
    } catch (refused) {
      const fault = faultIn(completion.value)
      if (fault === undefined) throw refused
      entry = sequencer.enqueue(endingOf(claim, completion, fault, actor), completion.blobs)
    }
    const taken = completion.extra?.['inbox']
    if (typeof taken === 'number') this.mailbox.takeRecorded(entry.record, taken)
    this.#deliver(claim, entry)
  }

  #deliver(claim: Claim, loaded: Entry): void {
    const { entry, source } = corrected(loaded, this.o.supersede?.get(claim.path))
    const { record, payload } = entry
    const op = claim.operation
    const origin = { ref: refOf(source), labels: source.labels }
    this.#remove(claim)
    this.stirred = true
    this.time = record.at
    claim.scope.finished(origin.ref, joinLabels([origin.labels, claim.highWater]), claim.builtOn)
    const failed = payload['error'] as unknown as ErrorData | undefined
    if (failed !== undefined) {
      op.applied?.(entry)
      if (!claim.scope.dead) claim.reject(fromErrorData(failed))
    } else {
      op.applied?.(entry)
      const stored = deepFreeze(payload['value'])
      const value = op.present === undefined ? stored : op.present(stored, entry)
      this.#claims.register(stored, origin)
      if (value !== stored) this.#claims.register(value, origin)
      const undo = op.undo?.(value)
      const order = ++this.#delivered
      if (undo !== undefined)
        claim.scope.responsible.compensations.push({ path: claim.path, operation: undo, ref: origin.ref, order })
      if (!claim.scope.dead) claim.resolve(value)
    }
    this.#awaited.note(claim.scope, claim.path, claim.promise)
  }

  #remove(claim: Claim): void {
    claim.state = 'delivered'
    claim.waits.length = 0
    this.claims.delete(claim.path)
    this.#asked.delivered(claim)
    this.#free(claim)
    this.#settlers.check(this.claims)
  }

  #free(claim: Claim): void {
    if (claim.operation.path === undefined) leave(claim.scope, claim.key)
  }
}
