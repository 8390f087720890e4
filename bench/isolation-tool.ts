/** Tools for the measurement of isolation; loaded in threads and processes of their own. */

export function add({ n }: { readonly n: number }): number {
  return n + 1
}

/** Computes for `n` milliseconds and lets nothing else run. */
export function busy({ n }: { readonly n: number }): number {
  const end = performance.now() + n
  let rounds = 0
  while (performance.now() < end) rounds++
  return rounds
}
