import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Entry, Message, Task } from '../replay/types.ts'
import type { Actor, Blob } from '../core/record.ts'
import type { Escalation } from '../policy/policy.ts'
import type { Open } from './state.ts'

/** What a person is asked. */
export interface Request {
  readonly kind: Open['kind']
  readonly title: string
  readonly category?: string | undefined
  readonly group?: string | undefined
  /** What is shown, from the gateway's bytes. */
  readonly action: Json
  readonly blobs?: readonly Blob[]
  readonly actionHash: string
  readonly policyVersion: string
  readonly generation: number
  readonly hold?: string
  readonly expiresMs?: number | undefined
  readonly escalate?: readonly Escalation[] | undefined
  /** Milliseconds after which it goes ahead unless somebody stops it. */
  readonly delayMs?: number | undefined
  /** So many different people have to agree; 1 unless said. */
  readonly quorum?: number | undefined
  readonly fourEyes?: boolean | undefined
  /** Labels of what the call rests on, for whoever decides. */
  readonly labels?: Json
  /** Why it is asked, or asked again. */
  readonly by?: string
  readonly problem?: string | undefined
  readonly worker?: string
}

/** Enough digits that two approvals of a store do not meet, few enough to type: 46 bits. */
function approvalId(task: Task, keyed: (text: string) => string, generation: number, n: number): string {
  const hash = keyed(JSON.stringify(['approval', task.run, task.path, generation, n]))
  return `ap_${BigInt(`0x${hash.slice(0, 16)}`)
    .toString(36)
    .padStart(13, '0')
    .slice(-9)}`
}

/** Records the question. It is not yet durable, and nobody waits yet. */
export function request(task: Task, keyed: (text: string) => string, asked: number, r: Request): Entry {
  return task.append(
    'approval.requested',
    {
      id: approvalId(task, keyed, r.generation, asked + 1),
      kind: r.kind,
      title: r.title,
      action: r.action,
      actionHash: r.actionHash,
      policyVersion: r.policyVersion,
      generation: r.generation,
      ...(r.category === undefined ? {} : { category: r.category }),
      ...(r.group === undefined ? {} : { group: r.group }),
      ...(r.hold === undefined ? {} : { hold: r.hold }),
      ...(r.expiresMs === undefined ? {} : { expires: task.now() + r.expiresMs }),
      ...(r.delayMs === undefined ? {} : { actsAt: task.now() + r.delayMs }),
      ...(r.quorum === undefined || r.quorum === 1 ? {} : { quorum: r.quorum }),
      ...(r.fourEyes === true ? { fourEyes: true } : {}),
      ...(r.labels === undefined ? {} : { labels: r.labels }),
      ...(r.escalate === undefined || r.escalate.length === 0 ? {} : { escalate: r.escalate as unknown as Json }),
      ...(r.by === undefined ? {} : { by: r.by }),
      ...(r.problem === undefined ? {} : { problem: r.problem }),
      ...(r.worker === undefined ? {} : { worker: r.worker }),
    },
    r.blobs === undefined || r.blobs.length === 0 ? {} : { blobs: r.blobs },
  )
}

/** Says that a question no longer stands; whoever decides it afterwards decides nothing. */
export function withdraw(task: Task, open: Open, why: { readonly code?: string; readonly problem?: string }): void {
  task.append('approval.withdrawn', {
    id: open.id,
    ...(why.code === undefined ? {} : { code: why.code }),
    ...(why.problem === undefined ? {} : { problem: why.problem }),
  })
}

/**
 * Waits for a person and records what came of it: decided, escalated, expired, or withdrawn (R10). `verify` looks at a
 * decision before it counts and says what is wrong with it; then the question is withdrawn and asked again by the caller.
 * The run may park meanwhile; when the scope is given up, the question is withdrawn.
 *
 * Where several have to agree, each yes is a decision of its own and the question stands; `have` counts those before. One
 * no ends it, whoever had agreed. What does not count is noted, and takes nothing from the others.
 */
export async function settle(
  task: Task,
  open: Open,
  verify: (decision: JsonObject, by: Actor) => Promise<string | undefined> = async () => undefined,
  have = 0,
): Promise<void> {
  const next = open.escalate[open.level]
  const escalates = next === undefined ? undefined : open.since + next.afterMs
  const ends = Math.min(open.expires ?? Infinity, escalates ?? Infinity, open.actsAt ?? Infinity)
  const until = ends === Infinity ? undefined : ends
  await task.durable()
  let message: Message | undefined
  try {
    message = await task.message(`approval.decided:${open.id}`, {
      kind: 'person',
      ...(until === undefined ? {} : { until }),
    })
  } catch (error) {
    if (!task.scope.dead) throw error
    withdraw(task, open, { code: 'SCOPE_CANCELLED' })
    return
  }
  if (message === undefined) {
    if (open.actsAt !== undefined && task.now() >= open.actsAt) task.append('approval.unopposed', { id: open.id })
    else if (open.expires !== undefined && task.now() >= open.expires) task.append('approval.expired', { id: open.id })
    else if (next !== undefined)
      task.append('approval.escalated', { id: open.id, group: next.group, level: open.level + 1 })
    return
  }
  const p = message.message.payload as JsonObject
  const causes = [{ ref: message.ref, kind: 'approval' as const }]
  const more = { actor: message.message.actor, labels: message.labels, causes }
  if (p['decision'] === 'escalated') {
    const group = p['group'] as string
    const at = open.escalate.findIndex((step) => step.group === group)
    const level = at < 0 ? open.level : at + 1
    task.append('approval.escalated', { id: open.id, group, level, inbox: message.inboxSeq }, more)
    return
  }
  if (open.expires !== undefined && message.message.at > open.expires) {
    task.append('approval.expired', { id: open.id }, { causes })
    return
  }
  const mismatch = p['actionHash'] !== open.actionHash
  const problem = mismatch
    ? 'the decision before was about other bytes than this action'
    : await verify(p, message.message.actor)
  if (problem !== undefined) {
    const code = mismatch ? 'APPROVAL_MISMATCH' : 'INPUT_INVALID'
    if (open.quorum > 1)
      task.append('approval.discounted', { id: open.id, code, problem, inbox: message.inboxSeq }, more)
    else withdraw(task, open, { code, problem })
    return
  }
  const yes = have + (p['decision'] === 'approved' ? 1 : 0)
  task.append(
    'approval.decided',
    {
      id: open.id,
      decision: p['decision'] as Json,
      actionHash: open.actionHash,
      inbox: message.inboxSeq,
      ...(open.quorum === 1 ? {} : { quorum: { have: yes, of: open.quorum } }),
      ...(p['reason'] === undefined ? {} : { reason: p['reason'] }),
      ...(p['action'] === undefined ? {} : { action: p['action'] }),
      ...(p['answer'] === undefined ? {} : { answer: p['answer'] }),
      ...(p['value'] === undefined ? {} : { value: p['value'] }),
    },
    more,
  )
}

export function lapsed(id: string): ConvokeError {
  return new ConvokeError('APPROVAL_EXPIRED', `nobody let the action pass in time (${id})`, {
    details: { id },
    next: 'call it again, with more time or another group',
  })
}
