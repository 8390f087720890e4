import type { StandardSchemaV1 } from '@standard-schema/spec'
import { canonicalize, decode, deepFreeze } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import { matches } from '../core/patterns.ts'
import { assertGrants, type Grant } from '../grants/grant.ts'
import { fingerprintOf, isSchema } from './schema.ts'

/** Whether a conclusion needs claims with evidence: `required`, checked where given, or not asked for. */
export type EvidenceMode = 'required' | 'optional' | 'none'

/** Anything that is known by its name: a tool, a role. */
export interface Named {
  readonly name: string
}

export interface RoleDefinition<I extends StandardSchemaV1, O extends StandardSchemaV1> {
  /** A letter, then letters, digits and `. _ -`; 60 at most. */
  readonly name: string
  /** What it is for, in a sentence; planners and models read it. */
  readonly description?: string
  readonly input: I
  readonly output: O
  /** `none` unless said. */
  readonly evidence?: EvidenceMode
  /** Tools within its reach; none unless said. */
  readonly tools?: readonly (Named | string)[]
  /**
   * What it may do with tools, and with which arguments; the tools they name are within its reach. What is done on its
   * behalf is bound to them as well: roles that it asks get no further. Without grants, `tools` is all that is said.
   */
  readonly grants?: readonly Grant[]
  /** Roles it may ask, through the orchestrator; none unless said. A function where roles name each other. */
  readonly mayAsk?: readonly (Named | string)[] | (() => readonly (Named | string)[])
  /** '1' unless said. Raise it when the contract's meaning changes and its schemas do not. */
  readonly version?: string
}

/** A contract that agents fill. Frozen. `I` is what callers pass, `O` what they get. */
export interface Role<I, O> {
  readonly kind: 'role'
  readonly name: string
  readonly description?: string
  readonly version: string
  readonly input: StandardSchemaV1
  readonly output: StandardSchemaV1
  readonly evidence: EvidenceMode
  /** Names. */
  readonly tools: readonly string[]
  readonly grants: readonly Grant[] | undefined
  /** Names. */
  readonly mayAsk: readonly string[]
  /** Changes whenever the contract does (R9). Throws DEFINITION_INVALID when a schema has no JSON Schema. */
  readonly fingerprint: string
  /** For the type checker only. */
  readonly types?: { readonly accepts: (input: I) => void; readonly gives: O }
}
export type AnyRole = Role<never, unknown>

/**
 * Defines a role.
 * @throws DEFINITION_INVALID for a bad name, or an input or output that is no Standard Schema
 */
export function role<I extends StandardSchemaV1, O extends StandardSchemaV1>(
  definition: RoleDefinition<I, O>,
): Role<StandardSchemaV1.InferInput<I>, StandardSchemaV1.InferOutput<O>> {
  const { name, description, input, output, version = '1', evidence = 'none', tools = [], mayAsk = [] } = definition
  if (typeof name !== 'string' || !/^[A-Za-z][A-Za-z0-9._-]{0,59}$/.test(name))
    throw invalid(name, 'this cannot be a name', 'use a letter, then letters, digits and . _ -, 60 characters at most')
  for (const side of ['input', 'output'] as const)
    if (!isSchema(definition[side])) throw invalid(name, `${side} is not a Standard Schema`, 'use a Zod 4 schema, say')
  if (!['required', 'optional', 'none'].includes(evidence))
    throw invalid(name, `evidence ${JSON.stringify(evidence)} is unknown`, "say 'required', 'optional' or 'none'")
  const toolNames = namesOf([...tools, ...(definition.grants ?? []).flatMap((g) => (g.passOn ? [] : [g.tool]))])
  const grants = definition.grants === undefined ? undefined : allGrants(name, definition.grants, namesOf(tools))
  // Found out when first needed: roles may name roles defined after them, and programs start faster.
  const asked = once(() => namesOf(typeof mayAsk === 'function' ? mayAsk() : mayAsk))
  const fingerprint = once(() =>
    sha256(
      canonicalize([
        name,
        version,
        evidence,
        toolNames,
        asked(),
        fingerprintOf(input),
        fingerprintOf(output),
        ...(grants === undefined ? [] : [grants]),
      ]),
    ).slice(0, 16),
  )
  return Object.freeze({
    kind: 'role' as const,
    name,
    ...(description === undefined ? {} : { description }),
    version,
    input,
    output,
    evidence,
    tools: toolNames,
    grants,
    get mayAsk() {
      return asked()
    },
    get fingerprint() {
      return fingerprint()
    },
  })
}

/** Tools that are only listed are granted as they are. @throws DEFINITION_INVALID when it is unclear which of both counts */
function allGrants(name: string, grants: readonly Grant[], tools: readonly string[]): readonly Grant[] {
  assertGrants(grants, `role ${name}`)
  const listed = tools.filter((tool) => !grants.some((grant) => grant.tool === tool))
  const both = listed.find((tool) => grants.some((grant) => matches(grant.tool, tool) || matches(tool, grant.tool)))
  if (both !== undefined) throw invalid(name, `tools and grants both speak of ${both}`, 'say it in grants alone')
  const all = [...grants, ...listed.map((tool) => ({ tool }))]
  return deepFreeze(decode(canonicalize(all))) as unknown as readonly Grant[]
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => (made ??= { value: make() }).value
}

function namesOf(list: readonly (Named | string)[]): readonly string[] {
  return Object.freeze([...new Set(list.map((item) => (typeof item === 'string' ? item : item.name)))])
}

/**
 * Roles from which planners choose by name; typed, so that code can name them as well.
 * @throws DEFINITION_INVALID when two roles have one name
 */
export function squad<T extends Readonly<Record<string, AnyRole>>>(roles: T): Readonly<T> {
  const names = Object.values(roles).map((member) => member.name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw invalid(twice, 'two roles of a squad have this name', 'give each role its own name')
  return Object.freeze({ ...roles })
}

function invalid(name: unknown, why: string, next: string): ConvokeError {
  return new ConvokeError('DEFINITION_INVALID', `role ${JSON.stringify(name)}: ${why}`, {
    details: { role: String(name) },
    next,
  })
}
