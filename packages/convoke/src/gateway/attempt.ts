import { ConvokeError, errorJson } from '../core/errors.ts'
import { decode } from '../core/canonical.ts'
import type { JsonObject } from '../core/json.ts'
import type { Completion, Task } from '../replay/types.ts'
import { actionHash, storedAction, type Action } from './action.ts'
import { failure, success } from './answer.ts'
import type { Call } from './deps.ts'
import { keyOf, perform, type Outcome } from './perform.ts'
import { fold, type CallState, type Dispatch } from './state.ts'

/** Makes one try, its intent recorded before. Undefined when records now say how to go on. */
export async function attempt(
  call: Call,
  task: Task,
  s: CallState,
  action: Action,
  /** What the rules said, for the record. */
  ruled: JsonObject = {},
): Promise<Completion | undefined> {
  const { deps, tool } = call
  const key = keyOf(call, task, s.generation)
  const nth = s.dispatches + (tool.effect === 'read' ? s.retries : 0) + 1
  if (tool.effect !== 'read') {
    const { stored, blobs } = storedAction(action)
    task.append(
      'tool.dispatched',
      {
        tool: tool.name,
        toolVersion: tool.version,
        effect: tool.effect,
        action: stored,
        actionHash: actionHash(action, deps.keyed),
        idempotencyKey: key(),
        ...(action.businessKey === undefined ? {} : { businessKey: action.businessKey }),
        generation: s.generation,
        attempt: nth,
        worker: deps.lease.worker,
        timeoutMs: call.timeoutMs,
        ...ruled,
      },
      {
        critical: true,
        causes: s.approvals.map((ref) => ({ ref, kind: 'approval' as const })),
        ...(blobs.length === 0 ? {} : { blobs }),
      },
    )
  }
  // R2, R5: nothing leaves before the intent and all it rests on are on disk.
  await task.durable()
  if (task.scope.dead && s.dispatch === undefined) return failure(call, s, givenUp(task), 'none')
  const began = deps.clock.monotonic()
  const outcome = await perform(call, task, action, key)
  const usage = { durationMs: Math.round(deps.clock.monotonic() - began), attempts: nth }
  const now = fold(task.history)
  if (outcome.kind !== 'answered') return afterTrouble(call, task, now, outcome, nth)
  try {
    const extra = tool.effect === 'read' ? ruled : {}
    return await success(call, task, now, action, { value: outcome.value, notes: outcome.notes, usage, extra })
  } catch (error) {
    return afterTrouble(call, task, now, { kind: 'broken', error: error as ConvokeError }, nth)
  }
}

/** Retries, doubts or gives up, by what is known and by the tool's class (R5). */
async function afterTrouble(
  call: Call,
  task: Task,
  s: CallState,
  outcome: Exclude<Outcome, { kind: 'answered' }>,
  nth: number,
): Promise<Completion | undefined> {
  const { tool } = call
  const { kind, error } = outcome
  const guarded = tool.effect === 'reconcilable' || tool.effect === 'unsafe'
  const harmless = kind === 'no' || kind === 'unsent' || kind === 'refused'
  // Earlier tries of this generation that nobody knows the end of.
  const clean = harmless && !s.uncertain
  const again = kind === 'unsent' || (kind === 'refused' && tool.effect !== 'unsafe') || (kind === 'doubt' && !guarded)
  // An order to stop is no trouble of the tool's: the call waits for its end, and has all its tries left.
  const ordered = error.code === 'RUN_HALTED' && again && !task.scope.dead
  if (ordered || (again && s.retries + 1 < tool.retry.attempts)) {
    const delay = Math.max(backoff(call, task, nth), outcome.retryAfterMs ?? 0)
    task.append('tool.retrying', {
      attempt: nth + 1,
      until: task.now() + delay,
      certain: harmless,
      ...(ordered ? { ordered } : {}),
      error: errorJson(error.toJSON()),
    })
    await task.durable()
    return undefined
  }
  if (guarded && !harmless) {
    task.append('tool.doubted', { error: errorJson(error.toJSON()), worker: call.deps.lease.worker })
    await task.durable()
    return undefined
  }
  return failure(call, s, error, clean ? 'none' : 'unknown')
}

/** Exponential, with a jitter that is the same for the same try, so that tests and replays agree. */
function backoff(call: Call, task: Task, nth: number): number {
  const { delayMs, maxDelayMs } = call.tool.retry
  const part = Number.parseInt(call.deps.keyed(`jitter\n${task.run}\n${task.path}\n${nth}`).slice(0, 8), 16) / 2 ** 32
  return Math.round(Math.min(maxDelayMs, delayMs * 2 ** (nth - 1)) * (0.5 + part / 2))
}

/** The exact action that was sent, from its intent; code and policy may have changed since. */
export async function sentAction(call: Call, dispatch: Dispatch): Promise<Action> {
  const stored = dispatch.action
  const blob = stored['$blob']
  if (typeof blob !== 'string') return stored as unknown as Action
  const bytes = await call.deps.ledger.getBlob(dispatch.tenant, blob)
  if (bytes === undefined)
    throw new ConvokeError('BLOB_MISSING', `the action of ${dispatch.ref} is in blob ${blob}, which is not there`)
  return decode(Buffer.from(bytes).toString('utf8')) as unknown as Action
}

export function givenUp(task: Task): ConvokeError {
  return new ConvokeError('SCOPE_CANCELLED', `step ${task.path} was given up before anything was sent`)
}
