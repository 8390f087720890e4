import type { Outcome } from '../contracts/outcome.ts'
import type { Role } from '../contracts/role.ts'
import type { AgentRun } from '../agents/agent-run.ts'
import type { DurableRun, MapOptions } from '../replay/durable-run.ts'

/** What patterns stand on: the public run. */
export type PatternRun = DurableRun & AgentRun

/** One stage: a role that is asked with what the stage before gave, or code. */
export type Stage<I, O> = Role<I, O> | ((run: PatternRun, input: I) => Promise<O>)

export type Flow<I, O> = (run: PatternRun, input: I) => Promise<O>

/** Stages one after another, each with the value of the one before. Stages can be sequences themselves. */
export function sequence<A, B>(first: Stage<A, B>): Flow<A, B>
export function sequence<A, B, C>(first: Stage<A, B>, second: Stage<B, C>): Flow<A, C>
export function sequence<A, B, C, D>(first: Stage<A, B>, second: Stage<B, C>, third: Stage<C, D>): Flow<A, D>
export function sequence<A, B, C, D, E>(
  first: Stage<A, B>,
  second: Stage<B, C>,
  third: Stage<C, D>,
  fourth: Stage<D, E>,
): Flow<A, E>
export function sequence(...stages: readonly Stage<unknown, unknown>[]): Flow<unknown, unknown> {
  return async (run, input) => {
    let value = input
    let before: Outcome<unknown> | undefined
    for (const stage of stages) {
      if (typeof stage === 'function') {
        value = await stage(run, value)
        before = undefined
      } else {
        before = await run.ask(stage, value, before === undefined ? {} : { from: [before] })
        value = before.value
      }
    }
    return value
  }
}

export interface MapBoundedOptions<I> extends MapOptions<I> {
  /** Names the step; `each` unless said. */
  readonly name?: string
}

/** Every item through one stage, so many at once; results in the order of the items. The first failure is thrown. */
export function mapBounded<I, O>(stage: Stage<I, O>, options: MapBoundedOptions<I>): Flow<readonly I[], O[]> {
  const { name = 'each', ...bounds } = options
  const one = once(stage)
  return (run, items) => run.map(name, items, bounds, (branch, item) => one(branch, item))
}

/** As `mapBounded`, but a failed item is a result, and the others go on. */
export function mapBoundedSettled<I, O>(
  stage: Stage<I, O>,
  options: MapBoundedOptions<I>,
): Flow<readonly I[], PromiseSettledResult<O>[]> {
  const { name = 'each', ...bounds } = options
  const one = once(stage)
  return (run, items) => run.mapSettled(name, items, bounds, (branch, item) => one(branch, item))
}

function once<I, O>(stage: Stage<I, O>): Flow<I, O> {
  return typeof stage === 'function' ? stage : async (run, input) => (await run.ask(stage, input)).value
}
