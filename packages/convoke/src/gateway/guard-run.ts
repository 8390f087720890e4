import { canonicalize } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { matches } from '../core/patterns.ts'
import { makeMeter } from '../costs/totals.ts'
import { usageOf } from '../costs/usage.ts'
import type { Model, ModelRequest, ModelResponse } from '../ports/model.ts'
import type { Clock } from '../ports/runtime.ts'
import type { Task } from '../replay/types.ts'
import {
  railName,
  speaksAt,
  type Asked,
  type GuardContext,
  type GuardedCall,
  type GuardedText,
  type Guardrail,
  type Verdict,
} from './guardrail.ts'
import { findIn, redactJson, redactText, told, type GuardPoint, type TextRule } from './guard-text.ts'

// Asks guardrails and says what came of it. What they said is evidence: it is recorded, and where a verdict cannot be
// had again (a model gave it), the one on record counts for the same input.

/** What one guardrail said, as it is recorded. */
export interface Note {
  readonly guardrail: string
  readonly verdict: 'allow' | 'redact' | 'ask' | 'deny'
  readonly reason?: string
  /** Keyed hash of what was judged, where the verdict on record counts; and what is needed to take it from there. */
  readonly of?: string
  readonly value?: Json
  readonly category?: string
  readonly group?: string
  /** What the models that it asked have used. */
  readonly usage?: JsonObject
}

export interface Judged<V> {
  /** What the guardrails left. */
  readonly value: V
  readonly notes: readonly Note[]
  readonly asked: readonly Asked[]
  readonly denied: { readonly guardrail: string; readonly reason: string } | undefined
  readonly redactedBy: readonly string[]
}

/** What may be spent on judging, and where it is counted once it is on record. */
export interface Spend {
  /** @throws BUDGET_EXCEEDED */
  assert(): void
  used(usage: JsonObject): void
}

/** What guardrails are asked with. */
export interface Desk {
  readonly rails: readonly Guardrail[]
  readonly task: Pick<Task, 'history' | 'signal' | 'now'>
  readonly keyed: (text: string) => string
  readonly clock: Clock
  readonly spend?: Spend | undefined
}

const none: readonly never[] = Object.freeze([])

/** Which of an app's guardrails speak of a call at a place. */
export function railsOf(
  all: readonly Guardrail[] | undefined,
  tool: string,
  point: 'input' | 'output',
): readonly Guardrail[] {
  if (all === undefined || all.length === 0) return none
  return all.filter((rail) => matches(rail.tools ?? '*', tool) && speaksAt(rail, point))
}

/** Which of them speak of what a role's model is shown or writes. A guardrail for some tools is not about models. */
export function textRailsOf(
  all: readonly Guardrail[] | undefined,
  role: string | undefined,
  point: 'prompt' | 'answer',
): Guardrail[] {
  return (all ?? []).filter(
    (rail) =>
      speaksAt(rail, point) &&
      (rail[point] !== undefined || rail.tools === undefined) &&
      (rail.roles === undefined || (role !== undefined && matches(rail.roles, role))),
  )
}

/** What comes of a value that no guardrail looks at. */
export function unjudged<V>(value: V): Judged<V> {
  return { value, notes: none, asked: none, denied: undefined, redactedBy: none }
}

export function judgeInput(desk: Desk, call: GuardedCall): Promise<Judged<Json>> {
  return inTurn(desk, {
    point: 'input',
    value: call.input,
    subject: [call.tool, call.businessKey ?? null],
    own: (rail, input, context) => rail.before?.({ ...call, input }, context),
    text: redactJson,
  })
}

export function judgeOutput(
  desk: Desk,
  call: GuardedCall,
  output: Json | undefined,
): Promise<Judged<Json | undefined>> {
  return inTurn<Json | undefined>(desk, {
    point: 'output',
    value: output,
    subject: [call.tool],
    own: (rail, now, context) => rail.after?.({ ...call, output: now }, context),
    text: (rule, now) => (now === undefined ? { value: now, found: [], left: [] } : redactJson(rule, now)),
  })
}

