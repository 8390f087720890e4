import type { ForkDeps, ForkOptions } from './app/fork.ts'
import type { ArchiveOptions, ArchivePlace, ArchiveReport, RestoreReport } from './archive-store.ts'
import type { CopyOptions } from './copy-store.ts'
import type { TransferCount } from './core/transfer.ts'
import type { DecideOptions, EscalateOptions } from './gateway/decisions.ts'
import type { DryRunOptions } from './gateway/dry-guard.ts'
import type { House, PolicyAnswer, PolicyCase } from './gateway/dry-run.ts'
import type { FromAiSdkOptions } from './models/from-ai-sdk.ts'
import type { Env } from './models/keys.ts'
import type { AcceptanceOptions, ToolAcceptance } from './policy/accepted.ts'
import type { Halt, HaltOrder, HaltTarget } from './policy/halts.ts'
import type { Ledger } from './ports/ledger.ts'
import type { Model } from './ports/model.ts'

// Operations that most programs never call. Each is loaded at its first call, so that a program that only starts a run
// does not pay for forks, archives and providers. They are asynchronous anyway, so nothing changes for their callers.

/**
 * Makes a run that shares another's records up to a point. The original is only read. Returns the new id.
 * @throws RUN_UNKNOWN, RECORD_UNKNOWN, INPUT_INVALID for a correction that does not fit, RUN_EXISTS for an id of another
 */
export async function forkRun(deps: ForkDeps, tenant: string, run: string, options: ForkOptions): Promise<string> {
  return await (await import('./app/fork.ts')).forkRun(deps, tenant, run, options)
}

/**
 * Archives ended runs. May be broken off and started again at any time.
 * @throws STORE_UNUSABLE when the store cannot, ARCHIVE_INVALID when what was written cannot be read back
 */
export async function archiveRuns(
  ledger: Ledger,
  place: ArchivePlace,
  options: ArchiveOptions,
): Promise<ArchiveReport> {
  return await (await import('./archive-store.ts')).archiveRuns(ledger, place, options)
}

/**
 * Brings the runs of an archive back, into the store that they were taken out of (or a copy of it). May be broken off
 * and started again.
 * @throws ARCHIVE_INVALID, RUN_UNKNOWN when the store knows nothing of them, STORE_UNUSABLE
 */
export async function restoreRuns(ledger: Ledger, bytes: AsyncIterable<Uint8Array>): Promise<RestoreReport> {
  return await (await import('./archive-store.ts')).restoreRuns(ledger, bytes)
}

/**
 * Copies a store into an empty one, whatever keeps the two. Records stay byte for byte as they are, so chains and signed
 * checkpoints hold in the copy; keys that were taken stay taken. What is written to `from` meanwhile may be missing. A
 * copy that was broken off is started again with the same call.
 * @throws STORE_UNUSABLE when `to` holds something else, when there is no such tenant, or when a store cannot be copied
 */
export async function copyStore(from: Ledger, to: Ledger, options: CopyOptions = {}): Promise<TransferCount> {
  return await (await import('./copy-store.ts')).copyStore(from, to, options)
}

/**
 * Decides an approval once: of many at the same time, one counts. Where several people have to agree, each says so once.
 * @throws APPROVAL_UNKNOWN, APPROVAL_DECIDED, APPROVAL_EXPIRED, APPROVAL_MISMATCH, SCOPE_DENIED for another group,
 *   INPUT_INVALID for a correction without an action
 */
export async function decideApproval(ledger: Ledger, o: DecideOptions): Promise<void> {
  await (await import('./gateway/decisions.ts')).decideApproval(ledger, o)
}

/**
 * Asks another group instead: the named one, or the next of the chain.
 * @throws APPROVAL_UNKNOWN, APPROVAL_DECIDED, INPUT_INVALID when there is no next one and none was named
 */
export async function escalateApproval(ledger: Ledger, o: EscalateOptions): Promise<{ readonly group: string }> {
  return await (await import('./gateway/decisions.ts')).escalateApproval(ledger, o)
}

/**
 * Answers what would happen to a call, and why, without making it: schema, scope, guardrails on the arguments, grants,
 * labels, policy, in the order of the gateway. Trust, which is history, is left out, and so are guardrails on answers,
 * since there is none. A model is asked by no guardrail unless `options` say so: `not-asked` stands where its verdict would.
 * @throws TOOL_UNKNOWN, INPUT_INVALID for an unknown role
 */
export async function dryRun(house: House, its: PolicyCase, options: DryRunOptions = {}): Promise<PolicyAnswer> {
  return await (await import('./gateway/dry-run.ts')).dryRun(house, its, options)
}

/**
 * Makes the model that a person named. Provider packages are optional and loaded only here.
 *
 * Keys: ANTHROPIC_API_KEY, OPENAI_API_KEY; for an OpenAI-compatible server CONVOKE_MODEL_API_KEY, if it wants one (the
 * OpenAI key is never sent to another host).
 * @throws MODEL_UNKNOWN for a name of another form, a missing key or a provider package that is not installed
 */
export async function resolveModel(spec: string, env: Env, options: FromAiSdkOptions = {}): Promise<Model> {
  return await (await import('./models/resolve.ts')).resolveModel(spec, env, options)
}

/**
 * Writes down that a person accepts a tool. The same again, by the same person and with nothing accepted in between, is
 * one record: whoever was interrupted before the pins were written does it again.
 */
export async function recordToolAcceptance(
  ledger: Ledger,
  tenant: string,
  its: Omit<ToolAcceptance, 'ref'>,
  o: AcceptanceOptions,
): Promise<void> {
  await (await import('./policy/accepted.ts')).recordToolAcceptance(ledger, tenant, its, o)
}

/** Every acceptance on record, the oldest first. */
export async function toolAcceptances(ledger: Ledger, tenant: string): Promise<readonly ToolAcceptance[]> {
  return await (await import('./policy/accepted.ts')).toolAcceptances(ledger, tenant)
}

/** Orders a stop. It stands until it is lifted. @throws INPUT_INVALID without a target, RUN_UNKNOWN */
export async function orderHalt(ledger: Ledger, o: HaltOrder & { readonly target: HaltTarget }): Promise<Halt> {
  return await (await import('./policy/halts.ts')).orderHalt(ledger, o)
}

/** Lifts a stop, and wakes the runs that it had stopped and no other does. @throws INPUT_INVALID when no such stop stands */
export async function liftHalt(
  ledger: Ledger,
  o: HaltOrder & { readonly id: string },
): Promise<{ readonly woken: readonly string[] }> {
  return await (await import('./policy/halts.ts')).liftHalt(ledger, o)
}

/** Stops that stand. */
export async function standingHalts(ledger: Ledger, tenant: string): Promise<readonly Halt[]> {
  return await (await import('./policy/halts.ts')).standingHalts(ledger, tenant)
}
