import { ConvokeError, type Json, type ToolContext } from 'convoke'
import { member, textOf } from './shape.ts'

// Owns: access tokens got with client credentials (RFC 6749, 4.4), per tenant, token address, client and scopes.
// Invariants: a token lives in memory only; it is concealed before anybody sees it; of many calls that need one at
// once, one asks. A token is renewed before it ends, and once after it was refused.

export interface TokenSource {
  readonly url: string
  readonly id: string
  readonly secret: string
  readonly scopes: readonly string[]
  readonly audience: string | undefined
  readonly by: 'basic' | 'body'
}

interface Token {
  readonly text: string
  /** On the monotonic clock of this process. */
  readonly until: number
}

const tokens = new Map<string, Token>()
const asked = new Map<string, Promise<Token>>()

/** A token is not used in its last half minute, nor longer than a day without a look. */
const marginMs = 30_000
const longestMs = 86_400_000

/**
 * A token that holds, got from memory or from the server.
 * @throws TOOL_FAILED when the server refuses, TOOL_UNREACHABLE when it does not answer
 */
export async function accessToken(source: TokenSource, context: ToolContext, fresh: boolean): Promise<string> {
  const key = JSON.stringify([
    context.tenant,
    source.url,
    source.id,
    source.secret,
    [...source.scopes].sort(),
    source.audience ?? null,
  ])
  const known = tokens.get(key)
  if (known !== undefined && !fresh && known.until > performance.now()) {
    context.conceal(known.text, `${source.secret}/token`)
    return known.text
  }
  let request = asked.get(key)
  if (request === undefined) {
    request = ask(source, context).finally(() => asked.delete(key))
    asked.set(key, request)
  }
  const token = await request
  context.conceal(token.text, `${source.secret}/token`)
  tokens.set(key, token)
  return token.text
}

async function ask(source: TokenSource, context: ToolContext): Promise<Token> {
  const [id, secret] = await Promise.all([context.secret(source.id), context.secret(source.secret)])
  const form = new URLSearchParams({ grant_type: 'client_credentials' })
  if (source.scopes.length > 0) form.set('scope', source.scopes.join(' '))
  if (source.audience !== undefined) form.set('audience', source.audience)
  const headers = new Headers({ accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' })
  if (source.by === 'body') {
    form.set('client_id', id)
    form.set('client_secret', secret)
  } else {
    // RFC 6749, 2.3.1: both parts are form-encoded first.
    const pair = Buffer.from(`${formEncoded(id)}:${formEncoded(secret)}`).toString('base64')
    context.conceal(pair, source.secret)
    headers.set('authorization', `Basic ${pair}`)
  }
  const began = performance.now()
  // No redirect: a token address that moves is not the one that the app trusts with its secret.
  const response = await context.fetch(source.url, {
    method: 'POST',
    headers,
    body: form.toString(),
    redirect: 'manual',
    effect: 'none',
  })
  const body = (await response.json().catch(() => null)) as Json
  const text = textOf(member(body, 'access_token'))
  if (text !== undefined) context.conceal(text, `${source.secret}/token`)
  if (!response.ok || text === undefined || text === '')
    throw new ConvokeError(
      response.status >= 500 || response.status === 429 ? 'TOOL_UNREACHABLE' : 'TOOL_FAILED',
      `no access token was given: ${response.status} ${textOf(member(body, 'error')) ?? ''}`.trim(),
      { details: { status: response.status, ...(response.status >= 500 ? { sent: false } : {}) } },
    )
  const seconds = Number(member(body, 'expires_in') ?? 3600)
  const lasts = Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds * 1000, longestMs) : 3_600_000
  return { text, until: began + Math.max(0, lasts - Math.min(marginMs, lasts / 2)) }
}

function formEncoded(text: string): string {
  return new URLSearchParams({ x: text }).toString().slice(2)
}
