import type { Outcome } from '../contracts/outcome.ts'
import type { AnyRole, Role } from '../contracts/role.ts'
import type { GatewayDeps } from '../gateway/deps.ts'
import { attempt } from '../replay/concurrency.ts'
import type { AttemptOptions, DurableRun, Verdict as HookVerdict } from '../replay/durable-run.ts'
import type { Scope } from '../replay/scope.ts'
import type { Driven } from '../replay/runtime.ts'
import type { Extension } from '../replay/run.ts'
import type { StepPromise } from '../replay/step-promise.ts'
import { askOperation } from './ask.ts'
import { rejected, verifyOperation, type Judge, type Verdict, type Verifier } from './verify.ts'
import type { AgentDeps, AgentRoom, AskOptions } from './work.ts'

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

/** Adds `ask` and `verify` to the run objects of one driven run, and lets `attempt` take any verifier. */
export function extendAgents(room: AgentRoom, driven: Driven, gateway: GatewayDeps): Extension {
  const { runtime } = driven
  const base: Omit<AgentDeps, 'runOf'> = {
    ...room,
    gateway,
    ledger: runtime.ledger,
    clock: runtime.clock,
    probe: runtime.probe,
    redact: runtime.redact,
    keyed: driven.keyed,
    use: driven.history.fork?.use ?? {},
  }
  return (scope, derive): AgentRun & { readonly attempt: unknown } => {
    const deps: AgentDeps = { ...base, runOf: derive }
    return {
      attempt: verifiedAttempt(scope, derive),
      ask: <I, O>(role: Role<I, O>, input: I, options: AskOptions = {}) =>
        scope.engine.claim(
          scope,
          askOperation(deps, role as unknown as AnyRole, input, options, { scope }),
        ) as StepPromise<Outcome<O>>,
      verify: <T>(
        name: string,
        subject: Outcome<T> | T,
        verifier: Verifier<T>,
        options: { readonly must?: boolean } = {},
      ) => {
        const verdict = scope.engine.claim(
          scope,
          verifyOperation(deps, name, subject, verifier),
        ) as StepPromise<Verdict>
        return options.must === true ? passed(name, verdict) : verdict
      },
    }
  }
}

function passed(name: string, verdict: StepPromise<Verdict>): Promise<Verdict> {
  const checked = verdict.then((said) => {
    if (!said.ok) throw rejected(name, said)
    return said
  })
  // Whoever awaits it sees the rejection; a branch that was given up meanwhile must not end the process.
  checked.catch(() => undefined)
  return checked
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

type Alternatives = Readonly<Record<string, (run: DurableRun) => Promise<unknown>>>

function verifiedAttempt(
  scope: Scope,
  derive: (inner: Scope) => DurableRun,
): (name: string, alternatives: Alternatives, options?: VerifiedAttempt<DurableRun, unknown>) => Promise<unknown> {
  return (name, alternatives, options = {}) => {
    const { verify } = options
    const hook =
      verify === undefined || typeof verify === 'function' ? verify : attemptVerifier(verify as Verifier<unknown>)
    const ended = attempt(scope, derive, name, alternatives, hook === undefined ? {} : { verify: hook as never })
    ended.catch(() => undefined)
    return ended
  }
}
