import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Clock } from '../ports/runtime.ts'
import { judgeInput, type Desk, type Judged, type Note } from './guard-run.ts'
import { railName, type GuardContext, type GuardedCall, type Guardrail } from './guardrail.ts'

// What guardrails would say of a call that nobody makes. They are asked as the gateway asks them, with one exception: a
// model is not asked, since that costs money, sends the arguments to its provider, and may say something else the next
// time. What a guardrail says that wanted to ask one is no verdict and does not count.

/** What one guardrail says of a call's arguments. */
export interface GuardrailSaid {
  /** Name and version. */
  readonly guardrail: string
  /** `not-asked`: it would ask a model, which a dry run does not unless told to. */
  readonly verdict: 'allow' | 'redact' | 'ask' | 'deny' | 'not-asked'
  readonly reason?: string
  /** Where it has people asked. */
  readonly category?: string
  readonly group?: string
  /** What models that it asked have used. */
  readonly usage?: JsonObject
}

export interface DryRunOptions {
  /** Guardrails that ask models do so, which costs what it costs. The clock bounds how long they may take. */
  readonly askModels?: { readonly clock: Clock }
}

export interface DryJudged extends Pick<Judged<Json>, 'value' | 'asked' | 'denied' | 'redactedBy'> {
  readonly said: readonly GuardrailSaid[]
}

const noTime: Clock = {
  now: () => 0,
  monotonic: () => 0,
  sleep: () => new Promise(() => undefined),
}

/** Asks guardrails about a call's arguments, in the gateway's order; each sees what the one before left. */
export async function judgeDry(
  rails: readonly Guardrail[],
  call: GuardedCall,
  { askModels }: DryRunOptions,
): Promise<DryJudged> {
  const clock = askModels?.clock ?? noTime
  const task: Desk['task'] = { history: [], signal: new AbortController().signal, now: () => clock.now() }
  const said: GuardrailSaid[] = []
  const asked: DryJudged['asked'][number][] = []
  const redactedBy: string[] = []
  let input = call.input
  for (const rail of rails.flatMap(parts)) {
    const { part, unasked } = askModels === undefined ? withoutModels(rail) : { part: rail, unasked: () => false }
    const judged = await judgeInput({ rails: [part], task, keyed: sha256, clock }, { ...call, input })
    if (unasked()) {
      said.push({ guardrail: railName(rail), verdict: 'not-asked' })
      continue
    }
    said.push(...judged.notes.map(plainly))
    input = judged.value
    asked.push(...judged.asked)
    redactedBy.push(...judged.redactedBy)
    if (judged.denied !== undefined) return { value: input, said, asked, redactedBy, denied: judged.denied }
  }
  return { value: input, said, asked, redactedBy, denied: undefined }
}

/** Without what a verdict is kept on record by, which says nothing here. */
function plainly(note: Note): GuardrailSaid {
  const { of: _, value: __, ...rest } = note
  return rest
}

/** A guardrail's rule about text and its own code, one after the other as they are asked. */
function parts(rail: Guardrail): Guardrail[] {
  const { text, before, ...rest } = rail
  return [...(text === undefined ? [] : [{ ...rest, text }]), ...(before === undefined ? [] : [{ ...rest, before }])]
}

/** The guardrail with no model within its reach, and whether it wanted one. */
function withoutModels(rail: Guardrail): { readonly part: Guardrail; readonly unasked: () => boolean } {
  const { before } = rail
  if (before === undefined) return { part: rail, unasked: () => false }
  // One whose verdicts have to be kept says of itself that it judges as models do, with whatever client it has.
  let wanted = rail.recorded === true
  const generate: GuardContext['generate'] = () => {
    wanted = true
    return Promise.reject(new ConvokeError('MODEL_UNREACHABLE', 'a dry run asks no model'))
  }
  const quiet: NonNullable<Guardrail['before']> = async (call, { signal }) => {
    if (wanted) return 'allow'
    return before(call, { signal, generate })
  }
  return { part: { ...rail, before: quiet }, unasked: () => wanted }
}
