import type { Lease } from '../ports/ledger.ts'
import type { Client } from './client.ts'
import { marginOf } from './lease-margin.ts'

/**
 * The holder's view of a lease. The thread writes into `slot` when the last durable renewal began, so the answer is
 * right even while this thread was busy; 0 means that it has passed or was never held.
 */
export async function createClientLease(
  client: Client,
  worker: string,
  leaseMs: number,
  since: number,
): Promise<Lease> {
  const slot = new BigInt64Array(new SharedArrayBuffer(8))
  await client.call('register', worker, slot, since, process.pid)
  client.onClosed(() => Atomics.store(slot, 0, 0n))
  return {
    worker,
    remaining() {
      const began = Atomics.load(slot, 0)
      if (began === 0n || client.closed) return 0
      return leaseMs - marginOf(leaseMs) - Number(process.hrtime.bigint() - began) / 1e6
    },
    async release() {
      if (!client.closed) await client.call('unregister', worker)
    },
  }
}
