import type { AgentContext, StatedClaim, Tool } from 'convoke'

/** Names of the pieces that an agent was shown: `s1`, `s2`, … in the order of its calls. */
export interface Seen<T> {
  readonly id: string
  readonly value: T
  /** Exactly what stands in the piece for a member, to be quoted. */
  readonly quote: (...path: readonly (string | number)[]) => string
}

export interface Desk {
  call<I, O>(tool: Tool<I, O>, input: I, name?: string): Promise<Seen<O>>
  claim(statement: string, ...evidence: readonly { readonly ref: string; readonly quote: string }[]): void
  readonly claims: readonly StatedClaim[]
}

/** Keeps count of what a code agent has fetched, so that its claims can quote it. */
export function desk(context: AgentContext): Desk {
  let seen = 0
  const claims: StatedClaim[] = []
  return {
    claims,
    async call<I, O>(tool: Tool<I, O>, input: I, name?: string): Promise<Seen<O>> {
      const value = await context.call(tool, input, name === undefined ? {} : { name })
      const id = `s${++seen}`
      return { id, value, quote: (...path) => quoteOf(value, path) }
    },
    claim: (statement, ...evidence) => void claims.push({ statement, evidence }),
  }
}

function quoteOf(value: unknown, path: readonly (string | number)[]): string {
  let at: unknown = value
  for (const part of path) at = (at as Record<string | number, unknown>)[part]
  const last = path[path.length - 1]
  const text = JSON.stringify(at)
  return typeof last === 'string' ? `${JSON.stringify(last)}:${text}` : text
}
