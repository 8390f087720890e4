import type { Result } from './result.ts'

/** Stable codes of the ERP's refusals; a client decides by code, never by title or text. */
export const problemCodes = [
  'ALREADY_PAID',
  'ALREADY_REVERSED',
  'BODY_INVALID',
  'BODY_TOO_LARGE',
  'CREDIT_EXCEEDED',
  'CURRENCY_MISMATCH',
  'IBAN_MISMATCH',
  'IDEMPOTENCY_KEY_IN_FLIGHT',
  'IDEMPOTENCY_KEY_INVALID',
  'IDEMPOTENCY_KEY_MISSING',
  'IDEMPOTENCY_KEY_REUSED',
  'INTERNAL',
  'INVOICE_EXISTS',
  'KEY_UNKNOWN',
  'ARTICLE_UNKNOWN',
  'PAYMENT_UNKNOWN',
  'PO_EXCEEDED',
  'PO_UNKNOWN',
  'QUERY_INVALID',
  'RATE_LIMITED',
  'ROUTE_UNKNOWN',
  'VENDOR_MISMATCH',
  'VENDOR_UNKNOWN',
] as const

export type ProblemCode = (typeof problemCodes)[number]

/** A refusal as RFC 9457 problem details: `code` is stable, `more` holds the figures or what exists already. */
export function problem(status: number, code: ProblemCode, detail: string, more: Record<string, unknown> = {}): Result {
  const title = code.toLowerCase().replaceAll('_', ' ')
  const type = `urn:convoke-example:erp:${code.toLowerCase().replaceAll('_', '-')}`
  return { status, problem: true, body: { type, title, status, detail, code, ...more } }
}
