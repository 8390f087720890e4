import { z } from 'zod'
import { checkEvidence } from '../contracts/evidence.ts'
import type { Claim, StatedClaim } from '../contracts/outcome.ts'
import type { AnyRole } from '../contracts/role.ts'
import { check } from '../contracts/schema.ts'
import { ConvokeError, toErrorData } from '../core/errors.ts'
import { extractJson } from '../core/foreign-json.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { ModelResponse } from '../ports/model.ts'
import type { Answer } from './answer.ts'
import type { EvidenceBook } from './evidence-book.ts'

/** An answer that keeps its contract. */
export interface Accepted {
  readonly ok: true
  readonly value: unknown
  readonly claims: readonly Claim[]
  readonly confidence?: number
  readonly reasoning?: string
}

export interface Rejected {
  readonly ok: false
  /** Whether its shape is wrong, or what supports it. */
  readonly kind: 'output' | 'evidence'
  /** A sentence each, for whoever answers again. */
  readonly problems: readonly string[]
}

export type Judged = Accepted | Rejected

/** Judges what a model wrote: JSON, then the envelope and the output schema, then the evidence. */
export async function judgeText(
  role: AnyRole,
  raw: string,
  finish: ModelResponse['finish'],
  evidence: EvidenceBook,
): Promise<Judged> {
  const cut = finish === 'length' ? ' (it was cut off at its maximum length: answer shorter)' : ''
  if (raw.trim() === '') return wrong([`the answer is empty${cut}`])
  let parsed: Json
  try {
    parsed = extractJson(raw).value
  } catch (error) {
    return wrong([`the answer is not one JSON object: ${toErrorData(error).message}${cut}`])
  }
  const envelope = readEnvelope(parsed)
  return Array.isArray(envelope) ? wrong(envelope) : judgeParts(role, envelope as Envelope, evidence)
}

/** Judges what an agent's code returned. */
export function judgeAnswer(role: AnyRole, answer: Answer<unknown>, evidence: EvidenceBook): Promise<Judged> {
  const { value, claims, confidence, reasoning } = answer
  return judgeParts(
    role,
    {
      value,
      claims,
      ...(confidence === undefined ? {} : { confidence }),
      ...(reasoning === undefined ? {} : { reasoning }),
    },
    evidence,
  )
}

export function rejection(role: AnyRole, { kind, problems }: Rejected, repairs: number): ConvokeError {
  const after = repairs === 0 ? '' : ` after ${repairs} ${repairs === 1 ? 'repair' : 'repairs'}`
  const what = kind === 'output' ? 'the answer does not fit its schema' : 'the answer is not supported by its evidence'
  return new ConvokeError(
    kind === 'output' ? 'OUTPUT_INVALID' : 'EVIDENCE_INSUFFICIENT',
    `role ${role.name}: ${what}${after}: ${problems.slice(0, 3).join('; ')}`,
    {
      details: { role: role.name, problems: [...problems], repairs },
      next: 'try another agent of the role in an attempt, or let a person decide',
    },
  )
}

interface Envelope {
  readonly value: unknown
  readonly claims: readonly StatedClaim[]
  readonly confidence?: number
  readonly reasoning?: string
}

async function judgeParts(role: AnyRole, envelope: Envelope, evidence: EvidenceBook): Promise<Judged> {
  const checked = await check(role.output, envelope.value)
  if (!checked.ok) return wrong(checked.issues.map(({ pointer, message }) => `/value${pointer}: ${message}`))
  const { value } = checked
  const verdict = checkEvidence({
    claims: envelope.claims,
    value: value as Json | undefined,
    shown: evidence.shown.map((one) => ({ id: one.id, ref: evidence.refOf(one), text: one.text })),
    mode: role.evidence,
  })
  if (!verdict.ok) return { ok: false, kind: 'evidence', problems: verdict.problems.map((p) => p.message) }
  return { ...envelope, ok: true, value, claims: verdict.claims }
}

function wrong(problems: readonly string[]): Rejected {
  return { ok: false, kind: 'output', problems }
}

const citation = z.object({ ref: z.string(), quote: z.string() })
const stated = z.object({ statement: z.string(), about: z.string().optional(), evidence: z.array(citation) })
const envelopeSchema = z.object({
  value: z.unknown(),
  claims: z.array(stated).optional(),
  confidence: z.number().min(0).max(1).optional(),
  reasoning: z.string().optional(),
})

/** Members beyond the envelope are left out; `null` stands for an absent one, as some models write it. */
function readEnvelope(parsed: Json): Envelope | string[] {
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    return ['the answer is not one JSON object: { "value": … }']
  const given = parsed as JsonObject
  if (!Object.hasOwn(given, 'value')) return ['the answer has no member "value"']
  const present = Object.fromEntries(Object.entries(given).filter(([key, item]) => key === 'value' || item !== null))
  const read = envelopeSchema.safeParse(present)
  if (!read.success) return read.error.issues.slice(0, 20).map((i) => `/${i.path.join('/')}: ${i.message}`)
  const { claims = [], confidence, reasoning } = read.data
  return {
    value: given['value'],
    claims: claims.map(({ about, ...claim }) => (about === undefined ? claim : { ...claim, about })),
    ...(confidence === undefined ? {} : { confidence }),
    ...(reasoning === undefined ? {} : { reasoning }),
  }
}
