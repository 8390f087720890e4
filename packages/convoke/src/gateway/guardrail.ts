import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { Actor } from '../core/record.ts'
import type { Model, ModelRequest, ModelResponse } from '../ports/model.ts'
import type { GuardPoint, TextRule } from './guard-text.ts'

/** What a guardrail sees of a call. All of it is frozen. */
export interface GuardedCall {
  readonly tool: string
  readonly input: Json
  readonly businessKey?: string
  readonly tenant: string
  readonly run: string
  readonly path: string
  readonly caller: Actor | undefined
  readonly role: string | undefined
}

/** What a guardrail sees of what a model is shown for the first time, or of what it has written. */
export interface GuardedText {
  readonly text: string
  readonly model: string
  readonly tenant: string
  readonly run: string
  readonly path: string
  readonly role: string | undefined
}

/** What a guardrail may use besides what it sees. */
export interface GuardContext {
  /** Ends when nobody waits for the verdict any more. */
  readonly signal: AbortSignal
  /**
   * Asks a model. What it costs is recorded with the verdict and counts towards the budgets of task and run.
   * @throws what the model throws; BUDGET_EXCEEDED; MODEL_UNREACHABLE after `timeoutMs`
   */
  generate(model: Model, request: ModelRequest, options?: { readonly timeoutMs?: number }): Promise<ModelResponse>
}

/** `redact` replaces what was looked at. `ask` has a person let it pass or not. Reasons are recorded. */
export type Verdict<V = Json> =
  | 'allow'
  | { readonly deny: string }
  | { readonly redact: V; readonly reason: string }
  | { readonly ask: string; readonly category: string; readonly group?: string }

type Says<V> = Verdict<V> | Promise<Verdict<V>>

/** A rule of the app. One that throws denies. */
export interface Guardrail {
  readonly name: string
  /** To be changed when it judges differently; recorded with each verdict. */
  readonly version?: string
  /** Tool names with `*`; all tools unless said. */
  readonly tools?: string
  /** Roles whose models it is about, with `*`; all unless said. */
  readonly roles?: string
  readonly before?: (call: GuardedCall, context: GuardContext) => Says<Json>
  readonly after?: (call: GuardedCall & { readonly output: Json | undefined }, context: GuardContext) => Says<Json>
  /** What a model is shown for the first time: instructions and briefing. Results of tools have passed `after`. */
  readonly prompt?: (said: GuardedText, context: GuardContext) => Says<string>
  /** What a model has written, whole. Nothing of it is streamed before. */
  readonly answer?: (said: GuardedText, context: GuardContext) => Says<string>
  /** A rule about text wherever there is some, in streams too. */
  readonly text?: TextRule
  /** Where a text rule that asks does so: category (`guardrail` unless said) and group. */
  readonly asks?: { readonly category: string; readonly group?: string }
  /** It may judge differently the next time, as models do: for the same input, the verdict on record counts. */
  readonly recorded?: boolean
}

export interface Asked {
  readonly guardrail: string
  readonly reason: string
  readonly category: string
  readonly group?: string
}

export function railName({ name, version }: Guardrail): string {
  return version === undefined ? name : `${name}@${version}`
}

/** Whether a guardrail has anything to say at a place. */
export function speaksAt(rail: Guardrail, point: GuardPoint): boolean {
  const own = { input: rail.before, output: rail.after, prompt: rail.prompt, answer: rail.answer }[point]
  return own !== undefined || (rail.text !== undefined && (rail.text.at ?? [point]).includes(point))
}

export function denial(guardrail: string, what: string, reason: string): ConvokeError {
  return new ConvokeError('GUARDRAIL_DENIED', `guardrail ${guardrail} forbids ${what}: ${reason}`, {
    details: { guardrail, what, reason },
    next: 'change what it is about, or ask whoever owns the guardrail',
  })
}
