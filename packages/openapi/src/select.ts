import type { Listed } from './operation.ts'

/** Which operations become tools. `path` may hold `*` for any run of characters. */
export type Choice = string | { readonly tag: string } | { readonly path: string; readonly method?: string }

/** Chosen operations in the document's order, and choices that meet none. */
export function select(
  operations: readonly Listed[],
  choices: 'all' | readonly Choice[],
): { readonly chosen: readonly Listed[]; readonly named: ReadonlySet<Listed>; readonly missed: readonly Choice[] } {
  if (choices === 'all') return { chosen: operations, named: new Set(), missed: [] }
  const chosen = new Set<Listed>()
  const named = new Set<Listed>()
  const missed: Choice[] = []
  for (const choice of choices) {
    const met = operations.filter((operation) => meets(operation, choice))
    if (met.length === 0) missed.push(choice)
    for (const operation of met) {
      chosen.add(operation)
      if (typeof choice === 'string') named.add(operation)
    }
  }
  return { chosen: operations.filter((operation) => chosen.has(operation)), named, missed }
}

function meets(operation: Listed, choice: Choice): boolean {
  if (typeof choice === 'string') return operation.id === choice
  if ('tag' in choice) return operation.tags.includes(choice.tag)
  if (choice.method !== undefined && choice.method.toUpperCase() !== operation.method) return false
  const [first = '', ...rest] = choice.path.split('*')
  if (rest.length === 0) return operation.path === choice.path
  if (!operation.path.startsWith(first)) return false
  let at = first.length
  for (const [i, part] of rest.entries()) {
    const last = i === rest.length - 1
    const found = last ? operation.path.length - part.length : operation.path.indexOf(part, at)
    if (found < at || !operation.path.startsWith(part, found)) return false
    at = found + part.length
  }
  return true
}
