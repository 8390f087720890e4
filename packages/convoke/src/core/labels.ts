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

export function joinLabels(all: Iterable<Labels>): Labels {
  let result: Labels = noLabels
  for (const labels of all) result = joinTwo(result, labels)
  return result
}

function joinTwo(a: Labels, b: Labels): Labels {
  if (a === b || b === noLabels) return a
  if (a === noLabels) return b
  return Object.freeze({
    integrity: a.integrity === 'untrusted' || b.integrity === 'untrusted' ? 'untrusted' : 'trusted',
    confidentiality: union(a.confidentiality, b.confidentiality),
    sources: union(a.sources, b.sources),
    ...(a.provisional || b.provisional ? { provisional: true as const } : {}),
  })
}

function union(a: readonly string[], b: readonly string[]): readonly string[] {
  if (a.length === 0 || a === b) return b
  if (b.length === 0 || b.every((item) => a.includes(item))) return a
  return Object.freeze([...new Set([...a, ...b])].sort())
}

export function labelsJson(labels: Labels): Json {
  return { ...labels } as unknown as Json
}
