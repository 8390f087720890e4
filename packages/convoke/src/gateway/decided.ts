import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Completion, Task } from '../replay/types.ts'
import { diffActions, storedAction } from './action.ts'
import { failure } from './answer.ts'
import type { Call } from './deps.ts'
import { gate, type Corrected } from './gate.ts'
import type { CallState } from './state.ts'

function correctedBy(decision: JsonObject): NonNullable<Corrected> | undefined {
  const action = decision['action'] as JsonObject | undefined
  if (typeof action !== 'object' || action === null || !('input' in action)) return undefined
  const key = action['businessKey']
  return { input: action['input'] as Json, ...(typeof key === 'string' ? { businessKey: key } : {}) }
}

/** A correction must pass the gate before it counts; what is wrong with it goes back to the person. */
export async function correctionFits(call: Call, task: Task, decision: JsonObject): Promise<string | undefined> {
  if (decision['decision'] !== 'corrected') return undefined
  const corrected = correctedBy(decision)
  if (corrected === undefined) return 'the correction names no input'
  try {
    await gate(call, task, corrected)
    return undefined
  } catch (error) {
    return (error as ConvokeError).message
  }
}

/** Makes of a decision what it says: a refusal, or a new action that passes the gate again (R10). */
export async function afterDecision(
  call: Call,
  task: Task,
  s: CallState,
  decision: 'approved' | 'rejected' | 'corrected',
): Promise<Completion | undefined> {
  const { decided } = s
  if (decided === undefined) return undefined
  const why = decided.reason === undefined ? '' : `: ${decided.reason}`
  const details = {
    id: decided.open.id,
    by: decided.by.id,
    ...(decided.reason === undefined ? {} : { reason: decided.reason }),
  }
  if (decision === 'corrected') {
    const corrected = correctedBy(decided.payload)
    const before = await gate(call, task, s.corrected).catch(() => undefined)
    try {
      const passed = await gate(call, task, corrected)
      task.append(
        'action.corrected',
        {
          id: decided.open.id,
          from: before === undefined ? null : storedAction(before.action).stored,
          to: passed.action as unknown as JsonObject,
          toHash: passed.binding(),
          generation: s.generation + 1,
          diff: (before === undefined
            ? []
            : diffActions(before.action as unknown as Json, passed.action as unknown as Json).slice(
                0,
                100,
              )) as unknown as Json,
        },
        { actor: decided.by, causes: [{ ref: decided.ref, kind: 'approval' }] },
      )
      return undefined
    } catch (error) {
      return failure(call, s, error, 'none')
    }
  }
  if (decided.open.kind === 'held-effect')
    return failure(
      call,
      s,
      new ConvokeError('EFFECT_HELD', `${decided.by.id} does not release what an ancestor already did${why}`, {
        details,
        next: 'the ancestor holds the result; fork from after this step to keep it',
      }),
      'none',
    )
  return failure(
    call,
    s,
    new ConvokeError('APPROVAL_REJECTED', `${decided.by.id} rejected ${call.tool.name}${why}`, {
      details,
      next: 'do something else, or ask again with another action',
    }),
    'none',
  )
}
