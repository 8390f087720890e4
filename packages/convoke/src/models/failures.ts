import { ConvokeError, isConvokeError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import { StreamFailure } from './stream.ts'

// Turns what provider packages throw into our three codes. The originals hold the whole request and the response's
// headers, so they are not kept as `cause`: message and details are built anew from what is safe to show.

export interface FailureContext {
  /** `<provider>/<model>` */
  readonly model: string
  readonly now: () => number
  /** Values that must never be shown, such as the API key in use. */
  readonly secrets: readonly string[]
}

const maxWait = 24 * 60 * 60 * 1000
const maxMessage = 500

interface Foreign {
  readonly name?: string
  readonly message?: string
  readonly code?: unknown
  readonly statusCode?: unknown
  readonly responseHeaders?: Readonly<Record<string, string>>
  readonly responseBody?: unknown
  readonly cause?: unknown
}

/** @returns a ConvokeError: MODEL_RATE_LIMITED, MODEL_UNREACHABLE or MODEL_REFUSED; or ours, when one was the cause */
export function modelError(error: unknown, context: FailureContext): ConvokeError {
  const chain = causes(error)
  const own = chain.find((link) => isConvokeError(link))
  if (own !== undefined) return own
  if (error instanceof StreamFailure) return sentError(error.sent, context)
  const foreign = (typeof error === 'object' && error !== null ? error : { message: String(error) }) as Foreign
  const status = typeof foreign.statusCode === 'number' ? foreign.statusCode : undefined
  if (status !== undefined && status >= 400) {
    const sent = parse(foreign.responseBody)
    return statusError(status, describe(sent, foreign.message), foreign.responseHeaders ?? {}, context)
  }
  const message = scrub(foreign.message ?? '', context.secrets)
  // The package refused before anything was sent: a feature the model lacks, a prompt it cannot write, no key.
  if (/Unsupported|InvalidPrompt|InvalidArgument|LoadAPIKey|LoadSetting|NoSuch/.test(foreign.name ?? ''))
    return failure('MODEL_REFUSED', `${context.model} cannot take the request: ${message}`, context, {
      reason: 'unsupported',
    })
  if (status !== undefined || foreign.name?.startsWith('AI_') === true) {
    const network = networkCode(chain)
    if (network === undefined)
      return failure('MODEL_UNREACHABLE', `${context.model} gave an answer that cannot be read: ${message}`, context, {
        reason: 'answer-unreadable',
        ...(status === undefined ? {} : { status }),
      })
  }
  const code = networkCode(chain)
  return failure('MODEL_UNREACHABLE', `${context.model} could not be reached: ${code ?? message}`, context, {
    reason: 'network',
    ...(code === undefined ? {} : { network: code }),
  })
}

export function silent(afterMs: number, context: FailureContext): ConvokeError {
  return failure('MODEL_UNREACHABLE', `${context.model} sent nothing for ${afterMs} ms`, context, {
    reason: 'silent',
    idleTimeoutMs: afterMs,
  })
}

/** Asking again would bring the same, so it is a refusal and not worth a retry. */
export function tooLarge(what: string, limit: number): ConvokeError {
  return new ConvokeError('MODEL_REFUSED', `${what} answered with more than ${limit} bytes`, {
    details: { reason: 'answer-too-large', limit },
    next: 'lower maxOutputTokens, or raise maxAnswerBytes where the model is set up',
  })
}

function statusError(
  status: number,
  sent: Described,
  headers: Readonly<Record<string, string>>,
  context: FailureContext,
): ConvokeError {
  const retryAfterMs = retryAfter(headers, context.now())
  const request = header(headers, 'x-request-id') ?? header(headers, 'request-id')
  const details: JsonObject = {
    reason: 'status',
    status,
    ...(sent.type === undefined ? {} : { type: scrub(sent.type, context.secrets).slice(0, 100) }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(request === undefined ? {} : { requestId: scrub(request, context.secrets).slice(0, 100) }),
  }
  const text = `${context.model} answered ${status}: ${scrub(sent.message, context.secrets)}`
  return failure(codeOf(status, sent), text, context, details)
}

/** An error inside a stream has no status, or one that the provider writes into its text. */
function sentError(sent: unknown, context: FailureContext): ConvokeError {
  const inner = causes(sent).find((link) => typeof (link as Foreign | null)?.statusCode === 'number')
  if (inner !== undefined) return modelError(inner, context)
  const said = describe(typeof sent === 'string' ? (parse(sent) ?? sent) : sent, undefined)
  const code = codeOf(said.status, said)
  return failure(code, `${context.model} broke off its answer: ${scrub(said.message, context.secrets)}`, context, {
    reason: 'stream-error',
    ...(said.type === undefined ? {} : { type: scrub(said.type, context.secrets).slice(0, 100) }),
    ...(said.status === undefined ? {} : { status: said.status }),
  })
}

type ModelCode = 'MODEL_RATE_LIMITED' | 'MODEL_UNREACHABLE' | 'MODEL_REFUSED'

function codeOf(status: number | undefined, sent: Described): ModelCode {
  const type = sent.type ?? ''
  // OpenAI says 429 for an account without credit too; waiting does not help there.
  if (/insufficient_quota|billing/.test(type)) return 'MODEL_REFUSED'
  if (status === 429 || /rate_?limit|too_many_requests/i.test(type)) return 'MODEL_RATE_LIMITED'
  if (status !== undefined)
    return status < 500 && status !== 408 && status !== 425 ? 'MODEL_REFUSED' : 'MODEL_UNREACHABLE'
  return /invalid|authentication|permission|not_found|policy|unsupported/i.test(type)
    ? 'MODEL_REFUSED'
    : 'MODEL_UNREACHABLE'
}

const nexts: Readonly<Record<ModelCode, string>> = {
  MODEL_RATE_LIMITED: 'wait for details.retryAfterMs, or lower how many calls run at once',
  MODEL_UNREACHABLE: 'try again; if it stays, look at the status page of the provider and at your network',
  MODEL_REFUSED: 'correct the request, the model name or the key; the same request will be refused again',
}

function failure(code: ModelCode, message: string, context: FailureContext, details: JsonObject): ConvokeError {
  return new ConvokeError(code, message.toWellFormed(), {
    details: { model: context.model, ...details },
    next: nexts[code],
  })
}

interface Described {
  readonly message: string
  readonly type?: string
  readonly status?: number
}

/** Reads `{ error: { message, type, code } }` (OpenAI, Anthropic), `{ message }`, `{ detail }` and plain text. */
function describe(sent: unknown, fallback: string | undefined): Described {
  const outer = (typeof sent === 'object' && sent !== null ? sent : {}) as Record<string, unknown>
  const nested = outer['error'] ?? (outer['response'] as Record<string, unknown> | undefined)?.['error']
  const error = (typeof nested === 'object' && nested !== null ? nested : outer) as Record<string, unknown>
  const texts = [error['message'], nested, error['detail'], sent, fallback, error['type']]
  const code = error['code'] ?? error['status']
  const types = [error['code'], error['type']].filter((text): text is string => typeof text === 'string' && text !== '')
  const type = types.find((text) => text !== 'error')
  const status = Number(code)
  return {
    message: texts.find((text): text is string => typeof text === 'string' && text !== '') ?? 'without a message',
    ...(type === undefined ? {} : { type }),
    ...(Number.isInteger(status) && status >= 400 && status < 600 ? { status } : {}),
  }
}

function parse(body: unknown): unknown {
  if (typeof body !== 'string' || body.length > 100_000) return undefined
  try {
    return JSON.parse(body) as unknown
  } catch {
    return undefined
  }
}

/**
 * Milliseconds to wait, from `retry-after-ms` or `retry-after` in seconds or as an HTTP date (RFC 9110, 10.2.3);
 * at most a day.
 */
export function retryAfter(headers: Readonly<Record<string, string>>, now: number): number | undefined {
  const exact = Number.parseFloat(header(headers, 'retry-after-ms') ?? '')
  if (exact >= 0) return Math.min(Math.ceil(exact), maxWait)
  const text = header(headers, 'retry-after')?.trim()
  if (text === undefined || text === '') return undefined
  const seconds = Number(text)
  const ms = Number.isNaN(seconds) ? Date.parse(text) - now : seconds * 1000
  return Number.isFinite(ms) ? Math.min(Math.max(Math.ceil(ms), 0), maxWait) : undefined
}

function header(headers: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1]
}

/** Keys as the providers write them, also where an error message quotes a wrong one half hidden. */
const keyLike = /\b(?:(?:sk|pk|rk|xai|gsk|hf)[-_][A-Za-z0-9*_-]{8,}|AIza[A-Za-z0-9_-]{20,})/g
const keyNamed =
  /\b((?:api[-_ ]?key|token|secret|authorization)(?: provided)?["']?\s*[:=]\s*["']?(?:(?:bearer|basic)\s+)?|bearer\s+)[^\s"',]{6,}/gi

export function scrub(text: string, secrets: readonly string[]): string {
  let out = text
  for (const secret of secrets) if (secret !== '') out = out.replaceAll(secret, '[secret]')
  out = out.replaceAll(keyLike, '[secret]').replaceAll(keyNamed, '$1[secret]')
  return out.length > maxMessage ? `${out.slice(0, maxMessage)}…` : out
}

/** The error and what it names as its causes; bounded, since foreign chains may turn in circles. */
function causes(error: unknown): readonly unknown[] {
  const chain: unknown[] = []
  for (let link = error; link !== undefined && link !== null && chain.length < 8; link = (link as Foreign).cause)
    chain.push(link)
  return chain
}

function networkCode(chain: readonly unknown[]): string | undefined {
  const codes = chain.flatMap((link) => {
    const code = (link as Foreign).code
    return typeof code === 'string' && /^(E[A-Z]{2,20}|UND_ERR_[A-Z_]{2,30}|ERR_[A-Z_]{2,40}|CERT_[A-Z_]+)$/.test(code)
      ? [code]
      : []
  })
  return codes[0]
}
