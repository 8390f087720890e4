import { canonicalize, decode } from '../core/canonical.ts'
import { ConvokeError, type ErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { labelsJson } from '../core/labels.ts'
import { relabelled, type Relabel } from '../flow/lattice.ts'
import { assertAccepts, covered, type Tolerance } from '../flow/sink.ts'
import type { Completion, Operation, Task } from '../replay/types.ts'
import { decideOperation, type Approval, type ApproveOptions } from './decide.ts'
import type { GatewayDeps } from './deps.ts'
import type { Endorser } from './endorser.ts'

// Endorsing (trusting a value) and declassifying (letting it be seen by more) are acts of their own: by a person who is
// shown the value, by a function that the app names and trusts, or by the value's type. What a scope has seen does not
// change with it: only the value that comes back carries the new labels. A value that is a recorded result as it was
// delivered is judged by its own labels, anything else by all that the scope has seen.

/** Who says so: a person of a group, a trusted function, or (to endorse) the type of every scalar in the value. */
export type SaidBy =
  | (Omit<ApproveOptions, 'show'> & { readonly to: string })
  | { readonly by: Endorser }
  | { readonly fields: readonly Tolerance[] }

export interface RelabelOptions {
  readonly reason: string
}

/**
 * The operation of an endorsing or declassifying act; its result is the value.
 * @throws DEFINITION_INVALID for fields that bound nothing
 */
export function relabelOperation(
  deps: GatewayDeps,
  kind: 'endorse' | 'declassify',
  name: string,
  value: unknown,
  change: Relabel,
  said: SaidBy & RelabelOptions,
): Operation {
  const plain = value === undefined ? null : decode(canonicalize(value))
  if ('fields' in said) assertAccepts({ tolerates: said.fields }, name)
  const asked =
    'to' in said
      ? decideOperation(deps, name, {
          ...said,
          question: said.question ?? `${kind} ${name}: ${said.reason}`,
          show: plain,
          yesOrNo: true,
        })
      : undefined
  return {
    kind,
    name,
    input: { value, change: change as unknown as Json, reason: said.reason },
    from: [value],
    flow: 'whole',
    ...(asked === undefined ? {} : { effect: true }),
    execute: async (task) => {
      const judged = asked === undefined ? judgedBy(said, plain, deps) : await person(asked, task)
      if ('error' in judged) return judged
      const to = relabelled(task.labels, change, judged.by)
      return {
        value: plain,
        labelsInstead: to,
        extra: {
          relabelled: { by: judged.by, reason: said.reason, from: labelsJson(task.labels), to: labelsJson(to) },
        },
        ...(judged.causes === undefined ? {} : { causes: judged.causes }),
      }
    },
  }
}

type Causes = NonNullable<Completion['causes']>
type Judged =
  { readonly by: string; readonly causes?: Causes } | { readonly error: ErrorData; readonly causes?: Causes }

async function person(asked: Operation, task: Task): Promise<Judged> {
  const done = (await asked.execute?.(task)) ?? {}
  if (done.error !== undefined) return { error: done.error }
  const { approved, by, reason } = done.value as Approval
  if (approved) return { by: `person:${by}`, ...(done.causes === undefined ? {} : { causes: done.causes }) }
  const why = reason === undefined ? '' : `: ${reason}`
  const error = new ConvokeError('APPROVAL_REJECTED', `${by} does not vouch for it${why}`, { details: { by } })
  return { error: error.toJSON(), ...(done.causes === undefined ? {} : { causes: done.causes }) }
}

function judgedBy(said: SaidBy, value: Json, deps: GatewayDeps): Judged {
  if ('fields' in said) {
    const { refused } = covered(said.fields, value, deps.request ?? [])
    return refused === undefined ? { by: 'type' } : denied('its type', refused)
  }
  if (!('by' in said)) return denied('nobody', 'nobody was named')
  const { name, version, check } = said.by
  const verdict = check(value)
  return verdict === true
    ? { by: `endorser:${name}@${version}` }
    : denied(name, verdict === false ? 'it refuses' : verdict)
}

function denied(by: string, why: string): Judged {
  const details: JsonObject = { by, why }
  const next = 'have a person vouch for it, or do without it'
  return {
    error: new ConvokeError('FLOW_DENIED', `${by} does not vouch for the value: ${why}`, { details, next }).toJSON(),
  }
}
