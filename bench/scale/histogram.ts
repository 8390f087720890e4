/** Latencies in buckets whose widths grow by 2 %, so that a quantile is right to that and millions cost nothing. */

export interface Histogram {
  add(ms: number): void
  /** NaN when there is nothing. */
  quantile(share: number): number
  mean(): number
  readonly count: number
  reset(): void
}

const growth = Math.log(1.02)
const smallest = 0.001

export function createHistogram(): Histogram {
  let buckets: number[] = []
  let count = 0
  let sum = 0
  return {
    add(ms) {
      const at = ms <= smallest ? 0 : 1 + Math.floor(Math.log(ms / smallest) / growth)
      buckets[at] = (buckets[at] ?? 0) + 1
      count += 1
      sum += ms
    },
    quantile(share) {
      let left = share * count
      for (let at = 0; at < buckets.length; at++) {
        left -= buckets[at] ?? 0
        // The bucket's middle.
        if (left <= 0 && (buckets[at] ?? 0) > 0) return at === 0 ? smallest : smallest * Math.exp((at - 0.5) * growth)
      }
      return NaN
    },
    mean: () => sum / count,
    get count() {
      return count
    },
    reset() {
      buckets = []
      count = 0
      sum = 0
    },
  }
}
