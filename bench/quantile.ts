export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** `share` of the values lie at or below it. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}
