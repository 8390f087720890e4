import { tooLarge } from './failures.ts'

/**
 * A `fetch` for provider packages, which read answers whole: it breaks off beyond `maxBytes` of decoded body.
 * @throws MODEL_REFUSED (details.reason `answer-too-large`) out of the body
 */
export function boundedFetch(maxBytes: number, inner: typeof fetch = fetch): typeof fetch {
  return async (input, init) => {
    const response = await inner(input, init)
    if (response.body === null) return response
    const limit = tooLarge(new URL(response.url === '' ? String(input as string | URL) : response.url).host, maxBytes)
    let seen = 0
    const counted = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          seen += chunk.byteLength
          if (seen > maxBytes) controller.error(limit)
          else controller.enqueue(chunk)
        },
      }),
    )
    return new Response(counted, {
      status: response.status,
      statusText: response.statusText,
      headers: response.headers,
    })
  }
}
