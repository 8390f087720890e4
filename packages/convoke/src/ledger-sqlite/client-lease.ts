import type { Lease } from '../ports/ledger.ts'
import type { Client } from './client.ts'

/**
 * The holder's view of a lease. Whoever renews it writes into `slot` when it ends, in nanoseconds of the system's
 * monotonic clock, so the answer is right even while this thread was busy; 0 means that it has passed or was never held.
 */
export async function createClientLease(client: Client, worker: string, since: number): Promise<Lease> {
  const slot = new BigInt64Array(new SharedArrayBuffer(8))
  await client.call('register', worker, slot, since, process.pid)
  client.onClosed(() => Atomics.store(slot, 0, 0n))
  return {
    worker,
    remaining() {
      const ends = Atomics.load(slot, 0)
      if (ends === 0n || client.closed) return 0
      return Number(ends - process.hrtime.bigint()) / 1e6
    },
    async release() {
      if (!client.closed) await client.call('unregister', worker)
    },
  }
}
