import { canonicalize } from '../core/canonical.ts'
import { ConvokeError, errorJson, isConvokeError, toErrorData, type ErrorData } from '../core/errors.ts'
import { hmacKey } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { joinLabels, type Labels } from '../core/labels.ts'
import { inboxStream, runIdOf } from '../core/projections.ts'
import { refOf, type Actor, type Draft, type LedgerRecord } from '../core/record.ts'
import type { InboxMessage, Ledger, Lease, StreamRef } from '../ports/ledger.ts'
import type { Probe } from '../ports/probe.ts'
import type { Clock, Ids, Live } from '../ports/runtime.ts'
import { childStarts, unknownWorkflow } from './children.ts'
import { changed } from './divergence.ts'
import { Engine } from './engine.ts'
import { entryOf, loadHistory, type History } from './history.ts'
import { summarize } from './mailbox.ts'
import { reuseFrom } from './reuse.ts'
import { makeRun, type Extension, type RunDeps } from './run.ts'
import { Sequencer } from './sequencer.ts'
import { startRecords } from './start.ts'
import { ContinueAs, type AnyWorkflow } from './workflow.ts'

export interface Runtime {
  readonly ledger: Ledger
  readonly lease: Lease
  readonly clock: Clock
  readonly ids: Ids
  readonly live?: Live | undefined
  readonly probe?: Probe | undefined
  readonly redact: (value: Json) => Json
  readonly workflows: ReadonlyMap<string, AnyWorkflow>
  /** Methods that higher rooms add to every run object, made for one driven run. */
  readonly extend: (driven: Driven) => readonly Extension[]
  /** Told of runs that ended this incarnation with an error that is not in their stream. */
  readonly onTrouble?: (run: StreamRef, error: ConvokeError) => void
}

/** What higher rooms may know of the run they are extended into. */
export interface Driven {
  readonly runtime: Runtime
  readonly tenant: string
  readonly run: string
  readonly keyed: (text: string) => string
  readonly history: History
}

export type DriveResult = 'done' | 'parked' | 'lost'

/** Timers nearer than this are waited for in memory. */
const holdMs = 20
const settleMs = 5_000
const inboxCheckMs = 100

const keys = new WeakMap<Ledger, Map<string, Promise<Uint8Array>>>()

function tenantKey(ledger: Ledger, tenant: string): Promise<Uint8Array> {
  let byTenant = keys.get(ledger)
  if (byTenant === undefined) keys.set(ledger, (byTenant = new Map()))
  let key = byTenant.get(tenant)
  if (key === undefined) byTenant.set(tenant, (key = ledger.tenantKey(tenant)))
  return key
}

/** Drives a run until it is done, parked, or belongs to another. Never rejects. */
export async function drive(runtime: Runtime, ref: StreamRef, signal: AbortSignal): Promise<DriveResult> {
  const incarnation = new Drive(runtime, ref, signal)
  try {
    return await incarnation.run()
  } catch (error) {
    await incarnation.letGo()
    const known =
      error instanceof ConvokeError
        ? error
        : new ConvokeError('RUN_FAILED', toErrorData(error).message, { cause: error })
    if (!isConvokeError(error, 'RUN_OWNED')) runtime.onTrouble?.(ref, known)
    return 'lost'
  }
}

type End =
  | { readonly type: 'run.completed'; readonly payload: JsonObject }
  | { readonly type: 'run.failed' | 'run.cancelled'; readonly payload: JsonObject }
  | { readonly type: 'run.continued'; readonly payload: JsonObject; readonly next: Successor }

interface Successor {
  readonly workflow: AnyWorkflow
  readonly input: unknown
}

/** One incarnation of a run in this process. Owns the engine and sequencer it makes; leaves nothing behind. */
class Drive {
  readonly #rt: Runtime
  readonly #ref: StreamRef
  readonly #inbox: StreamRef
  readonly #signal: AbortSignal
  readonly #runId: string
  #engine!: Engine
  #sequencer!: Sequencer
  #history!: History
  #end: End | undefined
  #crashed: Error | undefined
  #epoch = 0

