import { ConvokeError, errorJson, toErrorData } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import type { Completion, Task } from '../replay/types.ts'
import { actionHash, storedAction, type Action } from './action.ts'
import { failure, success } from './answer.ts'
import { request } from './approvals.ts'
import type { Call } from './deps.ts'
import { newTrace } from './fetch.ts'
import { bounded, contextOf, keyOf } from './perform.ts'
import { noPolicy } from '../policy/policy.ts'
import type { CallState, Decision, Dispatch } from './state.ts'
import type { Reconciled } from './tool.ts'

// What happens to a call that was sent and whose end is unknown (R5). Nothing is guessed: a reconcilable tool is asked,
// and of everything else a person says what happened.

const maxUnreachable = 3
const aliveCheckMs = 2_000

/** Waits; in a scope that was given up the run cannot park, so the process waits itself. */
export async function pause(call: Call, task: Task, until: number): Promise<void> {
  try {
    await task.until(until)
  } catch (error) {
    if (!task.scope.dead) throw error
    await call.deps.clock.sleep(Math.min(Math.max(0, until - task.now()), call.tool.retry.maxDelayMs))
  }
}

/**
 * Until when an earlier try may still have an effect: its time-out has not passed, or the worker that made it and never
 * told of its end still lives. Undefined when it is over.
 */
async function quietAt(call: Call, task: Task, d: Dispatch, doubted: boolean): Promise<number | undefined> {
  const end = d.at + d.timeoutMs
  if (task.now() < end) return end
  if (doubted || d.worker === call.deps.lease.worker) return undefined
  return (await call.deps.ledger.isAlive(d.worker)) ? task.now() + aliveCheckMs : undefined
}

/** Goes one step on with a call in doubt; undefined when records now say how to go on. */
export async function recover(
  call: Call,
  task: Task,
  s: CallState,
  dispatch: Dispatch,
  action: Action,
): Promise<Completion | undefined> {
  const { tool } = call
  if (tool.effect !== 'reconcilable' || s.unknowns >= maxUnreachable) return askPerson(call, task, s, dispatch, action)
  if (s.reconcileAt !== undefined) await pause(call, task, s.reconcileAt)
  let answer: Reconciled
  try {
    answer = await ask(call, task, s, action)
  } catch (error) {
    if (task.scope.dead && s.unknowns + 1 >= maxUnreachable) return inDoubt(call, s, action, 'the tool cannot be asked')
    task.append('tool.unreconciled', {
      until: task.now() + tool.retry.delayMs * 2 ** s.unknowns,
      error: errorJson(toErrorData(error, 'TOOL_FAILED')),
    })
    await task.durable()
    return undefined
  }
  if (answer === 'unknown') return askPerson(call, task, s, dispatch, action)
  if (answer.happened) {
    try {
      return await success(call, task, s, action, { value: answer.value, extra: { reconciled: true } })
    } catch (error) {
      return failure(call, s, error, 'done')
    }
  }
  // "Not yet" is no "no": what was sent may still arrive.
  const wait = await quietAt(call, task, dispatch, s.doubted)
  if (wait !== undefined) {
    await pause(call, task, wait)
    return undefined
  }
  task.append('tool.not-executed', { generation: s.generation + 1, by: `tool:${tool.name}` })
  await task.durable()
  if (s.dispatches >= tool.retry.attempts)
    return failure(
      call,
      s,
      new ConvokeError('TOOL_UNREACHABLE', `${tool.name} was called ${s.dispatches} times, and none took effect`, {
        details: { tool: tool.name, attempts: s.dispatches },
      }),
      'none',
    )
  return undefined
}

async function ask(call: Call, task: Task, s: CallState, action: Action): Promise<Reconciled> {
  const trace = newTrace()
  const key = keyOf(call, task, s.generation)
  await task.durable()
  const answer = await bounded(call, task, trace, (signal) => {
    const context = contextOf(call, task, action, key, signal, trace)
    return call.tool.reconcile?.(action.input, context) ?? 'unknown'
  })
  if (answer === 'unknown' || answer.happened === true || answer.happened === false) return answer
  throw new ConvokeError('TOOL_OUTPUT_INVALID', `reconcile of ${call.tool.name} gave no answer that it may give`)
}

