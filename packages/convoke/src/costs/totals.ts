import type { JsonObject } from '../core/json.ts'
import type { Tokens } from '../ports/model.ts'
import { addAmounts } from './cost.ts'

/** Totals of model calls. `unpriced` counts calls whose price the table does not know. */
export interface UsageTotals {
  readonly calls: number
  readonly tokens: Tokens
  /** US dollars as a decimal. */
  readonly cost: string
  readonly unpriced?: number
}

const classes = ['input', 'output', 'reasoning', 'cacheRead', 'cacheWrite'] as const

export interface Meter {
  /** Adds the `usage` of a model call's record, or totals of several. */
  add(usage: JsonObject | undefined): void
  totals(): UsageTotals
}

export function makeMeter(): Meter {
  let calls = 0
  let unpriced = 0
  let cost = '0'
  const tokens: { -readonly [K in keyof Tokens]: number } = {}
  return {
    add(usage) {
      if (usage === undefined) return
      const used = (usage['tokens'] ?? {}) as Tokens
      for (const name of classes) {
        const count = used[name]
        if (count !== undefined) tokens[name] = (tokens[name] ?? 0) + count
      }
      calls += (usage['calls'] as number | undefined) ?? 1
      cost = addAmounts(cost, (usage['cost'] as string | undefined) ?? '0')
      unpriced += (usage['unpriced'] as number | undefined) ?? (usage['cost'] === undefined ? 1 : 0)
    },
    totals: () => ({ calls, tokens: { ...tokens }, cost, ...(unpriced === 0 ? {} : { unpriced }) }),
  }
}
