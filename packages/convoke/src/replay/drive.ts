import { ConvokeError, errorJson, isConvokeError, toErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { joinLabels, type Labels } from '../core/labels.ts'
import { inboxStream, runIdOf } from '../core/projections.ts'
import type { Actor, Draft } from '../core/record.ts'
import type { Claimed } from '../ports/dispatcher.ts'
import type { StreamRef } from '../ports/ledger.ts'
import { changed } from './divergence.ts'
import { Engine } from './engine.ts'
import { giveBack } from './give-back.ts'
import { childDone, unknownWorkflow } from './children.ts'
import { codeOf, historyAtHand, loadHistory, type History } from './history.ts'
import { openInbox, type Inbox } from './inbox.ts'
import { waitingFor, type Summary } from './mailbox.ts'
import { outcomeOf, why, type End, type Successor } from './outcome.ts'
import { lastInLine } from './pacing.ts'
import { Pace, type Resting } from './rest.ts'
import { reuseFrom } from './reuse.ts'
import type { Driven, Runtime } from './runtime.ts'
import { Sequencer } from './sequencer.ts'
import { successorOf } from './start.ts'
import { settleActing, stopByOrder } from './stopping.ts'
import { keyedBy } from './tenant-key.ts'
import { actorOf, type AnyWorkflow } from './workflow.ts'

export type DriveResult = 'done' | 'parked' | 'lost'

/** Timers nearer than this are waited for in memory. */
const holdMs = 20
const settleMs = 5_000
/** An order to stop is obeyed within five seconds; it takes one to be read. */
const haltMs = 3_000

/** One for all: taking a stack costs more than all the rest of a run's end, and nobody asks for this one's. */
const letGo = new ConvokeError('INTERRUPTED', 'this worker no longer drives the run')

/** Drives a run until it is done, parked, or belongs to another; claims it unless this worker has. Never rejects. */
export async function drive(
  runtime: Runtime,
  ref: StreamRef,
  signal: AbortSignal,
  claimed?: Claimed,
): Promise<DriveResult> {
  const incarnation = new Drive(runtime, ref, signal)
  try {
    return await incarnation.run(claimed)
  } catch (thrown) {
    const error = (await incarnation.disproof()) ?? thrown
    const known =
      error instanceof ConvokeError
        ? error
        : new ConvokeError('RUN_FAILED', toErrorData(error).message, { cause: error })
    if (!isConvokeError(error, 'RUN_OWNED')) runtime.onTrouble?.(ref, known)
    await incarnation.letGo()
    return 'lost'
  }
}

/** One incarnation of a run in this process. Owns the engine and sequencer it makes; leaves nothing behind. */
class Drive implements Resting {
  readonly #rt: Runtime
  readonly #ref: StreamRef
  readonly #signal: AbortSignal
  readonly #runId: string
  #engine!: Engine
  #sequencer!: Sequencer
  #history!: History
  #inbox!: Inbox
  #end: End | undefined
  #crashed: Error | undefined
  #epoch = 0
  /** Whether the inbox has to be looked into before the run goes on. */
  #unread = true

  constructor(runtime: Runtime, ref: StreamRef, signal: AbortSignal) {
    this.#rt = runtime
    this.#ref = ref
    this.#signal = signal
    this.#runId = runIdOf(ref.stream)
  }

  async run(claimed: Claimed | undefined): Promise<DriveResult> {
    const { ledger, clock } = this.#rt
    const { worker } = this.#rt.lease
    const claim = claimed?.worker === worker ? claimed : await ledger.claim(this.#ref, worker)
    this.#epoch = claim.epoch
    const fresh = this.#rt.begun?.get(this.#ref, claim)
    const history = (this.#history =
      fresh === undefined
        ? await loadHistory(ledger, this.#ref.tenant, this.#runId)
        : await historyAtHand(fresh.records, ledger, this.#ref.tenant, this.#runId))
    if (/^run\.(completed|failed|cancelled|continued)$/.test(history.last.record.type)) {
      await history.proved
      return this.#release('done')
    }
    await lastInLine(this.#rt, claim.epoch - history.last.record.epoch - 1, this.#signal)
    const started = history.started.payload
    const name = started['workflow'] as string
    const workflow = this.#rt.workflows.get(name)
    if (workflow === undefined) throw unknownWorkflow(name, this.#runId)
    const keyed = await keyedBy(ledger, this.#ref.tenant)
    this.#sequencer = new Sequencer({
      ledger,
      ref: this.#ref,
      claim,
      lease: this.#rt.lease,
      clock,
      ids: this.#rt.ids,
      redact: this.#rt.redact,
      probe: this.#rt.probe,
    })
    this.#engine = new Engine({
      ref: this.#ref,
      run: this.#runId,
      sequencer: this.#sequencer,
      history: history.entries,
      clock,
      live: this.#rt.live,
      keyed,
      seed: started['seed'] as string,
      actor: actorOf(workflow),
      reuse: reuseFrom(history),
      supersede: history.supersede,
    })
    const ring = (): void => this.#engine.ring()
    this.#signal.addEventListener('abort', ring)
    this.#inbox = openInbox(this.#rt, this.#engine, history)
    // From here on the inbox hears of changes itself.
    this.#unread = fresh?.touched ?? true
    this.#rt.begun?.drop(this.#ref)
    const unwatch = await this.#rt.supervise?.(this.#ref, (error) => this.#engine.stop(error))
    try {
      void this.#code(workflow, { runtime: this.#rt, tenant: this.#ref.tenant, run: this.#runId, keyed, history })
      return await this.#loop(workflow)
    } finally {
      unwatch?.()
      this.#inbox.stop()
      this.#signal.removeEventListener('abort', ring)
      this.#engine.ended.abort(letGo)
    }
  }

  // ---- how it rests -------------------------------------------------------------------------------------------------

  get hurries(): boolean {
    return this.#engine.hurries
  }
  get ready(): boolean {
    return this.#engine.ready || (this.#end !== undefined && !this.#engine.replaying)
  }
  yields(): void {
    this.#sequencer.flow()
  }

  // ---- workflow code ------------------------------------------------------------------------------------------------

  async #code(workflow: AnyWorkflow, driven: Driven): Promise<void> {
    const engine = this.#engine
    try {
      this.#end = await outcomeOf(workflow, driven, this.#engine)
    } catch (error) {
      this.#crashed = error as Error
    }
    engine.ring()
  }

  // ---- the loop -----------------------------------------------------------------------------------------------------

  async #loop(workflow: AnyWorkflow): Promise<DriveResult> {
    const engine = this.#engine
    const pace = new Pace(this.#rt.clock)
    let live = false
    for (;;) {
      // What was begun or is done has given the code nothing yet: then it rests as it did before.
      if (engine.stirred || engine.hurries) {
        await pace.rest(this)
        engine.stirred = false
      }
      if (this.#crashed !== undefined) throw this.#crashed
      if (this.#sequencer.lost !== undefined) throw this.#sequencer.lost
      try {
        if (engine.stopped !== undefined) throw engine.stopped
        if (engine.replaying && (await engine.replayNext(() => this.#end !== undefined))) continue
      } catch (error) {
        return await this.#stop(workflow, error)
      }
      if (!live) {
        await this.#history.proved
        live = true
        if (/^run\.(parked|stopped)$/.test(this.#history.last.record.type))
          this.#sequencer.enqueue(this.#draft('run.resumed', {}))
        this.#adopt(workflow)
        if (this.#unread && (await this.#inbox.read())) continue
      }
      if (this.#signal.aborted) return await this.#interrupt()
      if (this.#inbox.changed() && (await this.#inbox.read())) continue
      if (engine.liveNext(true) !== 'nothing') continue
      if (this.#end !== undefined) return await this.#finish(this.#end)
      const waiting = engine.busy ? undefined : waitingFor(engine.claims.values())
      if (waiting !== undefined && (waiting.next === undefined || waiting.next - this.#rt.clock.now() >= holdMs)) {
        if (await this.#park(waiting)) return 'parked'
        continue
      }
      if (this.#sequencer.dirty) this.#sequencer.durable().catch(() => engine.ring())
      await engine.bell.next()
    }
  }

  /** Newer code may go on with a run once all of its records have been replayed without a difference (R8). */
  #adopt(workflow: AnyWorkflow): void {
    const was = codeOf(this.#history)
    if (was['digest'] === workflow.digest && was['version'] === workflow.version) return
    this.#sequencer.enqueue(
      this.#draft('run.adopted', {
        digest: workflow.digest,
        version: workflow.version,
        from: { digest: was['digest'] as Json, version: was['version'] as Json },
      }),
    )
  }

  async #stop(workflow: AnyWorkflow, error: unknown): Promise<DriveResult> {
    // What is not what was written is no reason to say anything about the code.
    await this.#history.proved
    const was = codeOf(this.#history)
    const diverged = error as ConvokeError
    const reason =
      diverged.code === 'REPLAY_DIVERGED' && was['digest'] !== workflow.digest
        ? changed(diverged, was['digest'] as string, workflow.digest)
        : diverged
    const data = toErrorData(reason, 'RUN_FAILED')
    const halted = diverged.code === 'RUN_HALTED'
    this.#engine.ended.abort(reason)
    if (halted && !this.#engine.replaying) await settleActing(this.#engine, this.#rt.clock, haltMs)
    // A code that cannot follow the records cannot take anything back either; a person may still end the run.
    const cancel = (await this.#inbox.pending()).messages.find((message) => message.type === 'run.cancel')
    if (cancel !== undefined) {
      const message = `run ${this.#runId} was cancelled${why(cancel)}; it was stopped, so nothing was taken back`
      const error = { code: 'RUN_CANCELLED', message, details: { stopped: errorJson(data) } }
      const causes = [{ ref: cancel.id, kind: 'input' as const }]
      await this.#sequencer.finish({ ...this.#draft('run.cancelled', { error }), causes, critical: true })
      return this.#release('done')
    }
    // Always a new record, also for the same reason again: it says that what woke the run has been dealt with.
    const stopped = this.#draft('run.stopped', errorJson(data) as JsonObject)
    if (!halted) await this.#sequencer.finish(stopped)
    else if (!(await stopByOrder(this.#sequencer, this.#inbox, data.details?.['halt'], stopped)))
      return this.#release('parked')
    this.#rt.onTrouble?.(this.#ref, reason)
    return this.#release('parked')
  }

  /** Asked to stop: what acted outside is settled, everything else is left for the next to do again. */
  async #interrupt(): Promise<DriveResult> {
    const engine = this.#engine
    engine.ended.abort(new ConvokeError('INTERRUPTED', 'this worker was asked to stop'))
    await settleActing(engine, this.#rt.clock, settleMs)
    await this.#sequencer.durable()
    return this.#release('parked')
  }

  async #finish(end: End): Promise<DriveResult> {
    const engine = this.#engine
    const started = this.#history.started.payload
    const labels = joinLabels(engine.root.frontier.values())
    const causes = [...engine.root.frontier.keys()].map((ref) => ({ ref, kind: 'control' as const }))
    const parent = started['parent'] as string | undefined
    const draft = { ...this.#draft(end.type, end.payload, labels), causes, critical: true }
    if (end.type === 'run.continued') return this.#continue(draft, end.next)
    const posts =
      parent === undefined
        ? []
        : [
            {
              ref: { tenant: this.#ref.tenant, stream: inboxStream(parent) },
              message: childDone(this.#runId, this.#history, {
                at: this.#rt.clock.now(),
                actor: engine.o.actor,
                labels,
                payload: end.payload,
              }),
            },
          ]
    return this.#done(draft, { posts })
  }

  async #done(draft: Draft, more: Parameters<Sequencer['finish']>[1]): Promise<DriveResult> {
    const last = await this.#sequencer.finish(draft, more)
    this.#rt.onEnded?.(this.#ref, last)
    return this.#release('done')
  }

  async #continue(draft: Draft, next: Successor): Promise<DriveResult> {
    const began = { tenant: this.#ref.tenant, run: this.#runId, started: this.#history.started.payload }
    const { run, append, blobs } = successorOf(began, next, draft, this.#rt)
    return this.#done({ ...draft, payload: { next: run } }, { others: [append], blobs })
  }

  // ---- parking and the inbox ----------------------------------------------------------------------------------------

  /** False when something came in meanwhile. */
  async #park({ kind, next }: Summary): Promise<boolean> {
    const engine = this.#engine
    // From here on no timer may set an executor going: once the run is parked, it belongs to whoever wakes it.
    engine.gate.close()
    await this.#sequencer.durable()
    try {
      await this.#sequencer.guarded(
        this.#draft('run.parked', {
          kind,
          ...(next === undefined ? {} : { next: Math.ceil(next) }),
          inboxRead: engine.inboxRead,
        }),
        [{ kind: 'inbox', ref: this.#inbox.ref, seq: engine.inboxRead }],
      )
    } catch (error) {
      if (!isConvokeError(error, 'INBOX_ADVANCED')) throw error
      engine.gate.open()
      await this.#inbox.read()
      return false
    }
    await this.#release('parked')
    return true
  }

  #draft(type: string, payload: JsonObject, labels?: Labels): Draft {
    const actor: Actor = this.#engine.o.actor
    return { type, actor, labels: labels ?? joinLabels(this.#engine.root.frontier.values()), payload }
  }

  async #release(result: DriveResult): Promise<DriveResult> {
    await this.#rt.ledger.release(this.#ref, this.#epoch)
    return result
  }

  /** What is wrong with the records, if that is known to be the case: it explains every other error. */
  async disproof(): Promise<unknown> {
    return await (this.#history as History | undefined)?.proved.then(
      () => undefined,
      (error: unknown) => error,
    )
  }

  /** After an error: what this worker cannot go on with, another may, or itself from the beginning. */
  async letGo(): Promise<void> {
    await giveBack(this.#rt, this.#ref, this.#epoch, this.#signal)
  }
}
