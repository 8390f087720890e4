import { settle as settled } from '../core/canonical.ts'
import { ConvokeError, isConvokeError } from '../core/errors.ts'
import { labelsJson } from '../core/labels.ts'
import { anyConcerns } from '../policy/decide.ts'
import { noPolicy } from '../policy/policy.ts'
import type { JsonObject } from '../core/json.ts'
import type { Completion, Entry, Operation, Task } from '../replay/types.ts'
import { failure, released, simulated } from './answer.ts'
import { lapsed, request, settle, withdraw } from './approvals.ts'
import { attempt, givenUp, sentAction } from './attempt.ts'
import { reserve } from './business-key.ts'
import { afterDecision, correctionFits } from './decided.ts'
import type { Call, Caller, CallOptions, GatewayDeps } from './deps.ts'
import { deciderProblem } from './deciders.ts'
import { gate, grantsOf, missing, shownAction, type Passed } from './gate.ts'
import { heldAnswer } from './held.ts'
import { holdKey, several, type HoldReason } from './holds.ts'
import { judgingOf, railsOf } from './guard-run.ts'
import { railName } from './guardrail.ts'
import { afterVerdict, inDoubt, nameOf, pause, recover, verdictProblem } from './recover.ts'
import { standStill } from './stand-still.ts'
import { agreed, fold, type CallState } from './state.ts'
import type { AnyTool } from './tool.ts'
import { toolDigest } from './tool-digest.ts'
import { noteTrust, tell } from './told.ts'

/** More than any call needs: a bound on the loop that goes from record to record. */
const maxRounds = 10_000

/** An operation that takes a call back, made from what it gave; its input is made when it is needed. */
export type Undo = (result: unknown) => Operation

/**
 * The operation of one tool call. Nothing external happens except through here (idea 4): schema, scopes, guardrails,
 * policy, approval, business key, durable intent, lease, and only then the first byte; then bounds, schema and guardrails
 * on what comes back. Where a call stands is in its records alone, so a crash at any place is a place to go on from.
 * @throws NOT_CANONICAL for an input without JSON form
 */
export function callOperation(
  deps: GatewayDeps,
  caller: Caller,
  tool: AnyTool,
  input: unknown,
  options: CallOptions = {},
  undo?: Undo,
): Operation {
  const canonical = input === undefined ? undefined : settled(input)
  const { businessKey } = options
  const call: Call = {
    deps,
    caller,
    tool,
    input: canonical?.value ?? null,
    options,
    timeoutMs: options.timeoutMs ?? tool.timeoutMs,
  }
  // Filled in member by member: it is made for every call, and a spread for each costs more than all the rest of it.
  const operation: { -readonly [K in keyof Operation]: Operation[K] } = {
    kind: 'call',
    name: options.name ?? tool.name,
    target: tool.name,
    version: tool.version,
    input: businessKey === undefined ? { input } : { input, businessKey },
    declared: true,
    environment: environmentOf(deps, caller, tool, options),
    effect: mayHold(call),
    execute: (task) => run(call, task),
    applied: (entry) => countJudging(caller, entry),
  }
  if (canonical !== undefined && businessKey === undefined) operation.inputText = `{"input":${canonical.text}}`
  if (options.from !== undefined) operation.from = options.from
  if (options.flow !== undefined) operation.flow = options.flow
  if (caller.actor !== undefined) operation.actor = caller.actor
  if (undo !== undefined) operation.undo = undo
  return operation
}

interface Environments {
  readonly all: Map<string, JsonObject>
  /** The one without guardrails that was asked for last, and what it is for. */
  last?: {
    readonly policy: string
    readonly role: string | undefined
    readonly approval: string | undefined
    readonly made: JsonObject
  }
}

const environments = new WeakMap<AnyTool, Environments>()
const maxEnvironments = 100