export function judgeText(desk: Desk, point: 'prompt' | 'answer', said: GuardedText): Promise<Judged<string>> {
  return inTurn(desk, {
    point,
    value: said.text,
    subject: [said.role ?? null],
    own: (rail, text, context) => rail[point]?.({ ...said, text }, context),
    text: (rule, text) => {
      const found = findIn(rule, text)
      return { value: redactText(text, found), found, left: [] }
    },
  })
}

interface Place<V extends Json | undefined> {
  readonly point: GuardPoint
  readonly value: V
  readonly subject: Json
  readonly own: (
    rail: Guardrail,
    value: V,
    context: GuardContext,
  ) => Verdict<V & Json> | Promise<Verdict<V & Json>> | undefined
  readonly text: (
    rule: TextRule,
    value: V,
  ) => {
    readonly value: V
    readonly found: readonly { start: number; end: number; kind: string }[]
    readonly left: readonly unknown[]
  }
}

/** In order; each sees what the one before left. The first that denies ends it. */
async function inTurn<V extends Json | undefined>(desk: Desk, place: Place<V>): Promise<Judged<V>> {
  let { value } = place
  const notes: Note[] = []
  const asked: Asked[] = []
  const redactedBy: string[] = []
  const judged = (denied: Judged<V>['denied']): Judged<V> => ({ value, notes, asked, denied, redactedBy })
  for (const rail of desk.rails) {
    const name = railName(rail)
    for (const look of [byText<V>, byItself<V>]) {
      const said = await look(desk, place, rail, value)
      if (said === undefined) continue
      notes.push(said.note)
      const { verdict, reason = '' } = said.note
      if (verdict === 'deny') return judged({ guardrail: name, reason })
      if (verdict === 'redact') {
        value = said.value as V
        redactedBy.push(rail.name)
      }
      if (verdict === 'ask') {
        const { category = 'guardrail', group } = said.note
        asked.push({ guardrail: rail.name, reason, category, ...(group === undefined ? {} : { group }) })
      }
    }
  }
  return judged(undefined)
}

interface Said<V> {
  readonly note: Note
  readonly value?: V
}

async function byText<V extends Json | undefined>(
  _desk: Desk,
  { point, text }: Place<V>,
  rail: Guardrail,
  value: V,
): Promise<Said<V> | undefined> {
  const rule = rail.text
  if (rule === undefined || !(rule.at ?? [point]).includes(point)) return undefined
  const guardrail = railName(rail)
  try {
    const looked = text(rule, value)
    if (looked.found.length === 0) return { note: { guardrail, verdict: 'allow' } }
    const reason = `found ${told(looked.found)}`
    if (rule.act === 'deny') return { note: { guardrail, verdict: 'deny', reason } }
    if (rule.act === 'ask') return { note: { guardrail, verdict: 'ask', reason, ...rail.asks } }
    if (looked.left.length > 0)
      return { note: { guardrail, verdict: 'deny', reason: `${reason}, which cannot be taken out` } }
    return { note: { guardrail, verdict: 'redact', reason }, value: looked.value }
  } catch (error) {
    return { note: { guardrail, verdict: 'deny', reason: failed(error) } }
  }
}

async function byItself<V extends Json | undefined>(
  desk: Desk,
  place: Place<V>,
  rail: Guardrail,
  value: V,
): Promise<Said<V> | undefined> {
  const guardrail = railName(rail)
  const of =
    rail.recorded === true
      ? desk.keyed(`guardrail\n${canonicalize([guardrail, place.point, place.subject, value ?? null])}`).slice(0, 32)
      : undefined
  const before = of === undefined ? undefined : onRecord(desk.task, of)
  if (before !== undefined) return { note: before, ...(before.value === undefined ? {} : { value: before.value as V }) }
  const meter = makeMeter()
  const spent = (): Pick<Note, 'usage'> => {
    const totals = meter.totals()
    return totals.calls === 0 ? {} : { usage: { ...totals } as unknown as JsonObject }
  }
  const kept = of === undefined ? {} : { of }
  try {
    const verdict = await place.own(
      rail,
      value,
      contextOf(desk, (usage) => meter.add(usage)),
    )
    if (verdict === undefined) return undefined
    if (verdict === 'allow') return { note: { guardrail, verdict, ...kept, ...spent() } }
    if ('deny' in verdict) return { note: { guardrail, verdict: 'deny', reason: verdict.deny, ...kept, ...spent() } }
    if ('ask' in verdict) {
      const { ask, category, group } = verdict
      const asks = { category, ...(group === undefined ? {} : { group }) }
      return { note: { guardrail, verdict: 'ask', reason: ask, ...asks, ...kept, ...spent() } }
    }
    const note: Note = { guardrail, verdict: 'redact', reason: verdict.reason, ...kept, ...spent() }
    return { note: of === undefined ? note : { ...note, value: verdict.redact }, value: verdict.redact }
  } catch (error) {
    if (desk.task.signal.aborted) throw error
    return { note: { guardrail, verdict: 'deny', reason: failed(error), ...spent() } }
  }
}