  constructor(runtime: Runtime, ref: StreamRef, signal: AbortSignal) {
    this.#rt = runtime
    this.#ref = ref
    this.#signal = signal
    this.#runId = runIdOf(ref.stream)
    this.#inbox = { tenant: ref.tenant, stream: inboxStream(this.#runId) }
  }

  async run(): Promise<DriveResult> {
    const { ledger, clock } = this.#rt
    const claim = await ledger.claim(this.#ref, this.#rt.lease.worker)
    this.#epoch = claim.epoch
    const history = (this.#history = await loadHistory(ledger, this.#ref.tenant, this.#runId))
    if (/^run\.(completed|failed|cancelled|continued)$/.test(history.last.record.type)) return this.#release('done')
    const started = history.started.payload
    const workflow = this.#rt.workflows.get(started['workflow'] as string)
    if (workflow === undefined)
      throw new ConvokeError(
        'WORKFLOW_UNKNOWN',
        `run ${this.#runId} needs workflow ${String(started['workflow'])}, which this app does not define`,
        {
          details: { run: this.#runId, workflow: String(started['workflow']) },
          next: 'add the workflow to the app, or drive the run with the app that has it',
        },
      )
    const key = await tenantKey(ledger, this.#ref.tenant)
    const keyed = hmacKey(key)
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
      actor: { kind: 'orchestrator', id: workflow.name, version: workflow.version },
      reuse: reuseFrom(history),
      supersede: history.supersede,
    })
    const ring = (): void => this.#engine.ring()
    this.#signal.addEventListener('abort', ring)
    const watch = this.#watchInbox()
    try {
      void this.#code(workflow, { runtime: this.#rt, tenant: this.#ref.tenant, run: this.#runId, keyed, history })
      return await this.#loop(workflow)
    } finally {
      watch.off()
      this.#signal.removeEventListener('abort', ring)
      if (!this.#engine.ended.signal.aborted)
        this.#engine.ended.abort(new ConvokeError('INTERRUPTED', 'this worker no longer drives the run'))
    }
  }

  // ---- workflow code ------------------------------------------------------------------------------------------------

  async #code(workflow: AnyWorkflow, driven: Driven): Promise<void> {
    const engine = this.#engine
    try {
      this.#end = await this.#outcome(workflow, driven)
    } catch (error) {
      this.#crashed = error as Error
    }
    engine.ring()
  }

  async #outcome(workflow: AnyWorkflow, driven: Driven): Promise<End> {
    const engine = this.#engine
    const deps: RunDeps = {
      keyed: driven.keyed,
      extensions: this.#rt.extend(driven),
      ledger: this.#rt.ledger,
      clock: this.#rt.clock,
      patches: {
        known: new Set(
          this.#history.entries.filter((e) => e.record.type === 'patch.marked').map((e) => e.record.path as string),
        ),
        replaying: () => engine.replaying,
        answers: new Map(),
      },
      ...childStarts(this.#rt, { tenant: this.#ref.tenant, run: this.#runId, history: this.#history }, engine.o.actor),
    }
    try {
      let cancel!: (reason: Error) => void
      const cancelled = new Promise<never>((_, reject) => (cancel = reject))
      cancelled.catch(() => undefined)
      engine.onCancel(() => {
        const reason = new ConvokeError('RUN_CANCELLED', `run ${this.#runId} was cancelled${why(engine.cancelled)}`)
        engine.abandon(engine.root, reason)
        cancel(reason)
      })
      const input = await workflow.parseInput(this.#history.input)
      const value = await Promise.race([workflow.code(makeRun(engine.root, deps) as never, input as never), cancelled])
      this.#allAwaited()
      const output = await workflow.parseOutput(value)
      if (output !== undefined) canonicalize(output)
      await engine.settled(engine.root)
      return { type: 'run.completed', payload: output === undefined ? {} : { value: output as Json } }
    } catch (error) {
      if (!(error instanceof ContinueAs)) return this.#rolledBack(error)
      try {
        const next = await this.#successor(error)
        await engine.settled(engine.root)
        return { type: 'run.continued', payload: {}, next }
      } catch (refused) {
        return this.#rolledBack(refused)
      }
    }
  }

  /** What goes on in this run's place. @throws STEP_UNAWAITED, WORKFLOW_UNKNOWN, INPUT_INVALID, NOT_CANONICAL */
  async #successor(next: ContinueAs): Promise<Successor> {
    this.#allAwaited()
    const name = next.workflow ?? (this.#history.started.payload['workflow'] as string)
    const workflow = this.#rt.workflows.get(name)
    if (workflow === undefined) throw unknownWorkflow(name)
    const input = await (workflow.parseInput(next.input) as Promise<unknown>)
    if (input !== undefined) canonicalize(input)
    return { workflow, input }
  }

  #allAwaited(): void {
    const open = this.#engine.unawaited()
    if (open.length > 0)
      throw new ConvokeError(
        'STEP_UNAWAITED',
        `the workflow returned without awaiting ${open.slice(0, 5).join(', ')}`,
        {
          details: { paths: open.slice(0, 20) },
          next: 'await every step, or give it up in a race',
        },
      )
  }

  /** The run's root scope rolls back when the run fails or is cancelled. */
  async #rolledBack(error: unknown): Promise<End> {
    const engine = this.#engine
    engine.abandon(engine.root, error)
    await engine.settled(engine.root)
    let data: ErrorData = toErrorData(error, 'RUN_FAILED')
    try {
      await engine.rollback(engine.root)
    } catch (compensation) {
      const failed = toErrorData(compensation)
      data = { ...failed, details: { ...(failed.details ?? {}), after: errorJson(data) } }
    }
    try {
      canonicalize(data)
    } catch {
      data = { code: data.code, message: data.message }
    }
    const cancelled = engine.cancelled !== undefined && data.code !== 'COMPENSATION_FAILED'
    return { type: cancelled ? 'run.cancelled' : 'run.failed', payload: { error: errorJson(data) } }
  }

  // ---- the loop -----------------------------------------------------------------------------------------------------

  async #loop(workflow: AnyWorkflow): Promise<DriveResult> {
    const engine = this.#engine
    let live = false
    for (;;) {
      await rest()
      if (this.#crashed !== undefined) throw this.#crashed
      if (this.#sequencer.lost !== undefined) throw this.#sequencer.lost
      try {
        if (engine.stopped !== undefined) throw engine.stopped
        if (await engine.replayNext(() => this.#end !== undefined)) continue
      } catch (error) {
        return await this.#stop(workflow, error)
      }
      if (!live) {
        live = true
        if (/^run\.(parked|stopped)$/.test(this.#history.last.record.type))
          this.#sequencer.enqueue(this.#draft('run.resumed', {}))
        this.#adopt(workflow)
        if (await this.#readInbox()) continue
      }
      if (this.#signal.aborted) return await this.#interrupt()
      if (this.#inboxChanged) {
        this.#inboxChanged = false
        if (await this.#readInbox()) continue
      }
      const did = engine.liveNext(true)
      if (did !== 'nothing') continue
      if (this.#end !== undefined) return await this.#finish(this.#end)
      const parked = await this.#park()
      if (parked === 'parked') return 'parked'
      if (parked === 'advanced') continue
      if (this.#sequencer.dirty) this.#sequencer.durable().catch(() => engine.ring())
      await engine.nextEvent()
    }
  }

  /** Newer code may go on with a run once all of its records have been replayed without a difference (R8). */
  #adopt(workflow: AnyWorkflow): void {
    const was =
      this.#history.entries.findLast((e) => e.record.type === 'run.adopted')?.payload ?? this.#history.started.payload
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
    const was =
      this.#history.entries.findLast((e) => e.record.type === 'run.adopted')?.payload ?? this.#history.started.payload
    const diverged = error as ConvokeError
    const reason =
      diverged.code === 'REPLAY_DIVERGED' && was['digest'] !== workflow.digest
        ? changed(diverged, was['digest'] as string, workflow.digest)
        : diverged
    const data = toErrorData(reason, 'RUN_FAILED')
    this.#engine.ended.abort(reason)
    // A code that cannot follow the records cannot take anything back either; a person may still end the run.
    const cancel = await this.#cancelledFromOutside()
    if (cancel !== undefined) {
      const message = `run ${this.#runId} was cancelled${why(cancel)}; it was stopped, so nothing was taken back`
      const error = { code: 'RUN_CANCELLED', message, details: { stopped: errorJson(data) } }
      const causes = [{ ref: cancel.id, kind: 'input' as const }]
      await this.#sequencer.finish({ ...this.#draft('run.cancelled', { error }), causes, critical: true })
      return this.#release('done')
    }
    // Always a new record, also for the same reason again: it says that what woke the run has been dealt with.
    await this.#sequencer.finish(this.#draft('run.stopped', errorJson(data) as JsonObject))
    this.#rt.onTrouble?.(this.#ref, reason)
    return this.#release('parked')
  }

  /** Asked to stop: what acted outside is settled, everything else is left for the next to do again. */
  async #interrupt(): Promise<DriveResult> {
    const engine = this.#engine
    engine.ended.abort(new ConvokeError('INTERRUPTED', 'this worker was asked to stop'))
    const until = this.#rt.clock.monotonic() + settleMs
    while (this.#rt.clock.monotonic() < until) {
      while (engine.liveNext(false) !== 'nothing') await rest()
      const acting = [...engine.claims.values()].some(
        (c) =>
          c.operation.effect === true &&
          c.state === 'started' &&
          c.waits.size === 0 &&
          c.history.some((e) => e.record.type === 'tool.dispatched'),
      )
      if (!acting) break
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
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
              message: this.#childDone(end.payload, labels),
            },
          ]
    await this.#sequencer.finish(draft, { posts })
    return this.#release('done')
  }

  async #continue(draft: Draft, { workflow, input }: Successor): Promise<DriveResult> {
    const started = this.#history.started.payload
    const run = `${this.#runId.replace(/~\d+$/, '')}~${Number(/~(\d+)$/.exec(this.#runId)?.[1] ?? 1) + 1}`
    const parent = started['parent'] as string | undefined
    const fresh = startRecords(
      {
        tenant: this.#ref.tenant,
        run,
        workflow,
        input,
        actor: this.#engine.o.actor,
        labels: draft.labels,
        continues: this.#runId,
        root: (started['root'] as string | undefined) ?? this.#runId,
        tags: (started['tags'] as readonly string[] | undefined) ?? [],
        ...(parent === undefined ? {} : { parent: { run: parent, path: started['parentPath'] as string } }),
      },
      this.#rt,
    )
    await this.#sequencer.finish({ ...draft, payload: { next: run } }, { others: [fresh.append], blobs: fresh.blobs })
    return this.#release('done')
  }

  #childDone(payload: JsonObject, labels: Labels): InboxMessage {
    const root =
      this.#history.started.payload['continues'] === undefined ? this.#runId : this.#runId.replace(/~\d+$/, '')
    return {
      id: `child.done:${root}`,
      type: 'child.done',
      at: this.#rt.clock.now(),
      actor: this.#engine.o.actor,
      labels,
      payload: { id: root, ...payload },
    }
  }

  // ---- parking and the inbox ----------------------------------------------------------------------------------------

  #inboxChanged = false

  #watchInbox(): { off: () => void } {
    let timer: NodeJS.Timeout | undefined
    const unsubscribe = this.#rt.ledger.onChange(() => {
      timer ??= setTimeout(() => {
        timer = undefined
        this.#inboxChanged = true
        this.#engine.ring()
      }, inboxCheckMs).unref()
    })
    return {
      off: () => {
        unsubscribe()
        clearTimeout(timer)
      },
    }
  }

  /** Copies what came in into the run's own stream, each with its cause. */
  async #readInbox(): Promise<boolean> {
    const records = await this.#rt.ledger.read(this.#inbox, { from: this.#engine.inboxRead + 1 })
    for (const record of records) {
      const message = await this.#messageOf(record)
      const entry = this.#sequencer.enqueue({
        type: 'inbox.received',
        causes: [{ ref: `${record.stream}@${record.seq}`, kind: 'input' }, ...record.causes],
        actor: record.actor,
        labels: record.labels,
        payload: { inbox: record.seq, message: message as unknown as Json },
      })
      this.#engine.receive(entry.record, record.seq, message)
    }
    return records.length > 0
  }

