import { errorJson, toErrorData, type ErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { joinLabels, noLabels } from '../core/labels.ts'
import type { Actor, Draft, LedgerRecord } from '../core/record.ts'
import type { Claim } from './claim.ts'
import type { Superseded } from './history.ts'
import type { Completion, Entry, ImmediateTask, Operation } from './types.ts'

/** Arguments up to this many characters are kept with the result, so that a difference on replay can be shown. */
const inputKept = 2048

/** The record that ends a step. */
export function endingOf(claim: Claim, completion: Completion, error: ErrorData | undefined, actor: Actor): Draft {
  const op = claim.operation
  const kept = claim.inputText !== undefined && op.effect !== true && claim.inputText.length <= inputKept
  const payload: JsonObject = {
    op: op.kind,
    fp: claim.fingerprint,
    ...(op.target === undefined ? {} : { target: op.target }),
    ...(op.version === undefined ? {} : { version: op.version }),
    ...(claim.environment === undefined ? {} : { env: claim.environment }),
    ...(op.declared ? { declared: true } : {}),
    ...(op.fold ? { fold: true } : {}),
    ...(kept ? { input: op.input as Json } : {}),
    ...(error === undefined
      ? completion.value === undefined
        ? {}
        : { value: completion.value as Json }
      : { error: errorJson(error) }),
    ...(completion.usage === undefined ? {} : { usage: completion.usage }),
    ...(completion.reads === undefined ? {} : { reads: completion.reads as unknown as Json }),
    ...completion.extra,
  }
  const inner =
    claim.inner === undefined ? [] : [...claim.inner.frontier].filter(([ref]) => !claim.builtOn.includes(ref))
  return {
    type: error === undefined ? (op.record ?? 'step.completed') : 'step.failed',
    path: claim.path,
    ...(claim.scope.fold === undefined ? {} : { fold: claim.scope.fold }),
    causes: [
      ...claim.causes,
      ...inner.map(([ref]) => ({ ref, kind: 'control' as const })),
      ...(completion.causes ?? []),
    ],
    actor: op.actor ?? actor,
    labels:
      completion.labelsInstead ??
      joinLabels([claim.labels, ...inner.map(([, labels]) => labels), completion.labels ?? noLabels]),
    payload,
  }
}

/** An immediate operation is done by its record; what it throws is its result. */
export function immediately(operation: Operation, task: ImmediateTask): Completion {
  try {
    return operation.immediate?.(task) ?? {}
  } catch (error) {
    return { error: toErrorData(error) }
  }
}

/** A result that a fork's maker replaced comes from the record that replaced it. */
export function corrected(
  loaded: Entry,
  replaced: Superseded | undefined,
): { readonly entry: Entry; readonly source: LedgerRecord } {
  if (replaced === undefined || loaded.payload['error'] !== undefined) return { entry: loaded, source: loaded.record }
  return { entry: { ...loaded, payload: { ...loaded.payload, value: replaced.value } }, source: replaced.entry.record }
}