/** What shapes a result besides the arguments; one object for all calls that it is the same for. */
function environmentOf(deps: GatewayDeps, caller: Caller, tool: AnyTool, { approval }: CallOptions): JsonObject {
  const policy = deps.policy?.version ?? noPolicy.version
  const { role } = caller
  const guarded = guardedBy(deps, tool.name)
  let known = environments.get(tool)
  if (known === undefined) environments.set(tool, (known = { all: new Map() }))
  const { last } = known
  if (guarded === unguarded && last?.policy === policy && last.role === role && last.approval === approval)
    return last.made
  const key = JSON.stringify([policy, role, approval, guarded])
  let made = known.all.get(key)
  if (made === undefined) {
    made = environment(tool, policy, role, approval, guarded)
    if (known.all.size < maxEnvironments) known.all.set(key, made)
  }
  if (guarded === unguarded) known.last = { policy, role, approval, made }
  return made
}

function environment(
  tool: AnyTool,
  policy: string,
  role: string | undefined,
  approval: string | undefined,
  guarded: JsonObject,
): JsonObject {
  return Object.freeze({
    effect: tool.effect,
    policy,
    tool: toolDigest(tool),
    ...(role === undefined ? {} : { role }),
    ...(approval === undefined ? {} : { approval }),
    ...guarded,
  })
}

const unguarded: { readonly guardrails?: readonly string[] } = Object.freeze({})

/** Names and versions of the guardrails that a result passed (R9). */
function guardedBy({ guardrails }: GatewayDeps, tool: string): { readonly guardrails?: readonly string[] } {
  if (guardrails === undefined || guardrails.length === 0) return unguarded
  const rails = new Set([...railsOf(guardrails, tool, 'input'), ...railsOf(guardrails, tool, 'output')].map(railName))
  return rails.size === 0 ? unguarded : { guardrails: [...rails].sort() }
}

/** What models used to judge the call counts like what they used to work, live and on replay alike. */
function countJudging({ spend }: Caller, { payload }: Entry): void {
  const judging = payload['judging']
  if (judging !== undefined) spend?.used(judging as JsonObject)
}

/** Whether the call must end with a record of its own whatever happens: it may act outside, or leave a question open. */
function mayHold({ deps, tool, options }: Call): boolean {
  return (
    tool.effect !== 'read' ||
    options.approval !== undefined ||
    tool.accepts !== undefined ||
    tool.external ||
    (deps.policy !== undefined && anyConcerns(deps.policy, tool.name, tool.effect)) ||
    railsOf(deps.guardrails, tool.name, 'input').length > 0 ||
    railsOf(deps.guardrails, tool.name, 'output').length > 0
  )
}

async function run(call: Call, task: Task): Promise<Completion> {
  // What goes outside before there is an intent waits here: guardrails may ask somebody, and what stands on record may be
  // gone on with. The rest waits for its intent's own commit (R2), which then carries what came before as well.
  const { deps, tool } = call
  const asksOutside = railsOf(deps.guardrails, tool.name, 'input').length > 0
  if (asksOutside || task.history.length > 0) await task.durable()
  for (let i = 0; i < maxRounds; i++) {
    const done = await round(call, task, fold(task.history))
    if (done !== undefined) return done.extra?.['judging'] === undefined ? withJudging(done, task) : done
  }
  throw new ConvokeError('TOOL_FAILED', `the call of ${call.tool.name} does not come to an end`)
}

function withJudging(done: Completion, task: Task): Completion {
  if (task.history.length === 0) return done
  const { judging } = judgingOf(task)
  return judging === undefined ? done : { ...done, extra: { ...done.extra, judging } }
}

