import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { Actor } from '../core/record.ts'
import { matches } from '../core/patterns.ts'

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

export type Verdict =
  | 'allow'
  | { readonly deny: string }
  /** Replaces the input or the output. */
  | { readonly redact: Json; readonly reason: string }
/** Before a call, a guardrail may also have a person asked. */
export type VerdictBefore = Verdict | { readonly ask: string; readonly category: string; readonly group?: string }

/** A rule of the app, in code. Must be quick and have no effects; one that throws denies the call. */
export interface Guardrail {
  readonly name: string
  /** Tool names with `*`; all tools unless said. */
  readonly tools?: string
  readonly before?: (call: GuardedCall) => VerdictBefore | Promise<VerdictBefore>
  readonly after?: (call: GuardedCall & { readonly output: Json | undefined }) => Verdict | Promise<Verdict>
}

export interface Asked {
  readonly guardrail: string
  readonly reason: string
  readonly category: string
  readonly group?: string
}

/** Asks all guardrails in order; each sees what the one before left. @throws GUARDRAIL_DENIED */
export async function guardBefore(
  guardrails: readonly Guardrail[],
  call: GuardedCall,
): Promise<{ readonly input: Json; readonly asked: readonly Asked[]; readonly redactedBy: readonly string[] }> {
  let { input } = call
  const asked: Asked[] = []
  const redactedBy: string[] = []
  for (const rail of guardrails) {
    if (rail.before === undefined || !matches(rail.tools ?? '*', call.tool)) continue
    const verdict = await judge(rail, call.tool, () => rail.before?.({ ...call, input }) ?? 'allow')
    if (verdict === 'allow') continue
    if ('deny' in verdict) throw denied(rail, call.tool, verdict.deny)
    if ('redact' in verdict) {
      input = verdict.redact
      redactedBy.push(rail.name)
    } else {
      asked.push({
        guardrail: rail.name,
        reason: verdict.ask,
        category: verdict.category,
        ...(verdict.group === undefined ? {} : { group: verdict.group }),
      })
    }
  }
  return { input, asked, redactedBy }
}

/** @throws GUARDRAIL_DENIED */
export async function guardAfter(
  guardrails: readonly Guardrail[],
  call: GuardedCall,
  output: Json | undefined,
): Promise<{ readonly output: Json | undefined; readonly redactedBy: readonly string[] }> {
  let value = output
  const redactedBy: string[] = []
  for (const rail of guardrails) {
    if (rail.after === undefined || !matches(rail.tools ?? '*', call.tool)) continue
    const verdict = await judge(rail, call.tool, () => rail.after?.({ ...call, output: value }) ?? 'allow')
    if (verdict === 'allow') continue
    if ('deny' in verdict) throw denied(rail, call.tool, verdict.deny)
    value = verdict.redact
    redactedBy.push(rail.name)
  }
  return { output: value, redactedBy }
}

async function judge<V>(rail: Guardrail, tool: string, ask: () => V | Promise<V>): Promise<V> {
  try {
    return await ask()
  } catch (error) {
    throw denied(rail, tool, `the guardrail itself failed: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function denied(rail: Guardrail, tool: string, reason: string): ConvokeError {
  return new ConvokeError('GUARDRAIL_DENIED', `guardrail ${rail.name} forbids ${tool}: ${reason}`, {
    details: { guardrail: rail.name, tool, reason },
    next: 'change the call, or ask whoever owns the guardrail',
  })
}
