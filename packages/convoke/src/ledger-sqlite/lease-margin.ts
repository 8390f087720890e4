/** How much earlier than for others a lease ends for its holder. */
function marginOf(leaseMs: number): number {
  return Math.min(leaseMs / 10, 1_000)
}

/** When a lease that was renewed at `began` ends for its holder; both in nanoseconds of the system's monotonic clock. */
export function endOf(began: bigint, leaseMs: number): bigint {
  return began + BigInt(Math.floor((leaseMs - marginOf(leaseMs)) * 1e6))
}

/**
 * How long a lease is that is renewed by the caller's thread, which somebody's code may keep busy: sixty times as long, but
 * no longer than a minute unless leases are. The end of a process is seen by the lock that goes with it; only one that is
 * stopped while it starts keeps its runs that long.
 */
export function untilThread(leaseMs: number): number {
  return Math.min(leaseMs * 60, Math.max(leaseMs, 60_000))
}
