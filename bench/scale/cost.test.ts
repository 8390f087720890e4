import { expect, test } from 'vitest'
import { assumedPrices, costOf, type Footprint } from './cost.ts'
import { fitLine } from './fit.ts'

const footprint: Footprint = {
  stepsPerS: 1_000_000 / 3600,
  servers: 2,
  copies: 2,
  workers: 10,
  engineNodes: 3,
  iops: 730,
  storedBytesPerStep: 1_000,
  logBytesPerStep: 2_000,
  keptMonths: 2,
  archiveMonths: 1,
}

test('a million steps in an hour cost what the machines cost in an hour, and the bytes that they leave', () => {
  const prices = { ...assumedPrices, serverPerHour: 1, workerPerHour: 0.1, engineNodePerHour: 2, iopsPerMonth: 1 }
  const cost = costOf(footprint, { ...prices, storagePerGbMonth: 0.5, archivePerGbMonth: 0.25 })
  expect(cost.servers).toBeCloseTo(4)
  expect(cost.workers).toBeCloseTo(1)
  expect(cost.engine).toBeCloseTo(6)
  expect(cost.iops).toBeCloseTo(4)
  expect(cost.storage).toBeCloseTo(2)
  expect(cost.archive).toBeCloseTo(0.5)
  expect(cost.total).toBeCloseTo(17.5)
})

test('twice the load on the same machines halves what machines cost a step, not what bytes cost', () => {
  const slow = costOf(footprint, assumedPrices)
  const fast = costOf({ ...footprint, stepsPerS: footprint.stepsPerS * 2 }, assumedPrices)
  expect(fast.servers).toBeCloseTo(slow.servers / 2)
  expect(fast.storage).toBeCloseTo(slow.storage)
})

test('a line through points gives what is once and what is each', () => {
  const [base, each] = fitLine([1, 5, 20, 100].map((n) => [n, 0.5 + 0.04 * n] as const))
  expect(base).toBeCloseTo(0.5)
  expect(each).toBeCloseTo(0.04)
  expect(
    fitLine([
      [1, 5],
      [10, 1],
    ]),
  ).toEqual([expect.any(Number), 0])
})