/** The end of a call about which nobody knows whether it took effect. */
export function inDoubt(call: Call, s: CallState, action: Action, why: string): Completion {
  const { tool } = call
  return failure(
    call,
    s,
    new ConvokeError('MAYBE_EXECUTED', `${tool.name} may have taken effect: ${why}`, {
      details: {
        tool: tool.name,
        ...(action.businessKey === undefined ? {} : { businessKey: action.businessKey }),
        ...(s.dispatch === undefined ? {} : { dispatched: s.dispatch.ref }),
      },
      next: 'look at the system it was sent to before anything is repeated',
    }),
    'unknown',
  )
}

async function askPerson(
  call: Call,
  task: Task,
  s: CallState,
  dispatch: Dispatch,
  action: Action,
): Promise<Completion | undefined> {
  const { deps } = call
  if (task.scope.dead) return inDoubt(call, s, action, 'its scope was given up before its end was known')
  const policy = deps.policy ?? noPolicy
  const { stored, blobs } = storedAction(action)
  const sent: JsonObject = {
    ref: dispatch.ref,
    at: dispatch.at,
    worker: dispatch.worker,
    generation: dispatch.generation,
    attempt: dispatch.attempt,
  }
  request(task, deps.keyed, s.asked, {
    kind: 'maybe-executed',
    title: `${call.options.title ?? nameOf(action)}: did it happen?`,
    category: 'maybe-executed',
    ...policy.categories?.['maybe-executed'],
    action: { ...stored, sent },
    blobs,
    actionHash: actionHash(action, deps.keyed),
    policyVersion: policy.version,
    generation: s.generation,
    worker: deps.lease.worker,
    problem: s.problem ?? s.doubt,
  })
  await task.durable()
  return undefined
}

export function nameOf(action: Action): string {
  return action.businessKey === undefined ? action.tool : `${action.tool} ${action.businessKey}`
}

/** A correction is no answer to "did it happen?"; what is to be done again must be said in so many words. */
export function verdictProblem(decision: JsonObject): string | undefined {
  const answer = decision['answer']
  if (
    answer === undefined
      ? decision['decision'] !== 'corrected'
      : ['happened', 'repeat', 'give-up'].includes(answer as string)
  )
    return undefined
  return 'say whether it happened (with what it gave), is to be repeated, or is given up'
}

/** Does what a person said about a call in doubt. */
export async function afterVerdict(
  call: Call,
  task: Task,
  s: CallState,
  decided: Decision,
  dispatch: Dispatch,
  action: Action,
): Promise<Completion | undefined> {
  const said = decided.payload['answer']
  const answer =
    said ?? (decided.decision === 'approved' ? 'happened' : decided.decision === 'rejected' ? 'give-up' : 'repeat')
  if (answer === 'happened') {
    try {
      return await success(call, task, s, action, {
        value: decided.payload['value'],
        extra: { saidBy: decided.by.id },
      })
    } catch (error) {
      task.append('approval.withdrawn', {
        id: decided.open.id,
        code: 'TOOL_OUTPUT_INVALID',
        problem: toErrorData(error).message,
      })
      return undefined
    }
  }
  if (answer === 'give-up')
    return inDoubt(
      call,
      s,
      action,
      `${decided.by.id} gave it up${decided.reason === undefined ? '' : `: ${decided.reason}`}`,
    )
  const wait = await quietAt(call, task, dispatch, s.doubted)
  if (wait !== undefined) {
    await task.durable()
    await pause(call, task, wait)
    return undefined
  }
  task.append(
    'tool.not-executed',
    { generation: s.generation + 1, by: decided.by.id },
    { actor: decided.by, causes: [{ ref: decided.ref, kind: 'approval' }] },
  )
  await task.durable()
  return undefined
}
