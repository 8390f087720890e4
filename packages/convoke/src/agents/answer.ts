import type { StatedClaim } from '../contracts/outcome.ts'

/** A value with what supports it, as an agent gives it; nothing of it has been checked. */
export interface Answer<O> {
  readonly kind: 'answer'
  readonly value: O
  readonly claims: readonly StatedClaim[]
  /** From 0 to 1. */
  readonly confidence?: number
  readonly reasoning?: string
}

export interface AnswerParts {
  readonly claims?: readonly StatedClaim[]
  readonly confidence?: number
  readonly reasoning?: string
}

const made = new WeakSet<object>()

/** What a code agent returns to say more than the value: claims with evidence, confidence, reasoning. */
export function answer<O>(value: O, parts: AnswerParts = {}): Answer<O> {
  const { claims = [], confidence, reasoning } = parts
  const whole: Answer<O> = Object.freeze({
    kind: 'answer',
    value,
    claims,
    ...(confidence === undefined ? {} : { confidence }),
    ...(reasoning === undefined ? {} : { reasoning }),
  })
  made.add(whole)
  return whole
}

/** Values may have any shape, so only what `answer()` made counts as an answer. */
export function asAnswer(returned: unknown): Answer<unknown> {
  return typeof returned === 'object' && returned !== null && made.has(returned)
    ? (returned as Answer<unknown>)
    : answer(returned)
}
