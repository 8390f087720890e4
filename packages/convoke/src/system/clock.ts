import type { Clock } from '../ports/runtime.ts'

/** The longest that `setTimeout` takes (2^31 - 1 ms, about 25 days); beyond it fires at once. */
const maxTimer = 2_147_483_647

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  async sleep(ms, signal, { background = false } = {}) {
    const until = performance.now() + ms
    for (let left = ms; ; left = until - performance.now()) {
      await pause(Math.min(Math.max(left, 0), maxTimer), signal, background)
      if (left <= maxTimer) return
    }
  },
  after(ms, callback) {
    const timer = setTimeout(callback, Math.min(ms, maxTimer))
    return () => clearTimeout(timer)
  },
}

function pause(ms: number, signal: AbortSignal | undefined, background: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error)
      return
    }
    const abort = (): void => {
      clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }, ms)
    if (background) timer.unref()
    signal?.addEventListener('abort', abort, { once: true })
  })
}
