import { canonicalize } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { JsonObject } from '../core/json.ts'
import type { GuardPoint } from './guard-text.ts'
import type { Guardrail } from './guardrail.ts'
import type * as Judge from './judge-verdict.ts'

// A second model as a judge. It is a filter and no guarantee: it reads what it judges, and can be talked to by it. So it
// can only narrow what scopes, labels and policy allow, and when it does not answer, the answer is never `allow`.

/**
 * Makes a guardrail of a model. Its verdict stands on record for what it was about, also after a crash; what it costs is
 * recorded with it and counts towards the budgets of task and run.
 * @throws DEFINITION_INVALID for a judge that may allow by failing, or without rules
 */
export function modelJudge(options: Judge.JudgeOptions): Guardrail {
  const { name, model, rules, tools, roles, at = ['input'], otherwise = 'ask' } = options
  if (rules.trim() === '' || (otherwise as string) === 'allow')
    throw new ConvokeError('DEFINITION_INVALID', `judge ${name} needs rules, and asks or denies when it fails`, {
      next: "say what it judges by; otherwise: 'ask' or 'deny'",
    })
  const judge = (): Promise<typeof Judge> => import('./judge-verdict.ts')
  const looks = (point: GuardPoint): boolean => at.includes(point)
  const ofCall = (call: { readonly tool: string; readonly role: string | undefined }): JsonObject => ({
    tool: call.tool,
    ...(call.role === undefined ? {} : { role: call.role }),
  })
  return {
    name,
    version: sha256(canonicalize([model.id, rules])).slice(0, 8),
    recorded: true,
    ...(tools === undefined ? {} : { tools }),
    ...(roles === undefined ? {} : { roles }),
    ...(looks('input')
      ? {
          before: async (call, context) =>
            (await judge()).ofJson(options, context, { about: 'arguments', ...ofCall(call) }, call.input),
        }
      : {}),
    ...(looks('output')
      ? {
          after: async (call, context) =>
            call.output === undefined
              ? 'allow'
              : (await judge()).ofJson(options, context, { about: 'result', ...ofCall(call) }, call.output),
        }
      : {}),
    ...(looks('prompt')
      ? {
          prompt: async (said, context) => (await judge()).ofText(options, context, { about: 'prompt' }, said.text),
        }
      : {}),
    ...(looks('answer')
      ? {
          answer: async (said, context) => (await judge()).ofText(options, context, { about: 'answer' }, said.text),
        }
      : {}),
  }
}
