import { ConvokeError } from '../core/errors.ts'
import type { Network, NetworkResponse, NetworkRules } from '../ports/network.ts'
import { held } from './held-body.ts'
import { foreignJson, outputInvalid, tooLarge } from './result.ts'

/** What the gateway learns of a try by watching its requests. Owned by one try; `fetch` writes, the gateway reads. */
export interface Trace {
  /** Requests that may have changed something out there and were not certainly refused before they were sent. */
  writes: number
  /** Requests of any kind that may have been sent. */
  sent: number
  lastStatus: number | undefined
  retryAfterMs: number | undefined
  over: boolean
}

export function newTrace(): Trace {
  return { writes: 0, sent: 0, lastStatus: undefined, retryAfterMs: undefined, over: false }
}

export interface FetchOptions {
  readonly tool: string
  readonly signal: AbortSignal
  readonly maxBytes: number
  readonly assertLease: () => void
  /** Milliseconds since the epoch, for `retry-after` dates. */
  readonly now: () => number
  readonly trace: Trace
  readonly network: Network | undefined
  readonly rules: NetworkRules
}

/** What `context.fetch` takes besides what fetch takes. */
export interface ToolRequest extends RequestInit {
  /** `none`: this request changes nothing that matters, although its method could (getting a token, a search). */
  readonly effect?: 'none'
}

const notSent = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** Whether an error says that the connection was never made. */
export function neverSent(error: unknown): boolean {
  for (let e = error, depth = 0; typeof e === 'object' && e !== null && depth < 5; depth++) {
    const code = (e as { code?: unknown }).code
    if (typeof code === 'string' && notSent.has(code)) return true
    e = (e as { cause?: unknown }).cause
  }
  return false
}

/** A fetch that goes only where the tool may, with the lease checked right before it (R7) and the body read to a bound. */
export function gatewayFetch(o: FetchOptions): (url: string | URL, init?: ToolRequest) => Promise<Response> {
  return async (url, init = {}) => {
    if (o.trace.over)
      throw new ConvokeError('TOOL_TIMEOUT', `the call of ${o.tool} is over; it may not send anything more`)
    const signal =
      init.signal === undefined || init.signal === null ? o.signal : AbortSignal.any([o.signal, init.signal])
    const method = (init.method ?? 'GET').toUpperCase()
    const write = init.effect !== 'none' && !['GET', 'HEAD', 'OPTIONS'].includes(method)
    if (o.network === undefined)
      throw new ConvokeError('NETWORK_DENIED', `${o.tool} may call nobody: this app has no network`, {
        details: { tool: o.tool },
      })
    const { redirect = 'follow' } = init
    const { headers, body } = isPlain(init, method)
      ? { headers: new Headers(Object.hasOwn(init, 'headers') ? init.headers : undefined), body: undefined }
      : await written(init, method)
    o.assertLease()
    o.trace.sent++
    if (write) o.trace.writes++
    o.trace.lastStatus = undefined
    o.trace.retryAfterMs = undefined
    const settle = (unsent: boolean): void => {
      if (!unsent) return
      o.trace.sent--
      if (write) o.trace.writes--
    }
    let response: NetworkResponse
    try {
      response = await o.network.request({
        url: typeof url === 'string' ? url : url.href,
        method,
        headers,
        body,
        redirect,
        rules: o.rules,
        maxBytes: o.maxBytes,
        signal,
        beforeSend: o.assertLease,
      })
    } catch (error) {
      if (signal.aborted) throw signal.reason
      const unsent = error instanceof ConvokeError && error.details?.['sent'] === false
      settle(unsent)
      if (error instanceof ConvokeError && error.code !== 'TOOL_UNREACHABLE') throw error
      throw new ConvokeError('TOOL_UNREACHABLE', `${o.tool} did not answer: ${reasonOf(error)}`, {
        details: { tool: o.tool, sent: !unsent },
        cause: error,
      })
    }
    o.trace.lastStatus = response.status
    o.trace.retryAfterMs = retryAfter(response.headers.get('retry-after'), o.now())
    // Who is not let in has changed nothing (RFC 9110, 15.5.2).
    if (write && response.status === 401) o.trace.writes--
    let bytes: Uint8Array<ArrayBuffer>
    try {
      bytes = await readBounded(response, o)
    } catch (error) {
      if (error instanceof ConvokeError) throw error
      if (signal.aborted) throw signal.reason
      throw new ConvokeError('TOOL_UNREACHABLE', `${o.tool} broke off its answer: ${reasonOf(error)}`, {
        details: { tool: o.tool, sent: true, status: response.status },
        cause: error,
      })
    }
    return asRead(response, bytes, o.tool)
  }
}

const plainMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE', 'POST', 'PUT'])
const plainMembers: ReadonlySet<string> = new Set(['method', 'headers', 'redirect', 'signal', 'effect'])

/** Whether there is nothing to write but headers, and nothing to refuse. */
function isPlain(init: ToolRequest, method: string): boolean {
  return plainMethods.has(method) && Object.keys(init).every((member) => plainMembers.has(member))
}

/** Writes headers and body as fetch would: text, bytes, forms. */
async function written(
  init: ToolRequest,
  method: string,
): Promise<{ readonly headers: Headers; readonly body: Uint8Array | undefined }> {
  const { effect: _, signal: _ours, redirect: _theirs, ...plain } = init
  const asked = new Request('http://body.invalid/', { ...plain, method })
  const body = asked.body === null ? undefined : new Uint8Array(await asked.arrayBuffer())
  return { headers: asked.headers, body }
}

async function readBounded(response: NetworkResponse, o: FetchOptions): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body) {
    chunks.push(chunk)
    length += chunk.byteLength
    if (length > o.maxBytes) throw tooLarge(o.tool, o.maxBytes)
  }
  const [first] = chunks
  if (chunks.length === 1 && first?.buffer instanceof ArrayBuffer) return first as Uint8Array<ArrayBuffer>
  const all = new Uint8Array(length)
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.byteLength
  }
  return all
}

/** A response with its body at hand, whose `json()` keeps digits. */
function asRead(response: NetworkResponse, bytes: Uint8Array<ArrayBuffer>, tool: string): Response {
  const { status, headers, url } = response
  const statusText = /^[\t\x20-\x7e]*$/.test(response.statusText) ? response.statusText : ''
  if (status < 200 || status > 599) throw outputInvalid(tool, `${status} is no status`)
  const bodiless = status === 204 || status === 205 || status === 304
  const read = new Response(bodiless ? null : bytes, { status, statusText, headers })
  return Object.defineProperties(read, {
    [held]: { value: bodiless ? undefined : bytes },
    url: { value: url },
    json: { value: async () => foreignJson(await read.text(), tool).value },
  })
}

/** Milliseconds to wait, from seconds or an HTTP date (RFC 9110, 10.2.3). */
export function retryAfter(header: string | null, now: number): number | undefined {
  if (header === null || header.trim() === '') return undefined
  const ms = /^\s*\d+\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), 86_400_000) : undefined
}

/** The innermost cause says what happened; undici's outer message is "fetch failed". */
export function reasonOf(error: unknown): string {
  let e = error
  for (let depth = 0; depth < 5 && e instanceof Error && e.cause instanceof Error; depth++) e = e.cause
  if (!(e instanceof Error)) return String(e)
  const code = (e as { code?: unknown }).code
  return e.message !== '' ? e.message : typeof code === 'string' ? code : e.name
}
