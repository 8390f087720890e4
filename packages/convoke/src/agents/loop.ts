import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { ModelTool, Part } from '../ports/model.ts'
import { answerSchema } from '../contracts/answer.ts'
import { judgeText, rejection, type Accepted } from './judge.ts'
import type { AgentContext } from './context.ts'
import {
  continueConversation,
  extend,
  freshConversation,
  storedMessage,
  type Added,
  type Conversation,
  type SessionState,
} from './conversation.ts'
import type { LoopAgent } from './define.ts'
import { answerGuard } from './answer-guard.ts'
import { modelOperation, type Answered } from './model-call.ts'
import { guardPrompt } from './prompt-guard.ts'
import { repairText, systemText, userText } from './prompt.ts'
import { rejectedOperation, shownOperation } from './records.ts'
import type { AskWork } from './work.ts'
import { isRef, type Segment } from './segment.ts'
import { toolbox, useTools } from './tools.ts'

export interface LoopResult {
  readonly accepted: Accepted
  readonly model: string
  readonly session: Omit<SessionState, 'labels'>
}

/**
 * The model's turns: brief, call, tools, answer; an answer that fails its contract goes back with what is wrong, at
 * most `repairs` times. Runs in the ask's own scope and awaits nothing but its steps.
 * @throws OUTPUT_INVALID, EVIDENCE_INSUFFICIENT after the repairs; AGENT_EXHAUSTED after `maxTurns`; what the model throws
 */
export async function runLoop(work: AskWork, agent: LoopAgent, context: AgentContext): Promise<LoopResult> {
  const { scope, role, deps } = work
  const model = deps.models(agent.model)
  const tools = toolbox(work)
  const said = (who: 'system' | 'user', text: string): Added =>
    storedMessage({ role: who, parts: [{ type: 'text', text: deps.redact(text) as string }] })
  const instructions = systemText(agent, role)
  const shown = (await briefing(work, agent, context)).map((segment) => work.evidence.add(segment))
  const [asSystem = '', asUser = ''] = await guardPrompt(work, model, [instructions, userText(shown)])
  const system = said('system', asSystem)
  const briefed = await work.claim<{ readonly ref: string }>(shownOperation(shown, system))
  work.evidence.prove(shown, briefed.ref)

  const conversation = work.session === undefined ? freshConversation() : continueConversation(work.session)
  const told = said('user', asUser)
  let pending: readonly Added[] = work.session === undefined ? [system, told] : [told]
  let seen: readonly string[] = [briefed.ref, ...shown.map((s) => s.from).filter(isRef)]
  let repairs = 0
  for (let turn = 1; turn <= agent.maxTurns + repairs; turn++) {
    const answered = await callModel(work, agent, { conversation, pending, shown: seen, tools: tools.listed })
    extend(conversation, pending, answered)
    const calls = answered.parts.filter((part) => part.type === 'tool-call')
    if (calls.length > 0) {
      const used = await useTools(work, tools, calls)
      pending = used.map((u) => u.added)
      seen = used.flatMap((u) => u.ref ?? [])
      continue
    }
    const raw = textOf(answered.parts)
    const judged = await judgeText(role, raw, answered.finish, work.evidence)
    if (judged.ok)
      return {
        accepted: judged,
        model: model.id,
        session: { base: answered.ref, digest: conversation.digest, segments: work.evidence.last },
      }
    if (repairs >= agent.repairs) throw rejection(role, judged, repairs)
    repairs++
    const about = { problems: judged.problems, repair: repairs, of: agent.repairs }
    await work.claim(rejectedOperation({ ...about, raw, answer: answered.ref }))
    scope.engine.live(scope, 'answer.rejected', {
      role: role.name,
      agent: agent.name,
      ...about,
      problems: [...about.problems],
    })
    pending = [said('user', repairText(judged.problems))]
    seen = []
  }
  throw new ConvokeError('AGENT_EXHAUSTED', `agent ${agent.name} gave no answer in ${agent.maxTurns} turns`, {
    details: { role: role.name, agent: agent.name, maxTurns: agent.maxTurns },
    next: 'raise maxTurns, or split the task',
  })
}

async function briefing(work: AskWork, agent: LoopAgent, context: AgentContext): Promise<readonly Segment[]> {
  const { input, requested } = work
  if (agent.brief === undefined) return [{ content: (input ?? null) as Json, from: requested, title: 'input' }]
  return agent.brief(context, input as never)
}

async function callModel(
  work: AskWork,
  agent: LoopAgent,
  turn: {
    readonly conversation: Conversation
    readonly pending: readonly Added[]
    readonly shown: readonly string[]
    readonly tools: readonly ModelTool[]
  },
): Promise<Answered> {
  const { deps, terms, role } = work
  return work.claim<Answered>(
    modelOperation(
      {
        model: deps.models(agent.model),
        conversation: turn.conversation,
        added: turn.pending,
        ...(turn.tools.length === 0 ? {} : { tools: turn.tools }),
        outputSchema: answerSchema(role),
        settings: agent.settings,
        shown: turn.shown,
        deadline: terms.deadline,
        standStill: (task) => work.standStill(task),
        assertBudget: () => work.assertBudget(),
        used: (usage) => work.used(usage),
        guard: answerGuard(work),
      },
      deps,
    ),
  )
}

function textOf(parts: readonly Part[]): string {
  return parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')
}
