import { checkEvidence } from '../contracts/evidence.ts'
import type { Citation, Claim, StatedClaim } from '../contracts/outcome.ts'
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

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** What keeps a member from being what the envelope asks for. */
function claimProblems(claims: Json | undefined): string[] {
  if (claims === undefined) return []
  if (!Array.isArray(claims)) return ['/claims: expected a list']
  return (claims as readonly Json[]).flatMap((claim, i) => {
    const at = `/claims/${i}`
    if (!isObject(claim)) return [`${at}: expected an object`]
    const problems: string[] = []
    if (typeof claim['statement'] !== 'string') problems.push(`${at}/statement: expected a text`)
    if (claim['about'] !== undefined && typeof claim['about'] !== 'string')
      problems.push(`${at}/about: expected a text`)
    const { evidence } = claim
    if (!Array.isArray(evidence)) return [...problems, `${at}/evidence: expected a list`]
    for (const [n, citation] of (evidence as readonly Json[]).entries())
      for (const member of ['ref', 'quote'])
        if (!isObject(citation) || typeof citation[member] !== 'string')
          problems.push(`${at}/evidence/${n}/${member}: expected a text`)
    return problems
  })
}

function envelopeProblems({ claims, confidence, reasoning }: JsonObject): string[] {
  const problems = claimProblems(claims)
  if (confidence !== undefined && !(typeof confidence === 'number' && confidence >= 0 && confidence <= 1))
    problems.push('/confidence: expected a number from 0 to 1')
  if (reasoning !== undefined && typeof reasoning !== 'string') problems.push('/reasoning: expected a text')
  return problems.slice(0, 20)
}

/** Members beyond the envelope are left out; `null` stands for an absent one, as some models write it. */
function readEnvelope(parsed: Json): Envelope | string[] {
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    return ['the answer is not one JSON object: { "value": … }']
  const given = parsed as JsonObject
  if (!Object.hasOwn(given, 'value')) return ['the answer has no member "value"']
  const present: JsonObject = Object.fromEntries(Object.entries(given).filter(([, item]) => item !== null))
  const problems = envelopeProblems(present)
  if (problems.length > 0) return problems
  const claims = (present['claims'] ?? []) as unknown as readonly (StatedClaim & {
    readonly evidence: readonly Citation[]
  })[]
  return {
    value: given['value'],
    claims: claims.map(({ statement, about, evidence }) => ({
      statement,
      ...(about === undefined ? {} : { about }),
      evidence: evidence.map(({ ref, quote }) => ({ ref, quote })),
    })),
    ...(present['confidence'] === undefined ? {} : { confidence: present['confidence'] as number }),
    ...(present['reasoning'] === undefined ? {} : { reasoning: present['reasoning'] as string }),
  }
}