  async #messageOf(record: LedgerRecord): Promise<InboxMessage> {
    const { payload } = await entryOf(this.#rt.ledger, record)
    // The sender's id is the ledger's own business; here a message is known by where it stands.
    return { id: refOf(record), type: record.type, at: record.at, actor: record.actor, payload }
  }

  /** A cancellation that came in and that this run has not copied yet. */
  async #cancelledFromOutside(): Promise<InboxMessage | undefined> {
    const copied = this.#history.entries.reduce(
      (most, { record, payload }) =>
        record.type === 'inbox.received' && record.stream === this.#ref.stream
          ? Math.max(most, payload['inbox'] as number)
          : most,
      0,
    )
    const records = await this.#rt.ledger.read(this.#inbox, { from: copied + 1 })
    const cancel = records.find((record) => record.type === 'run.cancel')
    return cancel === undefined ? undefined : this.#messageOf(cancel)
  }

  async #park(): Promise<'parked' | 'advanced' | 'busy'> {
    const engine = this.#engine
    const claims = [...engine.claims.values()].filter((c) => c.operation.orchestrate === undefined)
    if (claims.length === 0 || engine.busy || claims.some((c) => c.waits.size === 0)) return 'busy'
    const { kind, next } = summarize(claims.flatMap((c) => [...c.waits]))
    if (next !== undefined && next - this.#rt.clock.now() < holdMs) return 'busy'
    // From here on no timer may set an executor going: once the run is parked, it belongs to whoever wakes it.
    engine.freeze()
    await this.#sequencer.durable()
    try {
      await this.#sequencer.guarded(
        this.#draft('run.parked', {
          kind,
          ...(next === undefined ? {} : { next: Math.ceil(next) }),
          inboxRead: engine.inboxRead,
        }),
        [{ kind: 'inbox', ref: this.#inbox, seq: engine.inboxRead }],
      )
    } catch (error) {
      if (!isConvokeError(error, 'INBOX_ADVANCED')) throw error
      engine.thaw()
      await this.#readInbox()
      return 'advanced'
    }
    await this.#release('parked')
    return 'parked'
  }

  #draft(type: string, payload: JsonObject, labels?: Labels): Draft {
    const actor: Actor = this.#engine.o.actor
    return { type, actor, labels: labels ?? joinLabels(this.#engine.root.frontier.values()), payload }
  }

  async #release(result: DriveResult): Promise<DriveResult> {
    await this.#rt.ledger.release(this.#ref, this.#epoch)
    return result
  }

  /** After an error: what this worker cannot go on with, another may. Nothing happens to a run that it lost or never had. */
  async letGo(): Promise<void> {
    if (this.#epoch > 0) await this.#rt.ledger.release(this.#ref, this.#epoch).catch(() => undefined)
  }
}

function why(message: InboxMessage | undefined): string {
  const reason = (message?.payload as { reason?: unknown } | null | undefined)?.reason
  return typeof reason === 'string' ? `: ${reason}` : ''
}

let resting: (() => void)[] = []

/**
 * All microtasks have run when the next turn begins: the code waits for nothing but us. Runs that rest in one turn go
 * on in one as well, so that what they send to the ledger travels together.
 */
function rest(): Promise<void> {
  return new Promise((resolve) => {
    if (resting.push(resolve) === 1) setImmediate(goOn)
  })
}

function goOn(): void {
  const rested = resting
  resting = []
  for (const resolve of rested) resolve()
}
