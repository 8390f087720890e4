import type { JsonObject } from '../core/json.ts'
import { addDecimal } from '../core/money.ts'
import { object, text, type Entry } from './records.ts'

/** What model calls used. Tokens are counts; `cost` is a decimal of US dollars. */
export interface Usage {
  readonly calls: number
  readonly input: number
  readonly output: number
  readonly cost: string
  /** Calls whose price is not known; they are not in `cost`. */
  readonly unpriced: number
}

export const noUsage: Usage = Object.freeze({ calls: 0, input: 0, output: 0, cost: '0', unpriced: 0 })

export function addUsage(a: Usage, b: Usage): Usage {
  if (b.calls === 0) return a
  return {
    calls: a.calls + b.calls,
    input: a.input + b.input,
    output: a.output + b.output,
    cost: addDecimal(a.cost, b.cost),
    unpriced: a.unpriced + b.unpriced,
  }
}

/**
 * What the model call of a record used, and what models that judged it did; nothing for other records, and for answers
 * that were taken over.
 */
export function usageOf({ payload }: Entry): Usage {
  return addUsage(
    payload['op'] === 'model' ? read(object(payload['usage'])) : noUsage,
    read(object(payload['judging'])),
  )
}

/** One call's usage, or totals of several. */
function read(usage: JsonObject | undefined): Usage {
  if (usage === undefined) return noUsage
  const tokens: JsonObject = object(usage['tokens']) ?? {}
  const cost = text(usage['cost'])
  return {
    calls: typeof usage['calls'] === 'number' ? usage['calls'] : 1,
    input: whole(tokens['input']),
    output: whole(tokens['output']),
    cost: cost !== undefined && /^-?\d+(\.\d+)?$/.test(cost) ? cost : '0',
    unpriced: typeof usage['unpriced'] === 'number' ? usage['unpriced'] : cost === undefined ? 1 : 0,
  }
}

function whole(value: unknown): number {
  return typeof value === 'number' ? value : 0
}
