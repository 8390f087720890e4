import type { ErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { canonicalize } from '../core/canonical.ts'

/** A task of a plan: what is asked of which role, and whose results it needs first. */
export interface PlannedTask {
  /** Names the task within the plan and in the run's paths. */
  readonly id: string
  readonly role: string
  /** What the role is given. `{ "$task": id, "pointer": "/…" }` (RFC 6901) stands for a part of a needed task's result. */
  readonly input: Json
  readonly needs: readonly string[]
}

export interface Plan {
  readonly tasks: readonly PlannedTask[]
  /** Why this way, in a sentence. */
  readonly reason?: string
}

/** What is known of a task that has ended. */
export interface KnownTask {
  readonly id: string
  readonly role: string
  readonly input: Json
  readonly value: Json
}

/** What a planner is given: the goal, whom it may ask, and what is known when it plans again. */
export interface PlanRequest<G> {
  readonly goal: G
  readonly roles: readonly { readonly name: string; readonly description?: string; readonly input: JsonObject }[]
  /** Tasks that are done; their results can be referred to and they are not run again. */
  readonly finished: readonly KnownTask[]
  readonly failed: readonly {
    readonly id: string
    readonly role: string
    readonly input: Json
    readonly error: ErrorData
  }[]
  /** The plan before this one, and what is wrong with it when it could not be run at all. */
  readonly previous?: Plan
  readonly problems?: readonly string[]
}

export interface PlanChecks {
  readonly roles: ReadonlySet<string>
  readonly finished: ReadonlyMap<string, KnownTask>
  readonly maxTasks: number
}

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** Everything that keeps a plan from being an acyclic graph of tasks for known roles; empty when nothing does. */
export function planProblems(plan: Plan, checks: PlanChecks): string[] {
  const problems: string[] = []
  const { roles, finished } = checks
  const ids = new Set<string>()
  if (plan.tasks.length === 0) problems.push('the plan has no tasks')
  if (plan.tasks.length > checks.maxTasks)
    problems.push(`the plan has ${plan.tasks.length} tasks; ${checks.maxTasks} are allowed`)
  for (const task of plan.tasks) {
    if (!idPattern.test(task.id))
      problems.push(`${JSON.stringify(task.id)} cannot be a task's id: letters, digits, and . _ - after the first`)
    if (ids.has(task.id)) problems.push(`two tasks have the id ${task.id}`)
    ids.add(task.id)
    if (!roles.has(task.role))
      problems.push(`task ${task.id}: there is no role ${task.role}; choose one of ${[...roles].join(', ')}`)
    const before = finished.get(task.id)
    if (before !== undefined && !sameWork(before, task))
      problems.push(`task ${task.id} has already finished as other work; give changed work another id`)
  }
  for (const task of plan.tasks) {
    for (const need of task.needs)
      if (need === task.id) problems.push(`task ${task.id} needs itself`)
      else if (!ids.has(need) && !finished.has(need)) problems.push(`task ${task.id} needs ${need}, which is no task`)
    for (const { task: used } of referencesIn(task.input))
      if (!task.needs.includes(used)) problems.push(`task ${task.id} refers to ${used} without needing it`)
  }
  const circle = circleIn(plan)
  if (circle.length > 0) problems.push(`the tasks ${circle.join(', ')} need each other in a circle`)
  return problems
}

function sameWork(before: KnownTask, task: PlannedTask): boolean {
  return before.role === task.role && canonicalize(before.input) === canonicalize(task.input)
}

/** Tasks that never become ready, by Kahn's algorithm (1962). */
function circleIn(plan: Plan): string[] {
  const ids = new Set(plan.tasks.map((task) => task.id))
  const open = new Map(
    plan.tasks.map((task) => [task.id, new Set(task.needs.filter((n) => ids.has(n) && n !== task.id))]),
  )
  for (let ready = without(open); ready.length > 0; ready = without(open))
    for (const id of ready) {
      open.delete(id)
      for (const needs of open.values()) needs.delete(id)
    }
  return [...open.keys()]
}

function without(open: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  return [...open].filter(([, needs]) => needs.size === 0).map(([id]) => id)
}

export interface Reference {
  readonly task: string
  readonly pointer: string
}

function referenceOf(value: Json): Reference | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const { $task: task, pointer, ...rest } = value as JsonObject
  if (typeof task !== 'string' || Object.keys(rest).length > 0) return undefined
  if (pointer !== undefined && typeof pointer !== 'string') return undefined
  return { task, pointer: pointer ?? '' }
}

export function referencesIn(value: Json): Reference[] {
  const reference = referenceOf(value)
  if (reference !== undefined) return [reference]
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap((item: Json) => referencesIn(item))
}

/**
 * Puts results in the place of references.
 * @returns the input, or what a reference leads nowhere in
 */
export function resolveInput(
  input: Json,
  results: ReadonlyMap<string, KnownTask>,
): { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly problem: string } {
  const reference = referenceOf(input)
  if (reference !== undefined) {
    const found = at(results.get(reference.task)?.value, reference.pointer)
    return found === undefined
      ? { ok: false, problem: `the result of ${reference.task} has nothing at ${reference.pointer || 'its root'}` }
      : { ok: true, value: found }
  }
  if (typeof input !== 'object' || input === null) return { ok: true, value: input }
  const made: [string, Json][] = []
  for (const [key, item] of Object.entries(input as JsonObject)) {
    const inner = resolveInput(item, results)
    if (!inner.ok) return inner
    made.push([key, inner.value])
  }
  return { ok: true, value: Array.isArray(input) ? made.map(([, item]) => item) : Object.fromEntries(made) }
}

/** RFC 6901. */
function at(value: Json | undefined, pointer: string): Json | undefined {
  if (pointer === '') return value
  if (!pointer.startsWith('/')) return undefined
  let here = value
  for (const token of pointer.slice(1).split('/')) {
    if (typeof here !== 'object' || here === null) return undefined
    const key = token.replaceAll('~1', '/').replaceAll('~0', '~')
    if (!Object.hasOwn(here, key) || (Array.isArray(here) && !/^(0|[1-9]\d*)$/.test(key))) return undefined
    here = (here as Readonly<Record<string, Json>>)[key]
  }
  return here
}
