import type { StandardSchemaV1 } from '@standard-schema/spec'
import { check, type Issue } from '../contracts/schema.ts'
import { canonicalize } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { isTerminal, type Entry } from '../replay/types.ts'
import { has, setAt } from './pointer.ts'

// Corrections of results by a fork's maker. A pointer begins at what the step gave: at the outcome's `value` for an ask,
// the same in the library and on the command line. Nobody corrects a confidence, or a claim that an agent made.

/** One result to correct: step path, JSON Pointer (RFC 6901) into what the step gave, the new value. */
export interface Change {
  readonly step: string
  readonly pointer: string
  readonly value: Json
}

export interface Correction {
  readonly step: Entry
  readonly pointer: string
  /** What the step's record holds, before and after. */
  readonly was: Json
  readonly value: Json
}

/** The schema that what a step gave must fit, by its operation (`ask`, `call`) and target (role, tool). */
export type OutputOf = (op: string, target: string) => StandardSchemaV1 | undefined

/**
 * What a fork's records say instead of those of the original.
 * @throws RECORD_UNKNOWN for a step or a pointer that leads nowhere, INPUT_INVALID for a step that failed and for a value
 * that does not fit the output of its role or tool (details.issues [{ pointer, message }])
 */
export async function corrections(
  entries: readonly Entry[],
  changes: readonly Change[],
  outputOf: OutputOf = () => undefined,
): Promise<Correction[]> {
  const made: Correction[] = []
  for (const change of changes) {
    const step = entries.findLast((e) => e.record.path === change.step && isTerminal(e))
    if (step === undefined)
      throw new ConvokeError(
        'RECORD_UNKNOWN',
        `the run has no finished step ${JSON.stringify(change.step)} to correct`,
        { details: { step: change.step }, next: 'convoke show prints the steps of a run' },
      )
    const failed = (step.payload['error'] as { readonly code?: string } | undefined)?.code
    if (failed !== undefined)
      throw new ConvokeError('INPUT_INVALID', `step ${change.step} failed with ${failed}: it gave nothing to correct`, {
        details: { step: change.step, error: failed },
        next: 'fork from before it, or correct what it was given',
      })
    // Several corrections of one step stand together.
    const was = made.findLast((c) => c.step === step)?.value ?? step.payload['value'] ?? null
    made.push({ step, pointer: change.pointer, was, value: setAt(was, base(step) + change.pointer, change.value) })
  }
  for (const step of new Set(made.map((c) => c.step)))
    await fits(
      step,
      made.filter((c) => c.step === step),
      outputOf,
    )
  return made
}

function base(step: Entry): '/value' | '' {
  return step.payload['op'] === 'ask' ? '/value' : ''
}

function given(step: Entry, held: Json): Json {
  return base(step) === '' ? held : ((held as JsonObject)['value'] ?? null)
}

/**
 * A correction is held against the schema that the answer was held against. What the recorded value itself does not fit
 * is nobody's new mistake: a schema that changes types takes something else than it gives.
 */
async function fits(step: Entry, changes: readonly Correction[], outputOf: OutputOf): Promise<void> {
  const { op = '', target = '' } = step.payload as { readonly op?: string; readonly target?: string }
  const schema = outputOf(op, target)
  if (schema === undefined) return
  const old = given(step, step.payload['value'] ?? null)
  const now = given(step, (changes.at(-1) as Correction).value)
  const [before, after] = await Promise.all([check(schema, old), check(schema, now)])
  const known = new Set(before.ok ? [] : before.issues.map((i) => i.pointer))
  const issues: Issue[] = after.ok
    ? before.ok && canonicalize(before.value) === canonicalize(old)
      ? changes
          .filter(({ pointer }) => !has((after.value ?? null) as Json, pointer.replace(/\/-$/, '')))
          .map(({ pointer }) => ({ pointer, message: 'the schema knows no such field' }))
      : []
    : after.issues.filter((i) => !known.has(i.pointer))
  if (issues.length === 0) return
  const what = op === 'ask' ? `role ${target}` : `${op} ${target}`
  throw new ConvokeError(
    'INPUT_INVALID',
    `the correction of ${step.record.path ?? ''} does not fit the output of ${what}: ${issues
      .slice(0, 3)
      .map((i) => `${i.pointer === '' ? 'the value' : i.pointer}: ${i.message}`)
      .join('; ')}`,
    {
      details: { step: step.record.path as string, target, issues: issues as unknown as Json },
      next: `the pointer begins at what the step gave: look at it with convoke show, and correct the value`,
    },
  )
}
