/** Tools for the measurement of isolation; loaded in threads and processes of their own, so in JavaScript (docs/isolation.md). */

/** @param {{ readonly n: number }} input */
export function add({ n }) {
  return n + 1
}

/**
 * Computes for `n` milliseconds and lets nothing else run.
 * @param {{ readonly n: number }} input
 */
export function busy({ n }) {
  const end = performance.now() + n
  let rounds = 0
  while (performance.now() < end) rounds++
  return rounds
}
