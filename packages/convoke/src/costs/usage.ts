import type { JsonObject } from '../core/json.ts'
import type { Model, ModelResponse } from '../ports/model.ts'
import { costOf } from './cost.ts'

/** What one model call used, as its record holds it. `at` in milliseconds since the epoch. */
export function usageOf(response: ModelResponse, model: Model, { at, ms }: { at: number; ms: number }): JsonObject {
  const served = response.servedModel ?? model.id.slice(model.id.indexOf('/') + 1)
  const cost =
    model.kind === 'scripted'
      ? { amount: '0', table: 'none' }
      : costOf({ provider: model.provider, model: served, tokens: response.tokens, at })
  return {
    requestedModel: model.id,
    servedModel: served,
    tokens: { ...response.tokens },
    ...(cost === undefined ? {} : { cost: cost.amount, priceTable: cost.table }),
    ms,
  }
}
