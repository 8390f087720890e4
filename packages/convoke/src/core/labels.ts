import type { Json } from './json.ts'

/**
 * What is known of a value's origin. Labels travel along causes: a record carries the join of its causes' labels.
 * The join is a semilattice (associative, commutative, idempotent): untrusted wins, sets unite, provisional wins.
 */
export interface Labels {
  readonly integrity: 'trusted' | 'untrusted'
  /** Who may see it: labels of the app's choosing; empty is public within the tenant. Sorted. */
  readonly confidentiality: readonly string[]
  /** Names of the sources it came from, such as `input`, `tool:erp.getOrder`, `model:gpt-5`. Sorted. */
  readonly sources: readonly string[]
  readonly provisional?: true
}

export const noLabels: Labels = Object.freeze({
  integrity: 'trusted',
  confidentiality: Object.freeze([]),
  sources: Object.freeze([]),
})

/** Whether labels say more than where a value came from. */
export function isLabelled(labels: Labels): boolean {
  return labels.integrity === 'untrusted' || labels.confidentiality.length > 0 || labels.provisional === true
}

export function joinLabels(all: Iterable<Labels>): Labels {
  let result: Labels = noLabels
  for (const labels of all) result = joinTwo(result, labels)
  return result
}

export function joinTwo(a: Labels, b: Labels): Labels {
  if (a === b || b === noLabels) return a
  if (a === noLabels) return b
  const integrity = a.integrity === 'untrusted' || b.integrity === 'untrusted' ? 'untrusted' : 'trusted'
  const confidentiality = union(a.confidentiality, b.confidentiality)
  const sources = union(a.sources, b.sources)
  const provisional = a.provisional ?? b.provisional
  // Most joins add nothing: the same object again is what keeps later ones, and writing it, cheap.
  if (
    integrity === a.integrity &&
    confidentiality === a.confidentiality &&
    sources === a.sources &&
    provisional === a.provisional
  )
    return a
  return Object.freeze({
    integrity,
    confidentiality,
    sources,
    ...(provisional === undefined ? {} : { provisional }),
  })
}

function union(a: readonly string[], b: readonly string[]): readonly string[] {
  if (b.length === 0 || a === b || b.every((item) => a.includes(item))) return a
  if (a.length === 0) return b
  return Object.freeze([...new Set([...a, ...b])].sort())
}

export function labelsJson(labels: Labels): Json {
  return { ...labels } as unknown as Json
}