function failed(error: unknown): string {
  return `the guardrail itself failed: ${error instanceof Error ? error.message : String(error)}`
}

function onRecord(task: Desk['task'], of: string): Note | undefined {
  for (const { record, payload } of task.history) {
    if (record.type !== 'guardrail.judged') continue
    const note = (payload['notes'] as unknown as readonly Note[]).find((n) => n.of === of)
    // What it used is counted where it was used.
    if (note !== undefined) {
      const { usage: _, ...rest } = note
      return rest
    }
  }
  return undefined
}

function contextOf({ task, clock, spend }: Desk, used: (usage: JsonObject) => void): GuardContext {
  return {
    signal: task.signal,
    async generate(model: Model, request: ModelRequest, { timeoutMs } = {}): Promise<ModelResponse> {
      spend?.assert()
      const began = clock.monotonic()
      const over = new AbortController()
      const alarm = new AbortController()
      if (timeoutMs !== undefined)
        void clock.sleep(timeoutMs, alarm.signal).then(
          () =>
            over.abort(
              new ConvokeError('MODEL_UNREACHABLE', `${model.id} gave no verdict within ${timeoutMs} ms`, {
                details: { model: model.id, timeoutMs },
              }),
            ),
          () => undefined,
        )
      const signal = AbortSignal.any([task.signal, over.signal])
      try {
        const response = await Promise.race([model.generate(request, { signal }), aborted(signal)])
        used(usageOf(response, model, { at: task.now(), ms: Math.round(clock.monotonic() - began) }))
        return response
      } finally {
        alarm.abort(new Error('the verdict is there'))
      }
    },
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const end = (): void => reject(signal.reason as Error)
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
  })
}

/** Records what was said, where anything was: all that merely allowed need no record of their own. */
export function noteJudgement(task: Task, at: GuardPoint, { notes }: Pick<Judged<unknown>, 'notes'>): void {
  if (!notes.some((note) => note.verdict !== 'allow' || note.of !== undefined)) return
  // What was taken from the record is there already.
  const last = task.history.findLast((e) => e.record.type === 'guardrail.judged' && e.payload['at'] === at)?.payload
  const payload = { at, notes: notes as unknown as Json }
  if (last !== undefined && sameNotes(last['notes'], payload.notes)) return
  task.append('guardrail.judged', payload)
}

function sameNotes(a: Json | undefined, b: Json): boolean {
  const without = (notes: Json | undefined): Json =>
    ((notes ?? []) as readonly JsonObject[]).map((note) => ({ ...note, usage: null }))
  return canonicalize(without(a)) === canonicalize(without(b))
}

const unspent: { readonly judging?: JsonObject } = Object.freeze({})

/** Totals of what models used to judge this operation: what is on record, and what is about to be. */
export function judgingOf(task: Task, now: readonly Note[] = []): { readonly judging?: JsonObject } {
  if (task.history.length === 0 && now.length === 0) return unspent
  const meter = makeMeter()
  const recorded = task.history
    .filter((e) => e.record.type === 'guardrail.judged')
    .flatMap((e) => e.payload['notes'] as unknown as readonly Note[])
  for (const { usage } of [...recorded, ...now]) meter.add(usage)
  const totals = meter.totals()
  return totals.calls === 0 ? {} : { judging: { ...totals } as unknown as JsonObject }
}
