// Fairness between tenants: pure decisions, no state. A place goes to the tenant that has the fewest; what nobody else
// wants, anybody may have.

interface OfTenant {
  readonly ref: { readonly tenant: string }
}

/** Reorders so that tenants take turns, who has the fewest places first. Within a tenant the order stays. */
export function inTurns<Run extends OfTenant>(runs: readonly Run[], places: ReadonlyMap<string, number>): Run[] {
  const lanes = new Map<string, Run[]>()
  for (const run of runs) {
    const lane = lanes.get(run.ref.tenant)
    if (lane === undefined) lanes.set(run.ref.tenant, [run])
    else lane.push(run)
  }
  if (lanes.size < 2) return [...runs]
  // The n-th run of a tenant stands where the tenant would have that many places.
  const ranked = [...lanes].flatMap(([tenant, lane]) =>
    lane.map((run, i) => ({ run, rank: (places.get(tenant) ?? 0) + i })),
  )
  return ranked.toSorted((a, b) => a.rank - b.rank).map(({ run }) => run)
}

/** The tenants that have their share of all places already, as long as others want some. */
export function satisfied(places: ReadonlyMap<string, number>, total: number): string[] {
  const share = Math.ceil(total / (places.size + 1))
  return [...places].filter(([, count]) => count >= share).map(([tenant]) => tenant)
}
