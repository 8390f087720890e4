import { canonicalize } from '../core/canonical.ts'
import { errorJson, isConvokeError, toErrorData, type ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
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
  const payload: Record<string, Json> = { op: op.kind, fp: claim.fingerprint }
  if (op.target !== undefined) payload['target'] = op.target
  if (op.version !== undefined) payload['version'] = op.version
  if (claim.environment !== undefined) payload['env'] = claim.environment
  if (op.declared) payload['declared'] = true
  if (op.fold) payload['fold'] = true
  // As it was when the step was asked for; what the caller holds may have changed since.
  if (kept) payload['input'] = JSON.parse(claim.inputText as string) as Json
  if (error !== undefined) payload['error'] = errorJson(error)
  else if (completion.value !== undefined) payload['value'] = completion.value as Json
  if (completion.usage !== undefined) payload['usage'] = completion.usage
  if (completion.reads !== undefined) payload['reads'] = completion.reads as unknown as Json
  if (completion.extra !== undefined) Object.assign(payload, completion.extra)
  const inner =
    claim.inner === undefined ? [] : [...claim.inner.frontier].filter(([ref]) => !claim.builtOn.includes(ref))
  const plain = inner.length === 0 && completion.causes === undefined
  return {
    type: error === undefined ? (op.record ?? 'step.completed') : 'step.failed',
    path: claim.path,
    ...(claim.scope.fold === undefined ? {} : { fold: claim.scope.fold }),
    causes: plain
      ? claim.causes
      : [...claim.causes, ...inner.map(([ref]) => ({ ref, kind: 'control' as const })), ...(completion.causes ?? [])],
    actor: op.actor ?? actor,
    labels:
      completion.labelsInstead ??
      joinLabels([claim.labels, ...inner.map(([, labels]) => labels), completion.labels ?? noLabels]),
    payload,
  }
}

/** Why a value cannot be written down, if it cannot: NOT_CANONICAL, also for one that throws when it is read. */
export function faultIn(value: unknown): ErrorData | undefined {
  try {
    canonicalize(value ?? null)
    return undefined
  } catch (error) {
    if (isConvokeError(error, 'NOT_CANONICAL')) return toErrorData(error)
    return { code: 'NOT_CANONICAL', message: `the value cannot be read: ${toErrorData(error).message}` }
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
