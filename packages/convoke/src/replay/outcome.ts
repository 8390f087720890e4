import { canonicalize, settle } from '../core/canonical.ts'
import { ConvokeError, errorJson, toErrorData, type ErrorData } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import type { InboxMessage } from '../ports/ledger.ts'
import { childStarts, unknownWorkflow } from './children.ts'
import type { Engine } from './engine.ts'
import { makeRun, type OtherDeps, type RunDeps } from './run.ts'
import type { Driven } from './runtime.ts'
import { ContinueAs, type AnyWorkflow } from './workflow.ts'

export type End =
  | { readonly type: 'run.completed'; readonly payload: JsonObject }
  | { readonly type: 'run.failed' | 'run.cancelled'; readonly payload: JsonObject }
  | { readonly type: 'run.continued'; readonly payload: JsonObject; readonly next: Successor }

/** The run that goes on in this one's place. */
export interface Successor {
  readonly workflow: AnyWorkflow
  readonly input: unknown
}

/** Runs the workflow's code to its end, whatever that is; what it did is rolled back when it fails or is cancelled. */
export async function outcomeOf(workflow: AnyWorkflow, driven: Driven, engine: Engine): Promise<End> {
  const { history, run } = driven
  let made: OtherDeps | undefined
  const others = (): OtherDeps => {
    try {
      return (made ??= othersOf(driven, engine))
    } catch (error) {
      // What the process cannot make is no failure of the run's code, which may be asking for it.
      engine.stop(error as Error)
      throw error
    }
  }
  const deps: RunDeps = { keyed: driven.keyed, others }
  try {
    let cancel!: (reason: Error) => void
    const cancelled = new Promise<never>((_, reject) => (cancel = reject))
    cancelled.catch(() => undefined)
    engine.onCancel(() => {
      const reason = new ConvokeError('RUN_CANCELLED', `run ${run} was cancelled${why(engine.cancelled)}`)
      engine.abandon(engine.root, reason)
      cancel(reason)
    })
    const input = await workflow.parseInput(history.input)
    const value = await Promise.race([workflow.code(makeRun(engine.root, deps) as never, input as never), cancelled])
    allAwaited(engine)
    const output = await workflow.parseOutput(value)
    // Read once: what reads otherwise the second time would end the incarnation instead of the run.
    const payload = output === undefined ? {} : { value: settle(output).value }
    await atRest(engine)
    return { type: 'run.completed', payload }
  } catch (error) {
    if (!(error instanceof ContinueAs)) return rolledBack(error, engine)
    try {
      const next = await successor(error, driven, engine)
      await atRest(engine)
      return { type: 'run.continued', payload: {}, next }
    } catch (refused) {
      return rolledBack(refused, engine)
    }
  }
}

function othersOf(driven: Driven, engine: Engine): OtherDeps {
  const { runtime, history, run, tenant } = driven
  const marks = history.entries.filter((e) => e.record.type === 'patch.marked')
  return {
    extensions: runtime.extend(driven),
    ledger: runtime.ledger,
    clock: runtime.clock,
    patches: {
      known: new Set(marks.map((e) => e.record.path as string)),
      replaying: () => engine.replaying,
      answers: new Map(),
    },
    ...childStarts(runtime, { tenant, run, history }, engine.o.actor),
  }
}

/** What goes on in this run's place. @throws STEP_UNAWAITED, WORKFLOW_UNKNOWN, INPUT_INVALID, NOT_CANONICAL */
async function successor(next: ContinueAs, driven: Driven, engine: Engine): Promise<Successor> {
  allAwaited(engine)
  const name = next.workflow ?? (driven.history.started.payload['workflow'] as string)
  const workflow = driven.runtime.workflows.get(name)
  if (workflow === undefined) throw unknownWorkflow(name)
  const input = await (workflow.parseInput(next.input) as Promise<unknown>)
  return { workflow, input: input === undefined ? undefined : settle(input).value }
}

/** Resolves when nothing that acted outside is in doubt or being taken back. @throws COMPENSATION_FAILED */
async function atRest(engine: Engine): Promise<void> {
  await engine.settled(engine.root)
  await engine.rollbacks.done()
}

function allAwaited(engine: Engine): void {
  const open = engine.unawaited()
  if (open.length > 0)
    throw new ConvokeError('STEP_UNAWAITED', `the workflow returned without awaiting ${open.slice(0, 5).join(', ')}`, {
      details: { paths: open.slice(0, 20) },
      next: 'await every step, or give it up in a race',
    })
}

/** The run's root scope rolls back when the run fails or is cancelled. */
async function rolledBack(error: unknown, engine: Engine): Promise<End> {
  engine.abandon(engine.root, error)
  await engine.settled(engine.root)
  let data: ErrorData = toErrorData(error, 'RUN_FAILED')
  try {
    await engine.rollback(engine.root)
    await atRest(engine)
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

export function why(message: InboxMessage | undefined): string {
  const reason = (message?.payload as { reason?: unknown } | null | undefined)?.reason
  return typeof reason === 'string' ? `: ${reason}` : ''
}
