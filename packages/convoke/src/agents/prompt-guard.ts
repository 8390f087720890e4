import { canonicalize } from '../core/canonical.ts'
import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { noLabels } from '../core/labels.ts'
import { denial, railName } from '../gateway/guardrail.ts'
import { judgeText, judgingOf, noteJudgement, textRailsOf, type Desk } from '../gateway/guard-run.ts'
import { heldAnswer, holdAnswer, release, type HeldAnswer } from '../gateway/held.ts'
import type { Completion, Task } from '../replay/types.ts'
import type { Message, Model } from '../ports/model.ts'
import type { AskWork } from './work.ts'

/** Texts that a model is about to be shown, by their place in the list; only those that were changed. */
type Changed = Readonly<Record<string, string>>

/**
 * Has guardrails look at what a model is shown for the first time, in a step of its own, so that what they made of it is
 * the same on replay. Without guardrails for prompts there is no step.
 * @throws GUARDRAIL_DENIED, APPROVAL_EXPIRED
 */
export async function guardPrompt(work: AskWork, model: Model, texts: readonly string[]): Promise<readonly string[]> {
  const { guardrails } = work.deps.gateway
  const rails = textRailsOf(guardrails, work.role.name, 'prompt')
  if (rails.length === 0 || texts.length === 0) return texts
  const changed = await work.claim<Changed>({
    kind: 'guard',
    name: 'prompt',
    target: model.id,
    input: { texts: sha256(canonicalize(texts)) },
    declared: true,
    environment: { guardrails: rails.map(railName) },
    execute: (task) => look(work, task, model, rails, texts),
    applied: ({ payload }) => {
      if (payload['judging'] !== undefined) work.used(payload['judging'] as JsonObject)
    },
  })
  return texts.map((text, i) => changed[String(i)] ?? text)
}

/** The same for messages that an agent's code wrote; results of tools have passed the gateway. */
export async function guardMessages(
  work: AskWork,
  model: Model,
  messages: readonly Message[],
): Promise<readonly Message[]> {
  const places = messages.flatMap(({ role, parts }, m) =>
    role === 'system' || role === 'user'
      ? parts.flatMap((part, p) => (part.type === 'text' ? [{ m, p, text: part.text }] : []))
      : [],
  )
  const guarded = await guardPrompt(
    work,
    model,
    places.map(({ text }) => text),
  )
  return messages.map((message, m) => ({
    ...message,
    parts: message.parts.map((part, p) => {
      const at = places.findIndex((place) => place.m === m && place.p === p)
      const text = at < 0 ? undefined : guarded[at]
      return part.type !== 'text' || text === undefined || text === part.text ? part : { ...part, text }
    }),
  }))
}

async function look(
  work: AskWork,
  task: Task,
  model: Model,
  rails: Desk['rails'],
  texts: readonly string[],
): Promise<Completion> {
  await task.durable()
  const before = heldAnswer(task)
  if (before !== undefined) return released(work, task, model, before)
  const { keyed, clock } = work.deps.gateway
  const spend = { assert: () => work.assertBudget(), used: (usage: JsonObject) => work.used(usage) }
  const desk: Desk = { rails, task, keyed, clock, spend }
  const changed: Record<string, string> = {}
  const asked = []
  for (const [i, text] of texts.entries()) {
    const { tenant, run, path } = task
    const said = { text, model: model.id, tenant, run, path, role: work.role.name }
    const judged = await judgeText(desk, 'prompt', said)
    noteJudgement(task, 'prompt', judged)
    if (judged.denied !== undefined) {
      const error = denial(judged.denied.guardrail, `showing this to ${model.id}`, judged.denied.reason)
      return { error: error.toJSON(), extra: judgingOf(task) }
    }
    if (judged.value !== text) changed[String(i)] = judged.value
    asked.push(...judged.asked)
  }
  const extra = judgingOf(task) as JsonObject
  if (asked.length === 0) return { value: changed, extra }
  const held = { value: changed as Json, asked, extra, usage: undefined }
  holdAnswer(task, held)
  await task.durable()
  return released(work, task, model, held)
}

async function released(work: AskWork, task: Task, model: Model, held: HeldAnswer): Promise<Completion> {
  const { keyed, policy, starter } = work.deps.gateway
  const refused = await release(task, held, {
    keyed,
    policy,
    starter,
    what: model.id,
    title: `showing ${model.id} its instructions and briefing`,
    role: work.role.name,
    labels: noLabels,
  })
  return refused === undefined
    ? { value: held.value, extra: held.extra }
    : { error: refused.toJSON(), extra: held.extra }
}
