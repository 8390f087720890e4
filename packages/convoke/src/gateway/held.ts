import { canonicalize } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { labelsJson, type Labels } from '../core/labels.ts'
import { noPolicy, policyDigest } from '../policy/policy.ts'
import type { Task } from '../replay/types.ts'
import { lapsed, request, settle } from './approvals.ts'
import { deciderProblem } from './deciders.ts'
import type { GatewayDeps } from './deps.ts'
import type { Asked } from './guardrail.ts'
import { holdKey, several, type HoldReason } from './holds.ts'
import { agreed, fold } from './state.ts'

// What is there already (a tool's answer, a model's) and must not be seen before a person lets it pass. It stands in a
// record of its own, so that nothing is done twice while somebody thinks.

/** What is held, as its record has it. */
export interface HeldAnswer {
  readonly value: Json | undefined
  readonly asked: readonly Asked[]
  /** What goes with the value into the record that ends the step. */
  readonly extra: JsonObject
  readonly usage: JsonObject | undefined
}

const clipAt = 4096

export function holdAnswer(task: Task, held: HeldAnswer): void {
  const { value, asked, extra, usage } = held
  task.append(
    'answer.held',
    {
      asked: asked as unknown as Json,
      extra,
      ...(value === undefined ? {} : { value }),
      ...(usage === undefined ? {} : { usage }),
    },
    { critical: true },
  )
}

/** What of this operation is held, from before a crash or from a moment ago. */
export function heldAnswer(task: Task): HeldAnswer | undefined {
  const held = task.history.findLast((e) => e.record.type === 'answer.held')?.payload
  if (held === undefined) return undefined
  return {
    value: held['value'],
    asked: held['asked'] as unknown as readonly Asked[],
    extra: held['extra'] as JsonObject,
    usage: held['usage'] as JsonObject | undefined,
  }
}

export interface ReleaseDeps extends Pick<GatewayDeps, 'keyed' | 'policy' | 'starter'> {
  /** What was called: a tool or a model. */
  readonly what: string
  /** What the person reads first; that it answered unless said. */
  readonly title?: string
  readonly role: string | undefined
  readonly labels: Labels
}

/** Each wait is a round, and so is each new question: more than any answer needs. */
const maxRounds = 1_000

/**
 * Waits until everybody who was asked lets the answer pass; undefined then, else why it does not. The run may park
 * meanwhile. A release is bound to the very bytes, and to the policy under which it was asked.
 */
export async function release(task: Task, held: HeldAnswer, deps: ReleaseDeps): Promise<ConvokeError | undefined> {
  const policy = deps.policy ?? noPolicy
  const binding = deps.keyed(
    `answer\n${canonicalize([task.tenant, task.run, task.path, held.value ?? null, policy.version, policyDigest(policy)])}`,
  )
  const holds: readonly HoldReason[] = held.asked.map(({ guardrail, reason, category, group }) => ({
    ...policy.categories?.[category],
    category,
    ...(group === undefined ? {} : { group }),
    kind: 'answer' as const,
    by: `guardrail ${guardrail}: ${reason}`,
  }))
  for (let i = 0; i < maxRounds; i++) {
    const s = fold(task.history)
    if (s.decided !== undefined) return refused(held, deps.what, s.decided.by.id, s.decided.reason)
    if (s.expired !== undefined) return lapsed(s.expired.id)
    if (s.open !== undefined) {
      const { open } = s
      await settle(
        task,
        open,
        async (decision, by) =>
          deciderProblem({ deps }, s, open, by, decision['decision'] === 'rejected') ??
          (decision['decision'] === 'corrected' ? 'an answer is released or not; it is not corrected' : undefined),
        agreed(s.grants, open).length,
      )
      continue
    }
    if (task.scope.dead) return new ConvokeError('SCOPE_CANCELLED', `step ${task.path} was given up`)
    const about = (h: HoldReason): Parameters<typeof agreed>[1] => ({
      hold: holdKey(h),
      actionHash: binding,
      policyVersion: policy.version,
    })
    const hold = holds.find((h) => agreed(s.grants, about(h)).length < (h.quorum ?? 1))
    if (hold === undefined) return undefined
    const text = canonicalize(held.value ?? null)
    request(task, deps.keyed, s.asked, {
      kind: 'answer',
      title: `${deps.title ?? `what ${deps.what} answered`}${several(hold)}`,
      category: hold.category,
      group: hold.group,
      action: {
        from: deps.what,
        ...(deps.role === undefined ? {} : { role: deps.role }),
        answer: text.length <= clipAt ? (held.value ?? null) : { $begins: text.slice(0, clipAt).toWellFormed() },
      },
      actionHash: binding,
      policyVersion: policy.version,
      generation: 0,
      hold: holdKey(hold),
      expiresMs: hold.expiresMs,
      escalate: hold.escalate,
      quorum: hold.quorum,
      fourEyes: hold.fourEyes,
      labels: labelsJson(deps.labels),
      by: hold.by,
      problem: s.problem,
    })
  }
  throw new ConvokeError('GUARDRAIL_DENIED', `nobody comes to decide about what ${deps.what} answered`)
}

function refused(held: HeldAnswer, what: string, by: string, reason: string | undefined): ConvokeError {
  const [first] = held.asked
  const why = reason === undefined ? '' : `: ${reason}`
  return new ConvokeError('GUARDRAIL_DENIED', `${by} does not let pass what ${what} answered${why}`, {
    details: { what, by, guardrail: first?.guardrail ?? '', reason: reason ?? first?.reason ?? '' },
    next: 'do without the answer, or ask for something else',
  })
}
