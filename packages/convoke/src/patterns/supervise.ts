import type { Outcome } from '../contracts/outcome.ts'
import type { AnyRole, Role } from '../contracts/role.ts'
import { jsonSchemaOf, problemsOf } from '../contracts/schema.ts'
import { ConvokeError, toErrorData, type ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import {
  planProblems,
  referencesIn,
  resolveInput,
  type KnownTask,
  type Plan,
  type PlannedTask,
  type PlanRequest,
} from './plan.ts'
import { semaphore } from './semaphore.ts'
import type { PatternRun as Run } from './sequence.ts'

export interface SuperviseOptions<G> {
  readonly planner: Role<PlanRequest<G>, Plan>
  /** Roles that tasks may be for, by name. */
  readonly squad: Readonly<Record<string, AnyRole>>
  /** New plans after a task has failed; 2 unless said. */
  readonly maxReplans?: number
  /** How often a plan that cannot be run goes back to the planner; 2 unless said. */
  readonly repairs?: number
  /** Tasks at once; 4 unless said. */
  readonly concurrency?: number
  /** Tasks of one plan; 50 unless said. */
  readonly maxTasks?: number
}

export interface TaskReport {
  readonly id: string
  readonly role: string
  readonly needs: readonly string[]
  readonly status: 'finished' | 'failed' | 'skipped'
  readonly error?: ErrorData
}

export interface Supervised {
  /** Outcomes of all finished tasks by id, those of earlier plans among them. */
  readonly results: Readonly<Record<string, Outcome<unknown>>>
  /** The last plan. */
  readonly plan: Plan
  /** Every task that was ever tried, in the order of the plans. */
  readonly graph: readonly TaskReport[]
  /** Plans that were run. */
  readonly plans: number
  /** What the planner answered, in order; plans that could not be run among them. */
  readonly planned: readonly Outcome<Plan>[]
}

/**
 * Reaches a goal by a plan: a planner decomposes it into tasks for roles, the tasks run as soon as what they need has
 * finished, and when one fails the planner plans again with what is known. Finished tasks are never run again.
 * @throws PLAN_INVALID when no plan could be run, ATTEMPTS_EXHAUSTED when the last plan failed too; from the returned
 *   function
 */
export function supervise<G>(options: SuperviseOptions<G>): (run: Run, goal: G) => Promise<Supervised> {
  const { maxReplans = 2, repairs = 2, concurrency = 4, maxTasks = 50 } = options
  for (const [name, value] of Object.entries({ maxReplans, repairs }))
    if (!Number.isSafeInteger(value) || value < 0) throw invalid(`${name} is ${value}; expected 0 or more`)
  for (const [name, value] of Object.entries({ concurrency, maxTasks }))
    if (!Number.isSafeInteger(value) || value < 1) throw invalid(`${name} is ${value}; expected 1 or more`)
  const roles = new Map(Object.values(options.squad).map((role) => [role.name, role]))
  const listed = [...roles.values()].map((role) => ({
    name: role.name,
    ...(role.description === undefined ? {} : { description: role.description }),
    input: jsonSchemaOf(role.input, 'input'),
  }))

  return async (run, goal) => {
    const known = new Map<string, KnownTask>()
    const results = new Map<string, Outcome<unknown>>()
    const graph = new Map<string, TaskReport>()
    const planned: Outcome<Plan>[] = []
    let failed: PlanRequest<G>['failed'] = []
    let previous: Plan | undefined
    for (let round = 0; ; round++) {
      const base = { goal, roles: listed, finished: [...known.values()], failed }
      const plan = await makePlan(run, base, previous, round, planned)
      const ended = await carryOut(run, plan, known)
      for (const task of plan.tasks) {
        const end = ended[task.id]
        const { id, role, needs } = task
        if (end?.outcome !== undefined) {
          known.set(id, { id, role, input: task.input, value: (end.outcome.value ?? null) as Json })
          results.set(id, end.outcome)
        }
        if (end !== undefined || !graph.has(id))
          graph.set(id, {
            id,
            role,
            needs,
            status: known.has(id) ? 'finished' : end?.error === undefined ? 'skipped' : 'failed',
            ...(end?.error === undefined ? {} : { error: end.error }),
          })
      }
      failed = plan.tasks.flatMap((task) => {
        const error = ended[task.id]?.error
        return error === undefined ? [] : [{ id: task.id, role: task.role, input: task.input, error }]
      })
      const done = { results: Object.fromEntries(results), plan, graph: [...graph.values()], plans: round + 1, planned }
      if (failed.length === 0) return done
      if (round >= maxReplans) throw exhausted(failed, round + 1)
      previous = plan
    }
  }

  /** Asks for a plan until one can be run. */
  async function makePlan(
    run: Run,
    base: Omit<PlanRequest<G>, 'previous' | 'problems'>,
    before: Plan | undefined,
    round: number,
    planned: Outcome<Plan>[],
  ): Promise<Plan> {
    let previous = before
    let problems: readonly string[] = []
    for (let repair = 0; ; repair++) {
      const outcome = await run.ask(
        options.planner,
        {
          ...base,
          ...(previous === undefined ? {} : { previous }),
          ...(problems.length === 0 ? {} : { problems }),
        },
        { name: 'plan' },
      )
      planned.push(outcome)
      const plan = outcome.value
      problems = await problemsWith(plan, new Map(base.finished.map((task) => [task.id, task])))
      if (problems.length === 0) {
        const edges = plan.tasks.flatMap((task) => task.needs.map((need) => ({ from: need, to: task.id })))
        const made = { plan: round + 1, tasks: plan.tasks.map(({ id, role, needs }) => ({ id, role, needs })), edges }
        const why = plan.reason === undefined ? {} : { reason: plan.reason }
        await run.step(round === 0 ? 'plan.made' : 'plan.changed', { from: [outcome] }, () => ({ ...made, ...why }))
        return plan
      }
      run.log('plan rejected', { problems: [...problems], repair: repair + 1, of: repairs })
      if (repair >= repairs)
        throw new ConvokeError('PLAN_INVALID', `the plan cannot be run: ${problems.slice(0, 3).join('; ')}`, {
          details: { problems: [...problems], repairs },
          next: 'give the planner a clearer goal or another agent, or plan by hand',
        })
      previous = plan
    }
  }

  async function problemsWith(plan: Plan, finished: ReadonlyMap<string, KnownTask>): Promise<string[]> {
    const problems = planProblems(plan, { roles: new Set(roles.keys()), finished, maxTasks })
    for (const task of plan.tasks) {
      const role = roles.get(task.role)
      // An input that refers to results can only be checked once they are there.
      if (role === undefined || referencesIn(task.input).length > 0) continue
      for (const problem of await problemsOf(role.input, task.input)) problems.push(`task ${task.id}, input ${problem}`)
    }
    return problems
  }

  /** Runs what has not finished yet, each task as soon as its needs have. A task that fails leaves the others alone. */
  async function carryOut(run: Run, plan: Plan, known: ReadonlyMap<string, KnownTask>): Promise<Record<string, Ended>> {
    const todo = plan.tasks.filter((task) => !known.has(task.id))
    if (todo.length === 0) return {}
    const slots = semaphore(concurrency)
    const gates = new Map(todo.map((task) => [task.id, Promise.withResolvers<Ended>()]))
    const branches = Object.fromEntries(
      todo.map((task) => [
        task.id,
        async (branch: Run): Promise<Ended> => {
          const ended = await runTask(branch, task)
          gates.get(task.id)?.resolve(ended)
          return ended
        },
      ]),
    )

    async function runTask(branch: Run, task: PlannedTask): Promise<Ended> {
      const results = new Map(known)
      const outcomes: unknown[] = []
      for (const need of task.needs) {
        const gate = gates.get(need)
        if (gate === undefined) continue
        const { outcome, input } = await gate.promise
        if (outcome === undefined) return {}
        outcomes.push(outcome)
        results.set(need, {
          id: need,
          role: outcome.role,
          input: input ?? null,
          value: (outcome.value ?? null) as Json,
        })
      }
      const resolved = resolveInput(task.input, results)
      if (!resolved.ok) return { error: { code: 'INPUT_INVALID', message: resolved.problem } }
      const release = await slots.take()
      try {
        const role = roles.get(task.role) as Role<unknown, unknown>
        return { outcome: await branch.ask(role, resolved.value, { from: outcomes }), input: task.input }
      } catch (error) {
        if (branch.signal.aborted || endsRun(error)) throw error
        return { error: toErrorData(error) }
      } finally {
        release()
      }
    }

    return run.all('tasks', branches)
  }
}

interface Ended {
  readonly outcome?: Outcome<unknown>
  readonly input?: Json
  readonly error?: ErrorData
}

/** Errors that another plan cannot help. */
function endsRun(error: unknown): boolean {
  if (!(error instanceof ConvokeError)) return false
  return error.handling === 'stopped' || error.handling === 'lost' || error.code === 'BUDGET_EXCEEDED'
}

function exhausted(failed: PlanRequest<unknown>['failed'], plans: number): ConvokeError {
  return new ConvokeError(
    'ATTEMPTS_EXHAUSTED',
    `${plans} ${plans === 1 ? 'plan has' : 'plans have'} failed; in the last one: ${failed.map((f) => `${f.id} (${f.error.code})`).join(', ')}`,
    {
      details: { plans, failed: failed as unknown as Json },
      next: 'raise maxReplans, or let a person decide with run.decide()',
    },
  )
}

function invalid(why: string): ConvokeError {
  return new ConvokeError('DEFINITION_INVALID', `a supervisor is defined wrongly: ${why}`)
}
