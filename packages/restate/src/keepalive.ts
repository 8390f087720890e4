import type { ClientHttp2Session } from 'node:http2'

const everyMs = 1_000
const limitMs = 3_000

/**
 * Asks the other end for a sign of life once a second, and calls `lost` when none comes within three: a stopped process
 * keeps its connections open. Returns what ends it.
 */
export function watchSession(session: ClientHttp2Session, lost: () => void): () => void {
  let asked: number | undefined
  session.on('error', () => undefined)
  const timer = setInterval(() => {
    if (session.closed || session.destroyed) return stop()
    if (asked !== undefined) {
      // Time in which this process did not run itself says nothing about the other.
      if (performance.now() - asked < limitMs) return
      stop()
      lost()
      return
    }
    if (session.connecting) {
      asked = performance.now()
      session.once('connect', () => (asked = undefined))
      return
    }
    asked = performance.now()
    session.ping((error) => {
      if (error === null) asked = undefined
    })
  }, everyMs)
  timer.unref()
  const stop = (): void => clearInterval(timer)
  return stop
}
