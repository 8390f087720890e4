import type { StandardSchemaV1 } from '@standard-schema/spec'
import { canonicalize, decode } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Completion, Operation, Task } from '../replay/types.ts'
import { inlineBytes } from './action.ts'
import { request, settle, withdraw } from './approvals.ts'
import type { GatewayDeps } from './deps.ts'
import { noPolicy, type Escalation } from '../policy/policy.ts'
import { check, issueText } from './schema.ts'
import { fold, type CallState } from './state.ts'

export interface ApproveOptions {
  readonly question?: string
  /** What the person needs to see; values of the run, as they are recorded. */
  readonly show?: unknown
  /** The group that is asked. */
  readonly to?: string
  /** Milliseconds until it lapses; never unless said. */
  readonly deadline?: number
  readonly escalate?: readonly Escalation[]
}

export interface DecideOptions<T> extends ApproveOptions {
  readonly question: string
  /** What the answer must fit. */
  readonly schema: StandardSchemaV1<unknown, T>
}

export interface Approval {
  readonly approved: boolean
  readonly by: string
  readonly reason?: string
}

interface Question extends ApproveOptions {
  readonly schema?: StandardSchemaV1
  readonly yesOrNo?: boolean
}

/** The operation of a question to a person. It is bound to what was shown, and its answer is checked (R10). */
export function decideOperation(deps: GatewayDeps, name: string, question: Question): Operation {
  const { show, to, deadline, schema } = question
  const asked: JsonObject = {
    question: question.question ?? name,
    ...(show === undefined ? {} : { show: decode(canonicalize(show)) }),
  }
  return {
    kind: question.yesOrNo === true ? 'approve' : 'decide',
    name,
    input: {
      question: asked['question'],
      show,
      ...(to === undefined ? {} : { to }),
      ...(deadline === undefined ? {} : { deadline }),
    },
    // Ends with a record of its own, so that nobody is asked for a scope that is gone.
    effect: true,
    execute: async (task) => {
      await task.durable()
      for (;;) {
        const s = fold(task.history)
        if (task.scope.dead) {
          if (s.open !== undefined) withdraw(task, s.open, { code: 'SCOPE_CANCELLED' })
          return ended(s, new ConvokeError('SCOPE_CANCELLED', `question ${task.path} was given up`))
        }
        if (s.expired !== undefined)
          return ended(
            s,
            new ConvokeError('APPROVAL_EXPIRED', `nobody answered ${JSON.stringify(name)} in time`, {
              details: { id: s.expired.id },
              next: 'give it more time, or another group',
            }),
          )
        const done = await answered(s, question, name)
        if (done !== undefined) return done
        if (s.open !== undefined) await settle(task, s.open, (p) => fits(p, schema))
        else ask(deps, task, s, asked, name, question)
      }
    },
  }
}

function ask(deps: GatewayDeps, task: Task, s: CallState, asked: JsonObject, name: string, question: Question): void {
  const text = canonicalize(asked)
  const bytes = Buffer.from(text)
  const hash = deps.keyed(`question\n${text}`)
  const large = bytes.length >= inlineBytes
  request(task, deps.keyed, s.asked, {
    kind: 'decision',
    title: question.question ?? name,
    category: name,
    group: question.to,
    action: large ? { question: asked['question'] as Json, $blob: sha256(bytes), bytes: bytes.length } : asked,
    ...(large ? { blobs: [{ hash: sha256(bytes), bytes, mediaType: 'application/json' }] } : {}),
    actionHash: hash,
    policyVersion: deps.policy?.version ?? noPolicy.version,
    generation: 0,
    expiresMs: question.deadline,
    escalate: question.escalate,
    problem: s.problem,
  })
}

async function fits(decision: JsonObject, schema: StandardSchemaV1 | undefined): Promise<string | undefined> {
  if (decision['decision'] === 'rejected' || schema === undefined) return undefined
  const checked = await check(schema, decision['value'])
  return checked.ok ? undefined : `the answer does not fit: ${issueText(checked.issues)}`
}

async function answered(s: CallState, question: Question, name: string): Promise<Completion | undefined> {
  const { decided } = s
  if (decided === undefined) return undefined
  const { by, reason, decision } = decided
  const why = reason === undefined ? {} : { reason }
  if (question.yesOrNo === true) return done(s, { approved: decision !== 'rejected', by: by.id, ...why })
  if (decision === 'rejected')
    return ended(
      s,
      new ConvokeError('APPROVAL_REJECTED', `${by.id} declined ${JSON.stringify(name)}`, {
        details: { id: decided.open.id, by: by.id, ...why },
      }),
    )
  const checked = await check(question.schema, decided.payload['value'])
  return checked.ok ? done(s, checked.value) : undefined
}

function done(s: CallState, value: Json | undefined): Completion {
  return { value, causes: s.approvals.map((ref) => ({ ref, kind: 'approval' as const })) }
}

function ended(s: CallState, error: ConvokeError): Completion {
  return { error: error.toJSON(), causes: s.approvals.map((ref) => ({ ref, kind: 'approval' as const })) }
}
