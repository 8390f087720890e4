import { describe, expect, test } from 'vitest'
import { modelError, retryAfter, scrub } from './failures.ts'

const now = Date.UTC(2026, 10, 21, 12, 0, 0)
const context = { model: 'openai/m', now: () => now, secrets: ['my-odd-secret'] }

/** As @ai-sdk/provider throws it, with the request and the headers that must not get out. */
function callError(statusCode: number, body: unknown, responseHeaders: Record<string, string> = {}): Error {
  return Object.assign(new Error('failed'), {
    name: 'AI_APICallError',
    url: 'https://user:pass@api.example/v1?key=my-odd-secret',
    requestBodyValues: { messages: 'my-odd-secret prompt' },
    statusCode,
    responseHeaders,
    responseBody: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

describe('how long to wait', () => {
  test.each([
    [{ 'retry-after-ms': '1250.4' }, 1251],
    [{ 'retry-after-ms': '20', 'retry-after': '9' }, 20],
    [{ 'Retry-After': '2' }, 2000],
    [{ 'retry-after': '0.5' }, 500],
    [{ 'retry-after': 'Sat, 21 Nov 2026 12:00:30 GMT' }, 30_000],
    [{ 'retry-after': 'Sat, 21 Nov 2026 11:00:00 GMT' }, 0],
    [{ 'retry-after': '99999999' }, 86_400_000],
    [{ 'retry-after': 'soon' }, undefined],
    [{ 'retry-after': '' }, undefined],
    [{ 'retry-after-ms': '-5' }, undefined],
    [{}, undefined],
  ])('%j', (headers, ms) => {
    expect(retryAfter(headers, now)).toBe(ms)
  })
})

describe('which code', () => {
  test.each([
    [429, { error: { code: 'rate_limit_exceeded', message: 'm' } }, 'MODEL_RATE_LIMITED'],
    [429, { error: { code: 'insufficient_quota', message: 'm' } }, 'MODEL_REFUSED'],
    [400, { error: { message: 'm' } }, 'MODEL_REFUSED'],
    [401, 'not json', 'MODEL_REFUSED'],
    [404, {}, 'MODEL_REFUSED'],
    [408, {}, 'MODEL_UNREACHABLE'],
    [500, {}, 'MODEL_UNREACHABLE'],
    [503, '<html>', 'MODEL_UNREACHABLE'],
    [529, { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }, 'MODEL_UNREACHABLE'],
  ])('%i %j', (status, body, code) => {
    expect(modelError(callError(status, body), context)).toMatchObject({ code, details: { status, model: 'openai/m' } })
  })

  test('a wait is kept for an overload too, and the id of the request', () => {
    const headers = { 'retry-after': '7', 'x-request-id': 'req_1' }
    expect(modelError(callError(529, {}, headers), context).details).toMatchObject({
      retryAfterMs: 7000,
      requestId: 'req_1',
    })
  })
})

test('nothing secret gets out: no request, no headers, no key in the text', () => {
  const error = modelError(
    callError(401, {
      error: { message: 'Incorrect API key provided: abcd****9999, not my-odd-secret or sk-proj-abcdefgh1234' },
    }),
    context,
  )
  expect(error.cause).toBeUndefined()
  const shown = `${error.stack ?? ''}${JSON.stringify(error)}`
  for (const secret of ['my-odd-secret', '9999', 'abcdefgh1234', 'prompt', 'pass@']) expect(shown).not.toContain(secret)
  expect(error.message).toContain('[secret]')
})

test.each([
  ['Authorization: Bearer abcdef123456', 'Authorization: Bearer [secret]'],
  ['{"api_key":"abcdef123456"}', '{"api_key":"[secret]"}'],
  ['the token limit was reached; skateboarding is fine', 'the token limit was reached; skateboarding is fine'],
])('scrub %s', (text, out) => {
  expect(scrub(text, [])).toBe(out)
})

test('a long message is cut, a circle of causes ends', () => {
  const circle = new Error('x'.repeat(2000)) as Error & { cause?: unknown }
  circle.cause = circle
  expect(modelError(circle, context).message.length).toBeLessThan(600)
})
