import { ConvokeError } from '../core/errors.ts'
import type { Lease } from '../ports/ledger.ts'

/** Workers of a store in memory: alive from registration until released or ended; time plays no part. */
export interface Workers {
  register(worker: string): Lease
  isAlive(worker: string): boolean
  /** @throws LEASE_EXPIRED */
  check(worker: string): void
  end(worker: string): void
}

const leaseMs = 10_000

export function createWorkers(): Workers {
  const alive = new Set<string>()
  return {
    register(worker) {
      if (alive.has(worker)) throw new ConvokeError('INPUT_INVALID', `${worker} is registered already`)
      alive.add(worker)
      return {
        worker,
        remaining: () => (alive.has(worker) ? leaseMs : 0),
        release: () => Promise.resolve(void alive.delete(worker)),
      }
    },
    isAlive: (worker) => alive.has(worker),
    check(worker) {
      if (!alive.has(worker)) throw new ConvokeError('LEASE_EXPIRED', `the lease of ${worker} has passed`)
    },
    end: (worker) => void alive.delete(worker),
  }
}
