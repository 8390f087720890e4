import type { JsonObject } from '../core/json.ts'
import { ConvokeError } from '../core/errors.ts'
import { compareDecimal } from '../core/money.ts'
import { makeMeter, type Meter } from '../costs/totals.ts'
import type { EngineHandle } from '../replay/scope.ts'

// What model calls used. One meter per ask and one per driven run; both are refilled from records on replay, so that a
// budget holds across crashes. Owned by the ask that made it; the run's meter is found by its engine.

export interface Budget {
  /** US dollars as a decimal. */
  readonly maxCost?: string
  /** Prompt and answer tokens together. */
  readonly maxTokens?: number
}

const runMeters = new WeakMap<EngineHandle, Meter>()

export function runMeter(engine: EngineHandle): Meter {
  let meter = runMeters.get(engine)
  if (meter === undefined) {
    meter = makeMeter()
    runMeters.set(engine, meter)
  }
  return meter
}

/**
 * Whether another model call may begin.
 * @throws BUDGET_EXCEEDED when the budget is used up, or when a cost budget cannot be kept because a price is unknown
 */
export function assertBudget(budget: Budget | undefined, meter: Meter, whose: string): void {
  if (budget === undefined) return
  const { tokens, cost, unpriced } = meter.totals()
  const used = (tokens.input ?? 0) + (tokens.output ?? 0)
  if (budget.maxTokens !== undefined && used >= budget.maxTokens)
    throw exceeded(`${whose} has used ${used} of ${budget.maxTokens} tokens`, {
      usedTokens: used,
      maxTokens: budget.maxTokens,
    })
  if (budget.maxCost === undefined) return
  if (unpriced !== undefined)
    throw exceeded(`${whose} has a cost budget, but the price of its model is not known`, { maxCost: budget.maxCost })
  if (compareDecimal(cost, budget.maxCost) < 0) return
  throw exceeded(`${whose} has cost ${cost} of ${budget.maxCost} USD`, { cost, maxCost: budget.maxCost })
}

function exceeded(message: string, details: JsonObject): ConvokeError {
  return new ConvokeError('BUDGET_EXCEEDED', message, {
    details,
    next: 'raise maxCost or maxTokens, or choose a cheaper agent',
  })
}
