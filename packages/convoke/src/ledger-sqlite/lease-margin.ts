/** How much earlier than for others a lease ends for its holder. */
export function marginOf(leaseMs: number): number {
  return Math.min(leaseMs / 10, 1_000)
}
