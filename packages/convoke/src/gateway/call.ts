import { canonicalize, decode } from '../core/canonical.ts'
import { ConvokeError, isConvokeError } from '../core/errors.ts'
import { jsonSchemaOf } from '../contracts/schema.ts'
import { sha256 } from '../core/hash.ts'
import type { Json } from '../core/json.ts'
import type { Completion, Operation, Task } from '../replay/types.ts'
import { failure, simulated } from './answer.ts'
import { request, settle, withdraw } from './approvals.ts'
import { attempt, givenUp, sentAction } from './attempt.ts'
import { reserve } from './business-key.ts'
import { afterDecision, correctionFits, lapsed } from './decided.ts'
import type { Call, Caller, CallOptions, GatewayDeps } from './deps.ts'
import { gate, grantOf, missing, shownAction, type Passed } from './gate.ts'
import { holdKey, matches, noPolicy } from './policy.ts'
import { afterVerdict, inDoubt, nameOf, pause, recover, verdictProblem } from './recover.ts'
import { fold, type CallState } from './state.ts'
import type { AnyTool } from './tool.ts'

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
  const call: Call = {
    deps,
    caller,
    tool,
    input: input === undefined ? null : decode(canonicalize(input)),
    options,
    timeoutMs: options.timeoutMs ?? tool.timeoutMs,
  }
  return {
    kind: 'call',
    name: options.name ?? tool.name,
    target: tool.name,
    version: tool.version,
    input: { input, ...(options.businessKey === undefined ? {} : { businessKey: options.businessKey }) },
    declared: true,
    environment: {
      effect: tool.effect,
      policy: deps.policy?.version ?? noPolicy.version,
      tool: environmentOf(tool),
      ...(caller.role === undefined ? {} : { role: caller.role }),
      ...(options.approval === undefined ? {} : { approval: options.approval }),
    },
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(caller.actor === undefined ? {} : { actor: caller.actor }),
    effect: mayHold(call),
    execute: (task) => run(call, task),
    ...(undo === undefined ? {} : { undo }),
  }
}

const environments = new WeakMap<AnyTool, string>()

/** Changes when what the tool takes or gives changes, as far as its schemas can tell (R9). */
function environmentOf(tool: AnyTool): string {
  let hash = environments.get(tool)
  if (hash === undefined) {
    const sides = [schemaText(tool.inputSchema, 'input'), schemaText(tool.outputSchema, 'output')]
    hash = sha256(canonicalize([tool.version, tool.description, ...sides])).slice(0, 16)
    environments.set(tool, hash)
  }
  return hash
}

function schemaText(schema: AnyTool['outputSchema'], side: 'input' | 'output'): Json {
  if (schema === undefined) return null
  try {
    return jsonSchemaOf(schema, side)
  } catch {
    // Not every schema can be written down; the tool's version stands for it then.
    return schema['~standard'].vendor
  }
}

/** Whether the call must end with a record of its own whatever happens: it may act outside, or leave a question open. */
function mayHold({ deps, tool, options }: Call): boolean {
  return (
    tool.effect !== 'read' ||
    options.approval !== undefined ||
    (deps.policy?.rules.some((rule) => matches(rule.tool, tool.name)) ?? false) ||
    (deps.guardrails?.some((rail) => rail.before !== undefined && matches(rail.tools ?? '*', tool.name)) ?? false)
  )
}

async function run(call: Call, task: Task): Promise<Completion> {
  await task.durable()
  for (let i = 0; i < maxRounds; i++) {
    const done = await round(call, task, fold(task.history))
    if (done !== undefined) return done
  }
  throw new ConvokeError('TOOL_FAILED', `the call of ${call.tool.name} does not come to an end`)
}

/** One step on from where the records say the call stands. Undefined after records were added: look again. */
async function round(call: Call, task: Task, s: CallState): Promise<Completion | undefined> {
  const { tool } = call
  const { dispatch, open } = s
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
    if (!asked || passed.hash !== open.actionHash || passed.policyVersion !== open.policyVersion)
      withdraw(task, open, { problem: 'the action or the policy changed after it was asked' })
    else await settle(task, open, (decision) => correctionFits(call, task, decision))
    return undefined
  }
  const hold = missing(passed, s.grants)
  if (hold !== undefined) {
    const { stored, blobs } = shownAction(passed)
    request(task, call.deps.keyed, s.asked, {
      kind: hold.kind,
      title: call.options.title ?? nameOf(passed.action),
      category: hold.category,
      group: hold.group,
      action: stored,
      blobs,
      actionHash: passed.hash,
      policyVersion: passed.policyVersion,
      generation: s.generation,
      hold: holdKey(hold),
      expiresMs: hold.expiresMs,
      escalate: hold.escalate,
      by: hold.by,
      problem: s.problem,
    })
    return undefined
  }
  const late = passed.holds
    .map((h) => grantOf(passed, h, s.grants))
    .find((g) => g?.expires !== undefined && task.now() > g.expires)
  if (late !== undefined && s.dispatches === 0) {
    task.append('approval.expired', { id: late.id })
    return failure(call, s, lapsed(late.id), 'none')
  }
  if (s.retry !== undefined) await pause(call, task, s.retry.until)
  const { action } = passed
  if (action.businessKey !== undefined && tool.effect !== 'read') {
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
  return attempt(call, task, s, action)
}
