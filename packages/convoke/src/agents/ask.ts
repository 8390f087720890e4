import { deepFreeze } from '../core/canonical.ts'
import { isForbidden } from '../core/codes.ts'
import { ConvokeError, toErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { refOf, type Cause } from '../core/record.ts'
import type { Denied } from '../contracts/outcome.ts'
import type { AnyRole } from '../contracts/role.ts'
import { validate } from '../contracts/schema.ts'
import type { Scope } from '../replay/scope.ts'
import type { Completion, Operation, Task } from '../replay/types.ts'
import { asAnswer } from './answer.ts'
import { makeMeter, type Meter } from '../costs/totals.ts'
import { assertGrants, type GrantSet } from '../grants/grant.ts'
import { agentContext } from './context.ts'
import type { Agent, CodeAgent } from './define.ts'
import { environmentOf } from './environment.ts'
import { evidenceBook } from './evidence-book.ts'
import { runLoop } from './loop.ts'
import { standStill } from '../gateway/stand-still.ts'
import { assertBudget, runMeter } from './meter.ts'
import { requestedOperation, resolvedOperation, type Requested, type Resolved, type TaskTerms } from './records.ts'
import type { Bound } from './registry.ts'
import { judgeAnswer, rejection, type Accepted } from './judge.ts'
import { keepSession, sessionOf } from './session.ts'
import type { AgentDeps, AskOptions, AskWork } from './work.ts'

const maxDepth = 12

/** Where an ask is made: the scope it is claimed in, and the ask around it when an agent makes it. */
export interface Asking {
  readonly scope: Scope
  readonly around?: AskWork
}

interface Ask {
  readonly deps: AgentDeps
  readonly role: AnyRole
  readonly input: unknown
  readonly options: AskOptions
  readonly terms: TaskTerms
  readonly bind: () => Bound
  readonly asking: Asking
}

/**
 * An ask: a typed request to a role, carried out by whichever agent fills it now. Everything it does happens in its own
 * scope; once it has finished, its inner records need not be loaded.
 */
export function askOperation(
  deps: AgentDeps,
  role: AnyRole,
  input: unknown,
  options: AskOptions,
  asking: Asking,
): Operation {
  const bind = (): Bound => deps.registry.bind(role, { agent: options.agent, use: deps.use[role.name] })
  const terms = termsOf(options)
  const { agent } = options
  const filled = boundNow(bind)
  let ran = false
  return {
    kind: 'ask',
    name: options.name ?? role.name,
    target: role.name,
    input: {
      input: input ?? null,
      ...(agent === undefined ? {} : { agent }),
      ...terms,
      ...(options.grants === undefined ? {} : { grants: options.grants }),
    },
    declared: true,
    environment: environmentOf(deps, role, filled),
    fold: true,
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(options.flow === undefined ? {} : { flow: options.flow }),
    ...(filled === undefined ? {} : { actor: { kind: 'agent', id: filled.name, version: filled.version } }),
    orchestrate: (scope, task) => {
      ran = true
      return perform({ deps, role, input, options, terms, bind, asking }, scope, task)
    },
    applied: (entry) => {
      const usage = entry.payload['usage'] as JsonObject | undefined
      if (!ran) count(asking, usage)
      keepSession(asking.scope, entry)
    },
    present: (stored, entry) => {
      const { session: _, ...outcome } = stored as JsonObject
      const { usage } = entry.payload
      return deepFreeze({
        claims: [],
        ...outcome,
        ...(usage === undefined ? {} : { usage }),
        record: refOf(entry.record),
      })
    },
  }
}

/** Counts what was used where the ask was made: in the ask around it, or in the run. */
function count(asking: Asking, usage: JsonObject | undefined): void {
  if (usage === undefined) return
  if (asking.around !== undefined) asking.around.used(usage)
  else runMeter(asking.scope.engine).add(usage)
}

function boundNow(bind: () => Bound): Agent | undefined {
  try {
    return bind().agent
  } catch {
    return undefined
  }
}

function termsOf(options: AskOptions): TaskTerms {
  const { deadline, priority, notBefore, session } = options
  return {
    ...(deadline === undefined ? {} : { deadline }),
    ...(priority === undefined ? {} : { priority }),
    ...(notBefore === undefined ? {} : { notBefore }),
    ...(session === undefined ? {} : { session }),
  }
}

async function perform(ask: Ask, scope: Scope, task: Task): Promise<Completion> {
  const meter = makeMeter()
  const usage = (): { usage?: JsonObject } => {
    const totals = meter.totals()
    return totals.calls === 0 ? {} : { usage: { ...totals } as unknown as JsonObject }
  }
  try {
    const work = await begin(ask, scope, task, meter)
    const { accepted, model, session } = await carryOut(work)
    const refs = new Set(accepted.claims.flatMap((claim) => claim.evidence.map((e) => e.record)))
    return {
      value: { ...outcomeOf(accepted, work, model), ...(session === undefined ? {} : { session }) },
      causes: [...refs].map((ref): Cause => ({ ref, kind: 'evidence' })),
      ...usage(),
    }
  } catch (error) {
    scope.engine.abandon(scope, error)
    await scope.engine.settled(scope)
    return { error: toErrorData(error), ...usage() }
  }
}

/** What comes before the work: the input is checked, the request noted, the role bound to an agent. */
async function begin(ask: Ask, scope: Scope, task: Task, meter: Meter): Promise<AskWork> {
  const { deps, role, options, terms, asking } = ask
  const { engine } = scope
  const { around } = asking
  const denied: Denied[] = []
  const claim = async <T>(operation: Operation): Promise<T> => {
    try {
      return (await engine.claim(scope, operation)) as T
    } catch (error) {
      noteDenied(denied, operation, error)
      throw error
    }
  }
  const parsed = await validate(role.input, ask.input, `the input of role ${role.name}`)
  const { input, ref, at } = await claim<Requested>(
    requestedOperation({
      role: role.name,
      requester: around?.self,
      terms,
      input: parsed,
      raw: ask.input,
      idempotencyKey: deps.keyed(`task\n${task.tenant}\n${task.run}\n${task.path}`).slice(0, 32),
    }),
  )
  const { notBefore } = terms
  if (notBefore !== undefined)
    await claim({
      kind: 'sleep',
      name: '@notBefore',
      input: { notBefore },
      execute: async (waiting) => {
        await waiting.until(notBefore)
        return {}
      },
    })
  const resolved = await claim<Resolved>(resolvedOperation(role.name, modelName(deps), ask.bind))
  const agent = deps.registry.find(role.name, resolved.agent, resolved.version)
  if (agent === undefined) throw missing(scope, resolved)
  const budget = options.budget ?? deps.budget?.ask
  const session = terms.session === undefined ? undefined : sessionOf(scope, role.name, terms.session)
  const work: AskWork = {
    deps,
    scope,
    engine,
    role,
    agent,
    input,
    requested: { record: ref },
    terms,
    session,
    bounds: boundsOf(options, task.path, around),
    evidence: evidenceBook(() => engine.time, deps.redact, session?.segments),
    meter,
    denied,
    depth: (around?.depth ?? 0) + 1,
    self: { role: role.name, agent: agent.name, version: agent.version, path: task.path },
    claim,
    nested: (asked, value, its) => nestedAsk(work, asked, value, its),
    standStill: (task) => standStill(deps.gateway.halts, task, role.name),
    assertBudget() {
      assertBudget(budget, meter, `the task for ${role.name}`)
      if (around !== undefined) around.assertBudget()
      else assertBudget(deps.budget?.run, runMeter(engine), `run ${engine.run}`)
    },
    used(usage) {
      if (usage !== undefined) meter.add(usage)
      count(asking, usage)
    },
  }
  if (agent.work === 'code' && role.evidence !== 'none')
    work.evidence.add({ content: (input ?? null) as Json, from: { record: ref }, title: 'input', asOf: at }, 'input')
  return work
}

/** What the asker is bound to, what its role was granted if it says so, and what it narrows this task to. */
function boundsOf({ grants }: AskOptions, path: string, around: AskWork | undefined): readonly GrantSet[] {
  if (grants !== undefined) assertGrants(grants, `the ask ${path}`)
  return [
    ...(around?.bounds ?? []),
    ...(around?.role.grants === undefined ? [] : [{ from: `role:${around.role.name}`, grants: around.role.grants }]),
    ...(grants === undefined ? [] : [{ from: `ask:${path}`, grants }]),
  ]
}

function noteDenied(all: Denied[], { kind, target }: Operation, error: unknown): void {
  if (kind !== 'call' || target === undefined) return
  if (!(error instanceof ConvokeError) || !isForbidden(error.code)) return
  if (!all.some((d) => d.tool === target && d.code === error.code)) all.push({ tool: target, code: error.code })
}

interface CarriedOut {
  readonly accepted: Accepted
  readonly model?: string
  readonly session?: JsonObject
}

async function carryOut(work: AskWork): Promise<CarriedOut> {
  const { agent, terms, role } = work
  if (agent.work === 'code') return { accepted: await runCode(work, agent) }
  const { accepted, model, session } = await runLoop(work, agent, agentContext(work, false))
  return {
    accepted,
    model,
    ...(terms.session === undefined ? {} : { session: { role: role.name, name: terms.session, ...session } }),
  }
}

/** @throws OUTPUT_INVALID, EVIDENCE_INSUFFICIENT: code is not asked again */
async function runCode(work: AskWork, agent: CodeAgent): Promise<Accepted> {
  const returned = await agent.run(agentContext(work, true), work.input as never)
  assertAwaited(work.scope)
  const judged = await judgeAnswer(work.role, asAnswer(returned), work.evidence)
  if (!judged.ok) throw rejection(work.role, judged, 0)
  return judged
}

function nestedAsk(work: AskWork, role: AnyRole, input: unknown, options: AskOptions): Operation {
  if (!work.role.mayAsk.includes(role.name))
    throw new ConvokeError('ASK_NOT_ALLOWED', `role ${work.role.name} may not ask role ${role.name}`, {
      details: { role: work.role.name, asked: role.name, mayAsk: [...work.role.mayAsk] },
      next: `add ${role.name} to mayAsk of role ${work.role.name}`,
    })
  if (work.depth >= maxDepth)
    throw new ConvokeError('ASK_NOT_ALLOWED', `asks are nested deeper than ${maxDepth}`, {
      details: { role: work.role.name, asked: role.name, depth: work.depth },
      next: 'look for roles that ask each other in a circle',
    })
  return askOperation(work.deps, role, input, options, { scope: work.scope, around: work })
}

function outcomeOf(accepted: Accepted, work: AskWork, model: string | undefined): JsonObject {
  const { agent, role } = work
  const { value, confidence, reasoning, claims } = accepted
  return {
    ...(value === undefined ? {} : { value: value as Json }),
    ...(confidence === undefined ? {} : { confidence }),
    ...(reasoning === undefined ? {} : { reasoning }),
    ...(claims.length === 0 ? {} : { claims: claims as unknown as Json }),
    ...(work.denied.length === 0 ? {} : { denied: [...work.denied] as unknown as Json }),
    role: role.name,
    agent: agent.name,
    version: agent.version,
    ...(model === undefined ? {} : { model }),
  }
}

function modelName(deps: AgentDeps): (bound: Bound) => string | undefined {
  return ({ agent }) => (agent.work === 'model' ? deps.models(agent.model).id : undefined)
}

/** The ask was begun by an agent that this build does not have: no other may go on in its place. */
function missing(scope: Scope, resolved: Resolved): ConvokeError {
  const error = new ConvokeError(
    'WORKFLOW_CHANGED',
    `an unfinished task is bound to agent ${resolved.agent}@${resolved.version} of role ${resolved.role}, which this app does not have`,
    {
      details: { role: resolved.role, agent: resolved.agent, version: resolved.version },
      next: 'run the build that has the agent, fork the run from before the task, or cancel it',
    },
  )
  scope.engine.stop(error)
  return error
}

/** Code that returns while a step of its own is under way would leave it without an owner. */
function assertAwaited(scope: Scope): void {
  const open = [...scope.underWay.keys()]
  if (open.length === 0) return
  throw new ConvokeError('STEP_UNAWAITED', `the agent returned without awaiting ${open.slice(0, 5).join(', ')}`, {
    details: { steps: open.slice(0, 20) },
    next: 'await every call, ask and step',
  })
}
