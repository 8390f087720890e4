import type { Outcome } from '../contracts/outcome.ts'
import type { AnyRole, Role } from '../contracts/role.ts'
import type { GatewayDeps } from '../gateway/deps.ts'
import { attempt } from '../replay/concurrency.ts'
import type { DurableRun } from '../replay/durable-run.ts'
import type { Scope } from '../replay/scope.ts'
import type { Driven } from '../replay/runtime.ts'
import type { Extension } from '../replay/run.ts'
import type { StepPromise } from '../replay/step-promise.ts'
import { attemptVerifier, type AgentRun, type VerifiedAttempt } from './agent-run.ts'
import { askOperation } from './ask.ts'
import type { Verdict, Verifier } from './verifier.ts'
import { rejected, verifyOperation } from './verify.ts'
import type { AgentDeps, AgentRoom, AskOptions } from './work.ts'

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
