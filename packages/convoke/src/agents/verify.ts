import type { Outcome } from '../contracts/outcome.ts'
import type { AnyRole } from '../contracts/role.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { decideOperation, type Approval } from '../gateway/decide.ts'
import type { Scope } from '../replay/scope.ts'
import type { Completion, Operation } from '../replay/types.ts'
import { askOperation } from './ask.ts'
import type { FunctionVerdict, RoleVerifier, Verdict, Verifier } from './verifier.ts'
import type { AgentDeps } from './work.ts'

/** An outcome, or a value of any other origin. */
function split<T>(subject: Outcome<T> | T): { readonly value: T; readonly outcome: Outcome<T> | undefined } {
  const outcome = subject as Outcome<T> | null
  if (typeof outcome === 'object' && outcome !== null && typeof outcome.record === 'string' && 'value' in outcome)
    return { value: outcome.value, outcome }
  return { value: subject as T, outcome: undefined }
}

/** One judgement, with the verdict as its result. It fails only when the verifier itself does. */
export function verifyOperation<T>(
  deps: AgentDeps,
  name: string,
  subject: Outcome<T> | T,
  verifier: Verifier<T>,
): Operation {
  const { value, outcome } = split(subject)
  const by = nameOf(verifier)
  return {
    kind: 'verify',
    name,
    target: by,
    input: { value: value ?? null },
    from: [subject],
    orchestrate: async (scope): Promise<Completion> => {
      const { ok, problems } = await judgement(deps, scope, { value, outcome, verifier, by })
      return { value: { ok, problems, by } }
    },
  }
}

interface Judging<T> {
  readonly value: T
  readonly outcome: Outcome<T> | undefined
  readonly verifier: Verifier<T>
  readonly by: string
}

async function judgement<T>(deps: AgentDeps, scope: Scope, judging: Judging<T>): Promise<Omit<Verdict, 'by'>> {
  const { value, outcome, verifier, by } = judging
  const { engine } = scope
  if (typeof verifier === 'function') {
    const said = await engine.claim(scope, {
      kind: 'step',
      name: by,
      input: { value: value ?? null },
      execute: async (task) => {
        await task.durable()
        return { value: normalized(await verifier(value, outcome)) }
      },
    })
    return said as Omit<Verdict, 'by'>
  }
  if ('question' in verifier) {
    const { kind: _, ...question } = verifier
    const asked = { ...question, show: question.show ?? value, yesOrNo: true }
    const {
      approved,
      by: who,
      reason,
    } = (await engine.claim(scope, decideOperation(deps.gateway, 'person', asked))) as Approval
    return { ok: approved, problems: approved ? [] : [reason ?? `rejected by ${who}`] }
  }
  const plain = 'kind' in verifier
  const role = (plain ? verifier : verifier.role) as unknown as AnyRole
  const custom = (plain ? {} : verifier) as Partial<RoleVerifier<T, unknown, unknown>>
  const input = custom.input === undefined ? value : custom.input(value, outcome)
  const options = custom.agent === undefined ? {} : { agent: custom.agent }
  const judged = (await engine.claim(scope, askOperation(deps, role, input, options, { scope }))) as Outcome<unknown>
  return normalized(custom.verdict === undefined ? (judged.value as FunctionVerdict) : custom.verdict(judged.value))
}

function nameOf(verifier: Verifier<never>): string {
  if (typeof verifier === 'function') return verifier.name === '' ? 'check' : verifier.name
  if ('question' in verifier) return verifier.to ?? 'person'
  return 'kind' in verifier ? verifier.name : verifier.role.name
}

function normalized(said: FunctionVerdict): { ok: boolean; problems: readonly string[] } {
  if (typeof said === 'boolean') return { ok: said, problems: said ? [] : ['rejected without a reason'] }
  if (typeof said === 'string') return { ok: said === '', problems: said === '' ? [] : [said] }
  if (Array.isArray(said)) return { ok: said.length === 0, problems: said as readonly string[] }
  const { ok, problems } = said as { readonly ok: boolean; readonly problems?: readonly string[] | undefined }
  if (typeof ok !== 'boolean')
    throw new ConvokeError('VERIFICATION_FAILED', 'the verifier gave no verdict: expected { ok, problems }', {
      details: { said: said as unknown as Json },
      next: 'let it return { ok: boolean, problems: string[] }, or say how to read it with judgedBy({ verdict })',
    })
  return { ok, problems: problems ?? (ok ? [] : ['rejected without a reason']) }
}

export function rejected(name: string, verdict: Verdict): ConvokeError {
  return new ConvokeError(
    'VERIFICATION_FAILED',
    `${verdict.by} rejected ${name}: ${verdict.problems.slice(0, 3).join('; ')}`,
    { details: { by: verdict.by, problems: [...verdict.problems] }, next: 'try another agent in an attempt' },
  )
}
