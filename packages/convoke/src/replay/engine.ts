import { deepFreeze } from '../core/canonical.ts'
import { ConvokeError, fromErrorData, isConvokeError, toErrorData, type ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { joinPath } from '../core/path.ts'
import { refOf, type Actor, type LedgerRecord } from '../core/record.ts'
import type { InboxMessage, StreamRef } from '../ports/ledger.ts'
import type { Clock, Live } from '../ports/runtime.ts'
import type { Claim } from './claim.ts'
import { Claims, enter, leave } from './claims.ts'
import { fits, mismatch, unclaimed } from './divergence.ts'
import { endingOf } from './finish.ts'
import { givenUp, Settlers } from './given-up.ts'
import type { Superseded } from './history.ts'
import { Mailbox } from './mailbox.ts'
import { Scope, type EngineHandle } from './scope.ts'
import type { Sequencer } from './sequencer.ts'
import { StepPromise } from './step-promise.ts'
import { makeTask, type TaskHost } from './task.ts'
import { isTerminal, type Completion, type Entry, type Operation } from './types.ts'

export interface EngineOptions {
  readonly ref: StreamRef
  readonly run: string
  readonly sequencer: Sequencer
  readonly history: readonly Entry[]
  readonly clock: Clock
  readonly live?: Live | undefined
  /** Keyed hash of the tenant. */
  readonly keyed: (text: string) => string
  readonly seed: string
  readonly actor: Actor
  /** A finished step of an ancestor that may stand for this one (R9); undefined to execute. */
  readonly reuse?: ((claim: Claim) => Completion | undefined) | undefined
  /** Results that a fork's maker replaced, by path. */
  readonly supersede?: ReadonlyMap<string, Superseded> | undefined
}

const graceMs = 500

/**
 * One driven run. Owns: the scopes, the claims, the order in which results reach workflow code.
 *
 * Invariants (R1, R3):
 * 1. One result is delivered at a time, in ledger order, and the next only when the code is at rest.
 * 2. No executor starts before every loaded record has been delivered or otherwise accounted for.
 * 3. A record at rest that nothing claims, or a claim whose fingerprint differs, stops the run before anything new starts.
 * 4. A delivered result is the decoded canonical text that was enqueued, live and on replay.
 */
export class Engine implements EngineHandle, TaskHost {
  readonly o: EngineOptions
  readonly root: Scope
  /** Where compensations run: never given up. */
  readonly undoScope: Scope
  readonly mailbox: Mailbox = new Mailbox()
  readonly claims: Map<string, Claim> = new Map()
  readonly ended: AbortController = new AbortController()
  time: number
  cancelled: InboxMessage | undefined
  inboxRead = 0
  stopped: Error | undefined

  readonly #claims: Claims
  readonly #fresh: Claim[] = []
  readonly #completed: Claim[] = []
  readonly #suspects: { readonly scope: Scope; readonly path: string; readonly promise: StepPromise<unknown> }[] = []
  readonly #closed = new Set<string>()
  readonly #opened = new Set<string>()
  readonly #settlers = new Settlers()
  #undoing: Promise<void> = Promise.resolve()
  #delivered = 0
  #held: (() => void)[] | undefined
  #cursor = 0
  #bell: (() => void) | undefined
  #rung = false
  #onCancel: (() => void) | undefined

  constructor(options: EngineOptions) {
    this.o = options
    this.#claims = new Claims(options.keyed)
    this.time = options.history[0]?.record.at ?? 0
    this.root = new Scope(this, '', undefined)
    this.undoScope = new Scope(this, '', undefined)
    for (const entry of options.history) {
      if (entry.record.fold !== undefined) this.#opened.add(entry.record.fold)
      if (entry.payload['fold'] === true && isTerminal(entry)) this.#closed.add(entry.record.path as string)
    }
  }

  get tenant(): string {
    return this.o.ref.tenant
  }
  get run(): string {
    return this.o.run
  }
  get seed(): string {
    return this.o.seed
  }
  get replaying(): boolean {
    return this.#cursor < this.o.history.length
  }
  get sequencer(): Sequencer {
    return this.o.sequencer
  }

  // ---- what workflow code calls -------------------------------------------------------------------------------------

  claim(scope: Scope, operation: Operation): StepPromise<unknown> {
    const claim = this.#claims.make(scope, operation)
    const { path, promise } = claim
    if (scope.dead) {
      this.#free(claim)
      claim.reject(givenUp(scope))
      return promise
    }
    this.claims.set(path, claim)
    if (operation.orchestrate !== undefined && !this.#closed.has(path) && !this.#reusable(claim))
      this.#orchestrate(claim)
    else this.#fresh.push(claim)
    this.ring()
    return promise
  }

  abandon(scope: Scope, reason: unknown): void {
    scope.kill(reason)
    for (const claim of [...this.claims.values()]) {
      if (!claim.scope.dead || claim.state === 'delivered') continue
      claim.reject(givenUp(claim.scope))
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
    return this.#settlers.wait(scope, this.claims.values())
  }

  rollback(scope: Scope): Promise<void> {
    // One at a time: a run that ends while an attempt takes back waits for it.
    const done = this.#undoing.then(() => this.#takeBack(scope))
    this.#undoing = done.catch(() => undefined)
    return done
  }

  async #takeBack(scope: Scope): Promise<void> {
    const failed: string[] = []
    const lastFirst = scope.compensations.splice(0).sort((a, b) => b.order - a.order)
    for (const { path, operation, ref } of lastFirst) {
      const causes = [...(operation.causes ?? []), { ref, kind: 'control' as const }]
      try {
        await this.claim(this.undoScope, { ...operation, path: `${path}~undo`, causes })
      } catch (error) {
        failed.push(`${path}: ${toErrorData(error).message}`)
      }
    }
    if (failed.length > 0)
      throw new ConvokeError(
        'COMPENSATION_FAILED',
        `${failed.length} of the scope's effects could not be taken back: ${failed.join('; ')}`,
        {
          details: { failed },
          next: 'take them back by hand, then note it with convoke why',
        },
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
    const watched = new StepPromise<T>((resolve, reject) => void promise.then(resolve, reject))
    StepPromise.quiet(watched)
    this.#suspects.push({ scope, path: joinPath(scope.path, name, 1), promise: watched })
    return watched
  }

  settledStep(value: unknown): StepPromise<unknown> {
    return new StepPromise((resolve) => resolve(value))
  }

  onCancel(listener: () => void): void {
    this.#onCancel = listener
    if (this.cancelled !== undefined) listener()
  }

  // ---- the loop's parts ---------------------------------------------------------------------------------------------

  /** Delivers loaded records until one needs the code to come to rest first. True while there is more to do. */
  async replayNext(finished: () => boolean): Promise<boolean> {
    while (this.#cursor < this.o.history.length) {
      const entry = this.o.history[this.#cursor] as Entry
      const found = this.#process(entry)
      if (found === 'unclaimed') {
        if (await this.#grace(entry.record.path as string)) continue
        throw unclaimed(entry, this.claims.values(), finished())
      }
      this.#cursor++
      if (found === 'delivered') return true
    }
    return false
  }

  /** Starts or finishes one thing; true when the code must come to rest before the next. Live only. */
  liveNext(starting: boolean): 'delivered' | 'progress' | 'nothing' {
    const claim = this.#fresh.shift()
    if (claim !== undefined) {
      if (claim.state !== 'claimed') return 'progress'
      const op = claim.operation
      if (op.immediate !== undefined) {
        claim.completion = attempt(() => op.immediate?.({ path: claim.path, now: this.time }) ?? {})
        this.#finish(claim)
        return 'delivered'
      }
      const reused = this.#reusable(claim)
      if (reused !== undefined) {
        claim.completion = reused
        this.#finish(claim)
        return 'delivered'
      }
      if (!starting) {
        this.#fresh.unshift(claim)
        return this.#finishNext()
      }
      this.#start(claim)
      return 'progress'
    }
    return this.#finishNext()
  }

  #finishNext(): 'delivered' | 'nothing' {
    const claim = this.#completed.shift()
    if (claim === undefined) return 'nothing'
    if (claim.state === 'completed') this.#finish(claim)
    return 'delivered'
  }

  get busy(): boolean {
    return this.#fresh.length > 0 || this.#completed.length > 0
  }

  /** Paths that were asked for and never awaited. */
  unawaited(): string[] {
    const pending = [...this.claims.values()].filter((c) => !c.scope.dead).map((c) => c.path)
    return [...pending, ...this.#suspects.filter((s) => !s.promise.observed && !s.scope.dead).map((s) => s.path)]
  }

  complete(claim: Claim, completion: Completion): void {
    if (claim.state === 'delivered' || claim.state === 'completed') return
    // Once this incarnation is ending, only what acted outside may still be written down.
    if (this.ended.signal.aborted && (claim.operation.effect !== true || completion.error?.code === 'INTERRUPTED'))
      return
    claim.completion = completion
    claim.state = 'completed'
    claim.waits.clear()
    this.#completed.push(claim)
    this.ring()
  }

  /** Holds timers back, so that nothing begins while the run parks. */
  freeze(): void {
    this.#held ??= []
  }

  thaw(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const act of held) act()
  }

  pass(act: () => void): void {
    if (this.#held === undefined) act()
    else this.#held.push(act)
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
    this.#rung = true
    this.#bell?.()
  }

  /** Resolves at the next claim, completion, message or loss since the last call. */
  async nextEvent(): Promise<void> {
    if (!this.#rung)
      await new Promise<void>((resolve) => {
        this.#bell = resolve
      })
    this.#bell = undefined
    this.#rung = false
  }

  // ---- inside -------------------------------------------------------------------------------------------------------

  enter(scope: Scope, name: string): number {
    return enter(scope, name)
  }

  leave(scope: Scope, name: string): void {
    leave(scope, name)
  }

  #reusable(claim: Claim): Completion | undefined {
    if (claim.history.length > 0 || claim.operation.path !== undefined || this.#opened.has(claim.path)) return undefined
    return this.o.reuse?.(claim)
  }

  #orchestrate(claim: Claim): void {
    const inner = new Scope(this, claim.path, claim.scope, { fold: claim.operation.fold === true, tracksReads: true })
    claim.inner = inner
    claim.state = 'started'
    const code = async (): Promise<Completion> =>
      (claim.operation.orchestrate as NonNullable<Operation['orchestrate']>)(inner, makeTask(this, claim))
    void code().then(
      (completion) => this.complete(claim, { ...(inner.reads?.length ? { reads: inner.reads } : {}), ...completion }),
      (error: unknown) => this.complete(claim, { error: toErrorData(error) }),
    )
  }

  #start(claim: Claim): void {
    claim.state = 'started'
    if (claim.scope.dead && claim.history.length === 0) {
      this.complete(claim, { error: givenUp(claim.scope).toJSON() })
      return
    }
    if (claim.operation.execute === undefined) {
      // An orchestrating step that history had closed is delivered from there; anything else without an executor is a bug.
      this.stop(new ConvokeError('DEFINITION_INVALID', `step ${claim.path} has nothing to execute`))
      return
    }
    claim.operation.execute(makeTask(this, claim)).then(
      (completion) => this.complete(claim, completion),
      (error: unknown) => this.complete(claim, { error: toErrorData(error) }),
    )
  }

  #process(entry: Entry): 'delivered' | 'consumed' | 'unclaimed' {
    const { record } = entry
    if (record.path === undefined) {
      if (record.type !== 'inbox.received') return 'consumed'
      const before = this.cancelled
      this.receive(record, entry.payload['inbox'] as number, entry.payload['message'] as unknown as InboxMessage)
      return before === this.cancelled ? 'consumed' : 'delivered'
    }
    if (this.#folded(record.path)) return 'consumed'
    const claim = this.claims.get(record.path)
    if (claim === undefined) return 'unclaimed'
    if (!fits(entry, claim)) throw mismatch(entry, claim)
    if (!isTerminal(entry)) {
      claim.history.push(entry)
      return 'consumed'
    }
    const taken = entry.payload['inbox']
    if (typeof taken === 'number') this.mailbox.takeRecorded(record, taken)
    this.#deliver(claim, entry)
    return 'delivered'
  }

  #folded(path: string): boolean {
    if (this.#closed.size === 0) return false
    for (let cut = path.lastIndexOf('/'); cut > 0; cut = path.lastIndexOf('/', cut - 1))
      if (this.#closed.has(path.slice(0, cut))) return true
    return false
  }

  /** Makes a completion the record that ends the step, and delivers it. */
  #finish(claim: Claim): void {
    const completion = claim.completion as Completion
    const { sequencer, actor } = this.o
    let entry: Entry
    try {
      entry = sequencer.enqueue(endingOf(claim, completion, completion.error, actor), completion.blobs)
    } catch (refused) {
      if (!isConvokeError(refused, 'NOT_CANONICAL')) throw refused
      entry = sequencer.enqueue(endingOf(claim, completion, toErrorData(refused), actor), completion.blobs)
    }
    const taken = completion.extra?.['inbox']
    if (typeof taken === 'number') this.mailbox.takeRecorded(entry.record, taken)
    this.#deliver(claim, entry)
  }

  #deliver(claim: Claim, loaded: Entry): void {
    const replaced = this.o.supersede?.get(claim.path)
    const entry =
      replaced === undefined || loaded.payload['error'] !== undefined
        ? loaded
        : { ...loaded, payload: { ...loaded.payload, value: replaced.value } }
    const { record, payload } = entry
    const op = claim.operation
    const source = replaced === undefined ? record : replaced.entry.record
    const origin = { ref: refOf(source), labels: source.labels }
    this.#remove(claim)
    this.time = record.at
    claim.scope.finished(origin.ref, origin.labels, claim.builtOn)
    const failed = payload['error'] as unknown as ErrorData | undefined
    if (failed !== undefined) {
      op.applied?.(entry)
      claim.reject(fromErrorData(failed))
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
      claim.resolve(value)
    }
    if (!claim.promise.observed) this.#suspects.push({ scope: claim.scope, path: claim.path, promise: claim.promise })
  }

  #remove(claim: Claim): void {
    claim.state = 'delivered'
    claim.waits.clear()
    this.claims.delete(claim.path)
    this.#free(claim)
    this.#settlers.check(this.claims.values())
  }

  #free(claim: Claim): void {
    if (claim.operation.path === undefined) leave(claim.scope, claim.key)
  }

  /** Code that awaits something of its own (a native promise from a thread pool) may claim a little later. */
  async #grace(path: string): Promise<boolean> {
    const until = this.o.clock.monotonic() + graceMs
    while (this.o.clock.monotonic() < until) {
      await new Promise<void>((resolve) => setTimeout(resolve, 5))
      if (this.claims.has(path)) return true
      if (this.stopped !== undefined) return false
    }
    return false
  }
}

function attempt(work: () => Completion): Completion {
  try {
    return work()
  } catch (error) {
    return { error: toErrorData(error) }
  }
}
