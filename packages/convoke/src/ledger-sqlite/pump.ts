import type { Engine } from './engine.ts'
import type { Request } from './protocol.ts'

// Does what has arrived in groups: the writes of a group share one transaction, reads follow. Invariant: one
// group at a time; nothing is answered before its commit. The ledger's thread and the caller's have one each.

export interface Pump {
  /** In the order in which they were made. What is asked of now and then waits for `run`. */
  take(calls: readonly Request[]): void
  /** Does what was taken, and what is taken meanwhile. */
  run(): void
  /** Resolves when all that was taken is done. */
  rest(): Promise<void>
  /** Leases are not renewed from here on. */
  stop(): void
}

/**
 * Writes that share a transaction. Of a crowd that comes at once, those whose writes are done go on while the others' are
 * being written; only where a commit takes long by itself, more share it.
 */
const fewest = 128
const most = 1_024
const longMs = 10

export function createPump(o: {
  readonly engine: Engine
  readonly leaseMs: number
  /** Takes what has arrived in the meantime. */
  readonly drain?: () => void
  /** Something failed that no call can be told of. */
  readonly broken: (error: unknown) => void
}): Pump {
  const { engine, leaseMs, drain, broken } = o
  const writes: Request[] = []
  const reads: Request[] = []
  let busy = false
  let resting: (() => void)[] = []
  let together = fewest

  async function work(): Promise<void> {
    drain?.()
    while (writes.length > 0 || reads.length > 0) {
      if (writes.length > 0) {
        const began = performance.now()
        await engine.commit(writes.splice(0, together))
        together = performance.now() - began > longMs ? Math.min(most, together * 2) : Math.max(fewest, together / 2)
      }
      if (reads.length > 0) reads.push(...(await engine.answer(reads.splice(0, 50))))
      drain?.()
    }
  }

  function dry(): void {
    busy = false
    if (writes.length > 0 || reads.length > 0) {
      run()
      return
    }
    const rested = resting
    resting = []
    for (const rest of rested) rest()
  }

  function run(): void {
    if (busy) return
    busy = true
    work().then(dry, (error: unknown) => {
      writes.length = 0
      reads.length = 0
      broken(error)
      dry()
    })
  }

  const beat = setInterval(() => {
    if (!engine.wantsBeat()) return
    writes.push([0, 'beat', []])
    run()
  }, leaseMs / 4).unref()

  return {
    take(calls) {
      for (const call of calls) {
        // At once: what is committed after the caller asked to hear of it must be heard.
        if (call[1] === 'interest') engine.listen(call)
        else if (engine.isWrite(call[1])) writes.push(call)
        else reads.push(call)
      }
    },
    run,
    rest() {
      return new Promise((resolve) => {
        resting.push(resolve)
        run()
      })
    },
    stop() {
      clearInterval(beat)
    },
  }
}
