import { canonicalize, deepFreeze } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { refOf, type Cause, type RecordRef } from '../core/record.ts'
import type { Operation } from '../replay/types.ts'
import type { Added } from './conversation.ts'
import type { Bound } from './registry.ts'
import { isRef, segmentBlob, segmentJson, type Shown } from './segment.ts'

// The records an ask keeps about itself, all of them done by being written: what was asked of whom, who took it on,
// what it was shown, and which answers were sent back.

/** Who asks, when not the workflow itself. */
export interface Requester {
  readonly role: string
  readonly agent: string
  readonly version: string
  readonly path: string
}

export interface TaskTerms {
  /** Milliseconds since the epoch after which nobody waits for the outcome. */
  readonly deadline?: number
  readonly priority?: number
  /** Milliseconds since the epoch before which work does not begin. */
  readonly notBefore?: number
  /**
   * Goes on with the conversation that earlier asks of the role had under this name. What those showed has to be shown
   * or fetched again to be cited.
   */
  readonly session?: string
}

/** Input beyond this size stands in a blob. */
const inlineInput = 2048

/** `task.requested`: what is asked. Presents the input with this record as its origin. */
export function requestedOperation(task: {
  readonly role: string
  readonly requester: Requester | undefined
  readonly terms: TaskTerms
  readonly input: unknown
  readonly raw: unknown
  readonly idempotencyKey: string
}): Operation {
  const { role, requester, terms } = task
  const text = task.raw === undefined ? '' : canonicalize(task.raw)
  const hash = sha256(text)
  const blob =
    text.length > inlineInput ? [{ hash, bytes: Buffer.from(text, 'utf8'), mediaType: 'application/json' }] : []
  return {
    kind: 'task',
    name: '@task',
    target: role,
    input: task.raw,
    record: 'task.requested',
    immediate: ({ now }) => {
      if (terms.deadline !== undefined && terms.deadline <= now) throw late(role, terms.deadline)
      return {
        extra: {
          role,
          requester: requester === undefined ? 'workflow' : ({ ...requester } as JsonObject),
          idempotencyKey: task.idempotencyKey,
          inputHash: hash,
          ...terms,
        },
        blobs: blob,
      }
    },
    present: (_, entry) => ({ input: deepFreeze(task.input as Json), ref: refOf(entry.record), at: entry.record.at }),
  }
}

export interface Requested {
  readonly input: unknown
  readonly ref: RecordRef
  readonly at: number
}

export function late(role: string, deadline: number): ConvokeError {
  return new ConvokeError('DEADLINE_PASSED', `the deadline of the task for ${role} passed`, {
    details: { role, deadline },
    next: 'give the task more time',
  })
}

/** `role.resolved`: which agent fills the role; decided once, when the record is written. */
export function resolvedOperation(
  role: string,
  model: (bound: Bound) => string | undefined,
  bind: () => Bound,
): Operation {
  return {
    kind: 'role',
    name: '@role',
    target: role,
    record: 'role.resolved',
    immediate: () => {
      const bound = bind()
      const { agent, rule } = bound
      const id = model(bound)
      return {
        value: {
          role,
          agent: agent.name,
          version: agent.version,
          digest: agent.digest,
          ...(id === undefined ? {} : { model: id }),
          rule,
        },
      }
    },
  }
}

export interface Resolved {
  readonly role: string
  readonly agent: string
  readonly version: string
  readonly digest: string
  readonly model?: string
  readonly rule: Bound['rule']
}

/** `briefing.shown`: what the agent was given to read; the texts are blobs by content. */
export function shownOperation(segments: readonly Shown[], instructions?: Added): Operation {
  const refs = [...new Set(segments.map((s) => s.from).filter(isRef))]
  const causes: Cause[] = refs.map((ref) => ({ ref, kind: 'shown' }))
  const told = instructions === undefined ? {} : { instructions: instructions.hash }
  const lines = segments.map((s) => `${s.hash} ${s.from} ${s.transform}`)
  return {
    kind: 'briefing',
    name: '@briefing',
    input: { digest: sha256([instructions?.hash ?? '', ...lines].join('\n')) },
    record: 'briefing.shown',
    immediate: () => ({
      extra: { segments: segments.map(segmentJson), ...told },
      blobs: [...segments.map(segmentBlob), ...(instructions?.blob === undefined ? [] : [instructions.blob])],
      causes,
    }),
    present: (_, entry) => ({ ref: refOf(entry.record) }),
  }
}

/** `answer.rejected`: an answer that goes back to the agent, and why. */
export function rejectedOperation(rejected: {
  readonly problems: readonly string[]
  readonly raw: string
  readonly answer: RecordRef
  readonly repair: number
  readonly of: number
}): Operation {
  const { problems, repair, of } = rejected
  return {
    kind: 'answer',
    name: '@answer',
    record: 'answer.rejected',
    input: { repair, of, raw: sha256(rejected.raw) },
    causes: [{ ref: rejected.answer, kind: 'input' }],
    immediate: () => ({ extra: { problems: [...problems], raw: sha256(rejected.raw), repair, of } }),
  }
}
