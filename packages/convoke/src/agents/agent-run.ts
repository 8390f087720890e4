import type { Outcome } from '../contracts/outcome.ts'
import type { Role } from '../contracts/role.ts'
import type { AttemptOptions, Verdict as HookVerdict } from '../replay/durable-run.ts'
import type { StepPromise } from '../replay/step-promise.ts'
import type { Judge, Verdict, Verifier } from './verifier.ts'
import type { AskOptions } from './work.ts'

/** What agents add to the run. */
export interface AgentRun {
  /**
   * Asks a role; whichever agent fills it now answers.
   * @throws INPUT_INVALID, ROLE_UNFILLED, OUTPUT_INVALID, EVIDENCE_INSUFFICIENT, AGENT_EXHAUSTED, BUDGET_EXCEEDED,
   *   DEADLINE_PASSED, MODEL_*, and what the agent's code throws
   */
  ask<I, O>(role: Role<I, O>, input: I, options?: AskOptions): StepPromise<Outcome<O>>
  /**
   * Has an outcome (or any value) judged. With `must`, a rejection is thrown, which rolls an attempt back.
   * @throws VERIFICATION_FAILED
   */
  verify<T>(
    name: string,
    subject: Outcome<T> | T,
    verifier: Verifier<T>,
    options?: { readonly must?: boolean },
  ): Promise<Verdict>
}

/** A verifier as the `verify` hook of `run.attempt`, which judges what an alternative gave: an outcome or a value. */
export function attemptVerifier<T>(
  verifier: Verifier<T>,
): (value: Outcome<T> | T, run: Pick<AgentRun, 'verify'>) => Promise<HookVerdict> {
  return (value, run) => run.verify('verify', value, verifier)
}

/** What a verifier of a step's result looks at: the value of an outcome, or the result itself. */
export type Judged<T> = T extends Outcome<infer V> ? V : T

/** Options of `attempt`: a role or a person may verify as well as code. */
export interface VerifiedAttempt<R, T> {
  readonly verify?: AttemptOptions<R, T>['verify'] | Judge<Judged<T>>
}
