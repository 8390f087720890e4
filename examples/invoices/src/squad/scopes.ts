import type { Grant } from 'convoke'

/** Operations of the ERP that look and change nothing. */
export function lookUp(...operations: readonly string[]): readonly Grant[] {
  return operations.map((operation) => ({ tool: `erp.${operation}`, effects: ['read'] }))
}
