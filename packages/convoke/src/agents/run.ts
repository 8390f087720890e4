import type { Outcome } from '../contracts/outcome.ts'
import type { AnyRole, Role } from '../contracts/role.ts'
import type { GatewayDeps } from '../gateway/deps.ts'
import type { Verdict as HookVerdict } from '../replay/durable-run.ts'
import type { Driven } from '../replay/drive.ts'
import type { Extension } from '../replay/run.ts'
import type { StepPromise } from '../replay/step-promise.ts'
import { askOperation } from './ask.ts'
import { rejected, verifyOperation, type Verdict, type Verifier } from './verify.ts'
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

/** Adds `ask` and `verify` to the run objects of one driven run. */
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
  return (scope, derive): AgentRun => {
    const deps: AgentDeps = { ...base, runOf: derive }
    return {
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

/** A verifier as the `verify` hook of `run.attempt`. */
export function attemptVerifier<T>(
  verifier: Verifier<T>,
): (value: Outcome<T> | T, run: AgentRun) => Promise<HookVerdict> {
  return (value, run) => run.verify('verify', value, verifier)
}
