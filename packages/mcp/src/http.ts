import type { FetchLike } from '@modelcontextprotocol/client'
import type { Network, NetworkRules } from 'convoke/adapter'

/** Bytes of one answer; a stream of events may be long. */
const maxBytes = 256 * 1024 * 1024

/** A fetch for the protocol's client that goes only where the rules allow. Redirects are the client's to judge. */
export function networkFetch(network: Network, rules: NetworkRules): FetchLike {
  return async (url, init = {}) => {
    const { signal, redirect, ...plain } = init
    const asked = new Request('http://body.invalid/', { ...plain, method: plain.method ?? 'GET' })
    const body = asked.body === null ? undefined : new Uint8Array(await asked.arrayBuffer())
    const response = await network.request({
      url: typeof url === 'string' ? url : url.href,
      method: asked.method,
      headers: asked.headers,
      body,
      redirect: redirect ?? 'follow',
      rules,
      maxBytes,
      signal: signal ?? new AbortController().signal,
    })
    const empty = asked.method === 'HEAD' || [101, 204, 205, 304].includes(response.status)
    const answer = new Response(empty ? null : ReadableStream.from(response.body), {
      status: response.status,
      statusText: response.statusText,
      headers: response.headers,
    })
    Object.defineProperty(answer, 'url', { value: response.url })
    return answer
  }
}