/** One step on from where the records say the call stands. Undefined after records were added: look again. */
async function round(call: Call, task: Task, s: CallState): Promise<Completion | undefined> {
  const { tool } = call
  const { dispatch, open } = s
  const { halts } = call.deps
  if (halts?.clear(task.run, call.caller.role) === false) await standStill(halts, task, call.caller.role)
  const held = heldAnswer(task)
  if (held !== undefined) return released(call, task, s, held)
  if (dispatch !== undefined) {
    const action = await sentAction(call, dispatch)
    if (open !== undefined) {
      await settle(task, open, async (decision) => verdictProblem(decision))
      return undefined
    }
    if (s.expired !== undefined) return inDoubt(call, s, action, 'nobody said in time what happened')
    if (s.decided !== undefined) return afterVerdict(call, task, s, s.decided, dispatch, action)
    if (s.retry !== undefined) {
      await pause(call, task, s.retry.until)
      return attempt(call, task, s, action)
    }
    const repeatable = tool.effect !== 'reconcilable' && tool.effect !== 'unsafe'
    return repeatable ? attempt(call, task, s, action) : recover(call, task, s, dispatch, action)
  }
  if (task.history.length > 0) await noteTrust(call, task, s)
  if (s.decided !== undefined) return afterDecision(call, task, s, s.decided.decision)
  if (s.expired !== undefined) return failure(call, s, lapsed(s.expired.id), 'none')
  if (task.scope.dead) {
    if (open !== undefined) withdraw(task, open, { code: 'SCOPE_CANCELLED' })
    return failure(call, s, givenUp(task), 'none')
  }
  let passed: Passed
  try {
    passed = await gate(call, task, s.corrected)
  } catch (error) {
    if (open !== undefined) withdraw(task, open, { code: (error as ConvokeError).code })
    return failure(call, s, error, 'none')
  }
  if (call.deps.effects === 'dry' && tool.effect !== 'read')
    return simulated(call, task, s, passed.action, passed.ancestor)
  if (open !== undefined) {
    const asked = passed.holds.some((h) => holdKey(h) === open.hold)
    if (!asked || passed.binding() !== open.actionHash || passed.policyVersion !== open.policyVersion)
      withdraw(task, open, { problem: 'the action or the policy changed after it was asked' })
    else
      await settle(
        task,
        open,
        async (decision, by) =>
          deciderProblem(call, s, open, by, decision['decision'] === 'rejected') ??
          (await correctionFits(call, task, decision)),
        agreed(s.grants, open).length,
      )
    return undefined
  }
  const hold = missing(passed, s.grants)
  if (hold !== undefined) {
    const { stored, blobs } = shownAction(passed)
    request(task, call.deps.keyed, s.asked, {
      kind: hold.kind,
      title: titleOf(call, passed, hold),
      category: hold.category,
      group: hold.group,
      action: stored,
      blobs,
      actionHash: passed.binding(),
      policyVersion: passed.policyVersion,
      generation: s.generation,
      hold: holdKey(hold),
      expiresMs: hold.expiresMs,
      escalate: hold.escalate,
      delayMs: hold.delayMs,
      quorum: hold.quorum,
      fourEyes: hold.fourEyes,
      labels: labelsJson(task.labels),
      by: hold.by,
      problem: s.problem,
    })
    return undefined
  }
  const late = passed.holds
    .flatMap((h) => grantsOf(passed, h, s.grants))
    .find((g) => g.expires !== undefined && task.now() > g.expires)
  if (late !== undefined && s.dispatches === 0) {
    task.append('approval.expired', { id: late.id })
    return failure(call, s, lapsed(late.id), 'none')
  }
  if (s.retry !== undefined) await pause(call, task, s.retry.until)
  const { action } = passed
  if (action.businessKey !== undefined && tool.effect !== 'read') {
    // A reservation stands for good: what led to it must stand as well.
    await task.durable()
    try {
      await reserve(call.deps.ledger, {
        tenant: task.tenant,
        tool: tool.name,
        key: action.businessKey,
        owner: { run: task.run, path: task.path },
        heirOf: passed.ancestor?.runs ?? [],
      })
    } catch (error) {
      if (!isConvokeError(error, 'BUSINESS_KEY_TAKEN')) throw error
      return failure(call, s, error, 'none')
    }
  }
  tell(call, task, passed)
  return attempt(call, task, s, action, passed.ruled)
}

function titleOf(call: Call, passed: Passed, hold: HoldReason): string {
  return `${call.options.title ?? nameOf(passed.action)}${several(hold)}`
}
