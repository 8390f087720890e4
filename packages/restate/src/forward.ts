import { constants, type ClientHttp2Session, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'

/** Hands a stream on as it is, both ways, until one of the ends is gone; then the other goes as well. */
export function forward(
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  to: ClientHttp2Session,
  ended: () => void,
): void {
  const from = request.stream
  let isOver = false
  const over = (): void => {
    if (isOver) return
    isOver = true
    ended()
    // An engine that sees a stream break off tries again; one that saw a proper end would be done.
    if (!from.writableEnded && !from.destroyed) from.close(constants.NGHTTP2_INTERNAL_ERROR)
    if (target !== undefined && !target.destroyed && !target.closed) target.close(constants.NGHTTP2_CANCEL)
  }
  const { ':authority': _, host: __, connection: ___, ...headers } = request.headers
  const target = to.destroyed || to.closed ? undefined : to.request(headers, { endStream: false })
  if (target === undefined) {
    isOver = true
    ended()
    refuse(response, 503, 'the worker has just gone')
    return
  }
  target.on('response', (fields) => {
    if (!from.destroyed && !from.headersSent) from.respond(fields, { waitForTrailers: false })
  })
  target.on('error', over)
  target.on('end', () => from.end())
  target.on('close', over)
  from.on('close', over)
  from.pipe(target)
  target.pipe(from, { end: false })
}

export function refuse(response: Http2ServerResponse, status: number, message: string): void {
  if (response.headersSent || response.stream.destroyed) return
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ message }))
}

export function isLocal(address: string | undefined): boolean {
  return address === '127.0.0.1' || address === '::1' || address === '::ffff:127.0.0.1'
}
