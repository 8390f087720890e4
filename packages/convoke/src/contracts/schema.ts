import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec'
import { canonicalize, decode, pointerOf, settleValue } from '../core/canonical.ts'
import { ConvokeError, isConvokeError } from '../core/errors.ts'
import type { Code } from '../core/codes.ts'
import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'

// Schemas are Standard Schema 1.1 (https://standardschema.dev), of any vendor. What a schema lets through is data: it
// comes back canonical and frozen, as it will be read from the ledger again.

/** Which field, and why. */
export interface Issue {
  /** JSON Pointer (RFC 6901); '' is the whole value. */
  readonly pointer: string
  readonly message: string
}

export type Checked<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly issues: readonly Issue[] }

const maxIssues = 20

export function isSchema(value: unknown): value is StandardSchemaV1 {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  const standard = (value as { '~standard'?: { validate?: unknown } })['~standard']
  return typeof standard === 'object' && standard !== null && typeof standard.validate === 'function'
}

/**
 * Checks a value, and gives what the schema made of it, canonical and frozen. What a schema lets through although it is
 * no data (a Date, say) is an issue as well. At most 20 issues. Never rejects.
 */
export async function check<S extends StandardSchemaV1>(
  schema: S,
  value: unknown,
): Promise<Checked<StandardSchemaV1.InferOutput<S>>> {
  try {
    const result = await schema['~standard'].validate(value)
    if (result.issues !== undefined) return { ok: false, issues: result.issues.slice(0, maxIssues).map(issueOf) }
    const made = result.value === undefined ? undefined : settleValue(result.value)
    return { ok: true, value: made as StandardSchemaV1.InferOutput<S> }
  } catch (error) {
    if (isConvokeError(error, 'NOT_CANONICAL'))
      return { ok: false, issues: [{ pointer: error.details?.['pointer'] as string, message: error.message }] }
    const why = error instanceof Error ? error.message : String(error)
    return {
      ok: false,
      issues: [{ pointer: '', message: `the schema itself threw: ${why.toWellFormed().slice(0, 500)}` }],
    }
  }
}

function issueOf(issue: StandardSchemaV1.Issue): Issue {
  const path = (issue.path ?? []).map((part) => (typeof part === 'object' ? part.key : part))
  return { pointer: pointerOf(path), message: issue.message.toWellFormed() }
}

/** A sentence for each issue, such as `/total: expected a string`; empty when the value fits. */
export async function problemsOf(schema: StandardSchemaV1, value: unknown): Promise<string[]> {
  const checked = await check(schema, value)
  return checked.ok ? [] : checked.issues.map(sentence)
}

function sentence(issue: Issue): string {
  return `${issue.pointer === '' ? 'the value' : issue.pointer}: ${issue.message}`
}

/**
 * The value as the schema makes it, canonical and frozen.
 * @param what names it in the error, such as 'the input of workflow reconcile'
 * @throws `code` with details.issues [{ pointer, message }]
 */
export async function parse<S extends StandardSchemaV1>(
  schema: S,
  value: unknown,
  code: Code,
  what: string,
): Promise<StandardSchemaV1.InferOutput<S>> {
  const checked = await check(schema, value)
  if (checked.ok) return checked.value
  const { issues } = checked
  const more = issues.length > 3 ? `; and ${issues.length - 3} more` : ''
  throw new ConvokeError(
    code,
    `${what} does not fit its schema: ${issues.slice(0, 3).map(sentence).join('; ')}${more}`,
    {
      details: { issues: issues as unknown as Json },
      next: 'correct these fields',
    },
  )
}

/** `parse` for what a caller handed in. @throws INPUT_INVALID */
export function validate<S extends StandardSchemaV1>(
  schema: S,
  value: unknown,
  what: string = 'the value',
): Promise<StandardSchemaV1.InferOutput<S>> {
  return parse(schema, value, 'INPUT_INVALID', what)
}

type Side = 'input' | 'output'
const converted: Record<Side, WeakMap<StandardSchemaV1, JsonObject>> = { input: new WeakMap(), output: new WeakMap() }

/**
 * The schema as JSON Schema 2020-12: of what it takes (`input`, what a model or a caller has to write) or of what it
 * gives. Zod has it from 4.2 on, and so has whatever implements Standard JSON Schema.
 * @throws DEFINITION_INVALID when the schema has no JSON Schema
 */
export function jsonSchemaOf(schema: StandardSchemaV1, side: Side = 'input'): JsonObject {
  let made = converted[side].get(schema)
  if (made === undefined) {
    made = convert(schema, side)
    converted[side].set(schema, made)
  }
  return made
}

function convert(schema: StandardSchemaV1, side: Side): JsonObject {
  const { vendor } = schema['~standard']
  const { jsonSchema } = schema['~standard'] as Partial<StandardJSONSchemaV1.Props>
  if (jsonSchema === undefined)
    throw new ConvokeError('DEFINITION_INVALID', `the ${vendor} schema cannot be written as JSON Schema`, {
      details: { vendor },
      next: 'use a library with Standard JSON Schema, such as Zod 4.2 or newer',
    })
  try {
    return decode(canonicalize(jsonSchema[side]({ target: 'draft-2020-12' }))) as JsonObject
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new ConvokeError('DEFINITION_INVALID', `the ${vendor} schema cannot be written as JSON Schema: ${why}`, {
      details: { vendor, side },
      next: 'use types that JSON has: an ISO string for a date, say, and a transform only on top of one',
      cause: error,
    })
  }
}

/**
 * 16 hexadecimal digits that change when what the schema takes changes (R9). Checks in code (`refine`, `transform`) are
 * not in it: raise the role's version with those.
 * @throws DEFINITION_INVALID as `jsonSchemaOf`
 */
export function fingerprintOf(schema: StandardSchemaV1): string {
  return sha256(canonicalize([schema['~standard'].vendor, jsonSchemaOf(schema, 'input')])).slice(0, 16)
}
