import { ConvokeError } from '../core/errors.ts'
import { canonicalize } from '../core/canonical.ts'
import { sha256 } from '../core/hash.ts'
import type { Json } from '../core/json.ts'
import { encodeName } from '../core/path.ts'
import type { AnyRole, Role } from '../contracts/role.ts'
import type { Model } from '../ports/model.ts'
import { digestOf } from '../replay/workflow.ts'
import type { Answer } from './answer.ts'
import type { AgentContext } from './context.ts'
import type { ModelSettings } from './model-call.ts'
import type { Segment } from './segment.ts'

interface AgentBase {
  readonly kind: 'agent'
  readonly name: string
  readonly version: string
  readonly role: AnyRole
  /** Hash of its code or instructions; part of the environment hash (R9). */
  readonly digest: string
}

/** An agent whose work is code. */
export interface CodeAgent extends AgentBase {
  readonly work: 'code'
  readonly run: (context: AgentContext, input: never) => Promise<unknown>
}

/** An agent whose work is a model's, turn by turn. */
export interface LoopAgent extends AgentBase {
  readonly work: 'model'
  readonly model: string | Model | undefined
  readonly instructions: string
  readonly settings: ModelSettings
  readonly maxTurns: number
  readonly repairs: number
  readonly brief:
    ((context: AgentContext, input: never) => readonly Segment[] | Promise<readonly Segment[]>) | undefined
}

export type Agent = CodeAgent | LoopAgent

/**
 * What an agent's code may give for a role's output: the shape is the role's, and TypeScript checks it. Which of several
 * literals a string is it cannot know here ("delivery" is a string by the time it looks); the role's schema does.
 */
export type Loose<T> = Json extends T
  ? T
  : T extends string
    ? string
    : T extends number
      ? number
      : T extends boolean
        ? boolean
        : T extends object
          ? { [K in keyof T]: Loose<T[K]> }
          : T

export interface CodeAgentDefinition<I, O> {
  readonly role: Role<I, O>
  /** The role's name unless said. */
  readonly name?: string
  /** `1` unless said. */
  readonly version?: string
  /** Deterministic except through the context. Returns the value, or `answer(value, { claims, … })`. */
  readonly run: (context: AgentContext, input: I) => Promise<NoInfer<Loose<O> | Answer<Loose<O>>>>
}

export interface LoopAgentDefinition<I, O> {
  readonly role: Role<I, O>
  readonly name?: string
  readonly version?: string
  /** What it is asked to do, in words. */
  readonly instructions: string
  /** A model or the name of one that the app configures; the app's default unless said. */
  readonly model?: string | Model
  readonly settings?: ModelSettings
  /** Model calls without an answer before AGENT_EXHAUSTED; 8 unless said, repairs not counted. */
  readonly maxTurns?: number
  /** How often an answer that fails its contract is returned; 2 unless said. */
  readonly repairs?: number
  /** What it is shown; the input unless said. */
  readonly brief?: (context: AgentContext, input: I) => readonly Segment[] | Promise<readonly Segment[]>
}

/**
 * Defines an agent that can fill a role: code, or a model with instructions.
 * @throws NAME_INVALID, DEFINITION_INVALID
 */
export function agent<I, O>(definition: CodeAgentDefinition<I, O> | LoopAgentDefinition<I, O>): Agent {
  const { role } = definition
  const name = definition.name ?? role.name
  encodeName(name)
  const version = definition.version ?? '1'
  const base = { kind: 'agent' as const, name, version, role: role as unknown as AnyRole }
  // Hashed when first needed, as a workflow is.
  let digest: string | undefined
  if ('run' in definition) {
    if (typeof definition.run !== 'function') throw invalid(name, 'run is not a function')
    const { run } = definition
    return {
      ...base,
      work: 'code',
      get digest() {
        return (digest ??= digestOf(run))
      },
      run: run as CodeAgent['run'],
    }
  }
  if (typeof definition.instructions !== 'string') throw invalid(name, 'it has neither run nor instructions')
  const bounds = { maxTurns: definition.maxTurns ?? 8, repairs: definition.repairs ?? 2 }
  if (!Number.isSafeInteger(bounds.maxTurns) || bounds.maxTurns < 1) throw invalid(name, 'maxTurns must be 1 or more')
  if (!Number.isSafeInteger(bounds.repairs) || bounds.repairs < 0) throw invalid(name, 'repairs must be 0 or more')
  const settings = definition.settings ?? {}
  const model = typeof definition.model === 'object' ? definition.model.id : (definition.model ?? null)
  const says = canonicalize({ instructions: definition.instructions, model, settings, ...bounds })
  return {
    ...base,
    ...bounds,
    work: 'model',
    get digest() {
      return (digest ??= sha256(`${says}\n${definition.brief?.toString() ?? ''}`).slice(0, 16))
    },
    model: definition.model,
    instructions: definition.instructions,
    settings,
    brief: definition.brief as LoopAgent['brief'],
  }
}

function invalid(name: string, why: string): ConvokeError {
  return new ConvokeError('DEFINITION_INVALID', `agent ${name} is defined wrongly: ${why}`, {
    next: 'give it run: async (context, input) => …, or instructions for a model',
  })
}
