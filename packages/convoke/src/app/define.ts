import type { StandardSchemaV1 } from '@standard-schema/spec'
import { ConvokeError } from '../core/errors.ts'
import { encodeName } from '../core/path.ts'
import { validate } from '../contracts/schema.ts'
import { digestOf, type BoardKey, type Signal, type Workflow } from '../replay/workflow.ts'
import type { Run } from './run.ts'

type In<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferInput<S> : unknown
type Out<S> = S extends StandardSchemaV1 ? StandardSchemaV1.InferOutput<S> : unknown

export interface WorkflowOptions<I, O> {
  readonly name: string
  /** '1' unless said. Raise it with a deliberate change of what the workflow does. */
  readonly version?: string
  /** What it takes; anything unless said. */
  readonly input?: I
  /** What it gives; checked before the run completes. */
  readonly output?: O
}

/**
 * Defines a workflow: a function that orchestrates, deterministic except through `run`.
 * @throws DEFINITION_INVALID, NAME_INVALID
 */
export function workflow<
  I extends StandardSchemaV1 | undefined = undefined,
  O extends StandardSchemaV1 | undefined = undefined,
>(
  options: WorkflowOptions<I, O>,
  code: (run: Run, input: Out<I>) => Promise<O extends StandardSchemaV1 ? In<O> : unknown>,
): Workflow<In<I>, Out<O>> {
  encodeName(options.name)
  if (typeof code !== 'function')
    throw new ConvokeError('DEFINITION_INVALID', `workflow ${options.name} has no code`, {
      next: 'pass an async function as the second argument',
    })
  const { input, output } = options
  // Hashed when first needed: loading what hashes takes Node a while, which a ledger's thread can start in.
  let digest: string | undefined
  return Object.freeze({
    kind: 'workflow',
    name: options.name,
    version: options.version ?? '1',
    get digest() {
      return (digest ??= digestOf(code))
    },
    code: code as unknown as Workflow<In<I>, Out<O>>['code'],
    parseInput: async (value: unknown) =>
      (input === undefined ? value : validate(input, value, `the input of workflow ${options.name}`)) as Promise<In<I>>,
    parseOutput: async (value: unknown) =>
      (output === undefined ? value : validate(output, value, `the result of workflow ${options.name}`)) as Promise<
        Out<O>
      >,
  })
}

/** Defines a typed message from outside. */
export function signal<S extends StandardSchemaV1>(options: {
  readonly name: string
  readonly schema: S
}): Signal<StandardSchemaV1.InferOutput<S>> {
  encodeName(options.name)
  const { name, schema } = options
  return Object.freeze({
    kind: 'signal',
    name,
    parse: async (value: unknown) =>
      validate(schema, value, `signal ${name}`) as Promise<StandardSchemaV1.InferOutput<S>>,
  })
}

/** Defines a typed key of the run's board. */
export function boardKey<T>(name: string): BoardKey<T> {
  encodeName(name)
  return Object.freeze({ kind: 'board-key', name })
}
