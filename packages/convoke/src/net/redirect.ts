import type { IncomingMessage } from 'node:http'
import type { NetworkRequest } from '../ports/network.ts'
import { denied } from './rules.ts'

/** What may go to another origin: nothing that could hold a credential, whatever it is called. */
const harmless = new Set(['accept', 'accept-language', 'content-type', 'range', 'user-agent'])

/**
 * The request that a redirect asks for (RFC 9110, 15.4), or undefined when this is the answer. A body never goes to
 * another origin, credentials never either, and nothing goes from https to http.
 * @throws NETWORK_DENIED
 */
export function nextHop(
  request: NetworkRequest,
  from: URL,
  answer: Pick<IncomingMessage, 'statusCode' | 'headers'>,
): { readonly request: NetworkRequest; readonly url: URL } | undefined {
  const status = answer.statusCode ?? 0
  const location = answer.headers.location
  if (![301, 302, 303, 307, 308].includes(status) || location === undefined || request.redirect === 'manual')
    return undefined
  if (request.redirect === 'error') throw denied(from, 'it redirects')
  const url = URL.parse(location, from.href)
  if (url === null) throw denied(from, 'it redirects to what is no address')
  if (from.protocol === 'https:' && url.protocol !== 'https:') throw denied(url, 'a redirect may not leave https')
  const becomesGet = status === 303 ? request.method !== 'HEAD' : status < 307 && request.method === 'POST'
  const sameOrigin = url.origin === from.origin
  const writes = !['GET', 'HEAD', 'OPTIONS'].includes(request.method)
  if (writes && !becomesGet && !sameOrigin)
    throw denied(url, 'a request that changes something may not be redirected to another origin')
  const headers = new Headers()
  for (const [name, value] of request.headers) {
    if (!sameOrigin && !harmless.has(name)) continue
    if (becomesGet && name.startsWith('content-')) continue
    headers.append(name, value)
  }
  return {
    url,
    request: {
      ...request,
      url: url.href,
      headers,
      method: becomesGet ? 'GET' : request.method,
      body: becomesGet ? undefined : request.body,
    },
  }
}
