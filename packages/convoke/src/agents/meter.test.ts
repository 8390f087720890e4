import { expect, test } from 'vitest'
import { makeMeter } from '../costs/totals.ts'
import { assertBudget } from './meter.ts'

const call = { tokens: { input: 100, output: 20, reasoning: 5 }, cost: '0.000125', priceTable: 't@1' }

test('totals add up calls and the totals of finished asks, exactly', () => {
  const meter = makeMeter()
  meter.add(call)
  meter.add(call)
  meter.add({ calls: 3, tokens: { input: 10 }, cost: '0.1', unpriced: 1 })
  meter.add(undefined)
  expect(meter.totals()).toEqual({
    calls: 5,
    tokens: { input: 210, output: 40, reasoning: 10 },
    cost: '0.10025',
    unpriced: 1,
  })
})

test('BUDGET_EXCEEDED: tokens are counted in and out, and the bound itself is used up', () => {
  const meter = makeMeter()
  meter.add(call)
  assertBudget({ maxTokens: 121 }, meter, 'the task')
  expect(() => assertBudget({ maxTokens: 120 }, meter, 'the task')).toThrow(
    expect.objectContaining({ code: 'BUDGET_EXCEEDED', details: { usedTokens: 120, maxTokens: 120 } }),
  )
})

test('BUDGET_EXCEEDED: cost is compared by value, and an unknown price cannot be kept within', () => {
  const meter = makeMeter()
  meter.add(call)
  assertBudget({ maxCost: '0.00012501' }, meter, 'the run')
  expect(() => assertBudget({ maxCost: '0.0001250' }, meter, 'the run')).toThrow(
    expect.objectContaining({ code: 'BUDGET_EXCEEDED' }),
  )
  const unknown = makeMeter()
  unknown.add({ tokens: { input: 1 } })
  assertBudget({ maxTokens: 10 }, unknown, 'the run')
  expect(() => assertBudget({ maxCost: '5' }, unknown, 'the run')).toThrow(/price of its model is not known/)
})
