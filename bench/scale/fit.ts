/** Least squares through points, weighted by 1/x so that small sizes count; neither part below nothing. */
export function fitLine(points: readonly (readonly [x: number, y: number])[]): readonly [base: number, each: number] {
  const weights = points.map(([x]) => 1 / Math.max(1, x))
  const total = weights.reduce((sum, one) => sum + one, 0)
  const mean = (of: (point: readonly [number, number]) => number): number =>
    points.reduce((sum, point, at) => sum + of(point) * (weights[at] as number), 0) / total
  const x = mean((point) => point[0])
  const y = mean((point) => point[1])
  const spread = mean((point) => (point[0] - x) ** 2)
  const slope = spread === 0 ? 0 : mean((point) => (point[0] - x) * (point[1] - y)) / spread
  const each = Math.max(0, slope)
  return [Math.max(0, y - each * x), each]
}
