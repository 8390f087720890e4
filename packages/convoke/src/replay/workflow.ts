import { sha256 } from '../core/hash.ts'
import type { Actor } from '../core/record.ts'

/** A workflow as the engine needs it. `parse` functions come from the contract's schemas and throw ConvokeErrors. */
export interface Workflow<I = unknown, O = unknown> {
  readonly kind: 'workflow'
  readonly name: string
  readonly version: string
  /** Hash of the code, so that a run knows whether it is continued by what began it (R8). */
  readonly digest: string
  readonly code: (run: never, input: I) => Promise<O>
  readonly parseInput: (value: unknown) => Promise<I>
  readonly parseOutput: (value: unknown) => Promise<O>
}

/** Any workflow, whatever it takes and gives. */
export interface AnyWorkflow extends Omit<Workflow, 'code' | 'parseInput'> {
  readonly code: (run: never, input: never) => Promise<unknown>
  readonly parseInput: (value: unknown) => Promise<unknown>
}

const actors = new WeakMap<AnyWorkflow, Actor>()

/** Who acts where a run's own code does. One frozen object for all of its runs: what it looks like is written once. */
export function actorOf(workflow: AnyWorkflow): Actor {
  const known = actors.get(workflow)
  if (known !== undefined) return known
  const actor: Actor = Object.freeze({ kind: 'orchestrator', id: workflow.name, version: workflow.version })
  actors.set(workflow, actor)
  return actor
}

/** The digest covers the function's own text; a build id covers what it imports. */
export function digestOf(code: { toString(): string }, build = ''): string {
  return sha256(`${build}\n${code.toString()}`).slice(0, 16)
}

/** A typed message from outside. */
export interface Signal<T = unknown> {
  readonly kind: 'signal'
  readonly name: string
  readonly parse: (value: unknown) => Promise<T>
}

/** A typed key of the board. */
export interface BoardKey<T = unknown> {
  readonly kind: 'board-key'
  readonly name: string
  readonly type?: T
}

/** Thrown by `continueAs`: the run ends and another goes on in its place. */
export class ContinueAs extends Error {
  readonly workflow: string | undefined
  readonly input: unknown

  constructor(workflow: string | undefined, input: unknown) {
    super('the run continues as another')
    this.name = 'ContinueAs'
    this.workflow = workflow
    this.input = input
  }
}
