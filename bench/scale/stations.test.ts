/** The queues against closed forms, with fixed seeds. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { waitOfConstantService } from './bounds.ts'
import { createSimulation } from './events.ts'
import { createHistogram } from './histogram.ts'
import { createFlush, createPool, createStation } from './stations.ts'

const seeded = { seed: 20261121, numRuns: 60 }

describe('a station', () => {
  test.each([0.3, 0.6, 0.8, 0.9])('at utilisation %d waits as Pollaczek and Khinchine say', (utilisation) => {
    const sim = createSimulation(7)
    const station = createStation(sim, 1)
    const arrivals = 300_000
    let left = arrivals
    const arrive = (): void => {
      station.run(1, () => undefined)
      if (--left > 0) sim.after(sim.exponential(1 / utilisation), arrive)
    }
    arrive()
    sim.runUntil(Infinity)
    const { residence } = station.figures()
    const wait = waitOfConstantService(utilisation, 1)
    expect(Math.abs(residence - 1 - wait) / wait).toBeLessThan(0.05)
  })

  test('of two servers with exponential service waits as Erlang says', () => {
    const sim = createSimulation(11)
    const station = createStation(sim, 2)
    let left = 300_000
    const arrive = (): void => {
      station.run(sim.exponential(1), () => undefined)
      if (--left > 0) sim.after(sim.exponential(1 / 1.4), arrive)
    }
    arrive()
    sim.runUntil(Infinity)
    // M/M/2 at 0.7: residence 1 / (1 - 0.7²).
    expect(station.figures().residence).toBeCloseTo(1 / (1 - 0.49), 1)
  })

  test("obeys Little's law and the utilisation law whatever comes when", () => {
    const jobs = fc.array(fc.record({ gap: fc.integer({ min: 0, max: 20 }), ms: fc.integer({ min: 0, max: 30 }) }), {
      minLength: 1,
      maxLength: 60,
    })
    fc.assert(
      fc.property(jobs, fc.integer({ min: 1, max: 4 }), (list, servers) => {
        const sim = createSimulation(1)
        const station = createStation(sim, servers)
        let at = 0
        for (const { gap, ms } of list) {
          at += gap
          sim.after(at, () => station.run(ms, () => undefined))
        }
        sim.runUntil(5_000)
        const { inSystem, residence, utilisation, completions } = station.figures()
        expect(completions).toBe(list.length)
        expect(inSystem * 5_000).toBeCloseTo(residence * list.length, 6)
        const work = list.reduce((sum, { ms }) => sum + ms, 0)
        expect(utilisation * 5_000 * servers).toBeCloseTo(work, 6)
      }),
      seeded,
    )
  })
})

describe('a log', () => {
  test('gives every commit back after one to two syncs, in fewer syncs than commits', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: 200 }), (gaps) => {
        const sim = createSimulation(1)
        const log = createFlush(sim, { ms: 10, msPerKb: 0 })
        const times: number[] = []
        let at = 0
        for (const gap of gaps) {
          at += gap
          sim.after(at, () => {
            const from = sim.now()
            log.join(100, () => times.push(sim.now() - from))
          })
        }
        sim.runUntil(Infinity)
        expect(times).toHaveLength(gaps.length)
        for (const time of times) {
          expect(time).toBeGreaterThanOrEqual(10)
          expect(time).toBeLessThanOrEqual(20)
        }
        const { flushes, bytes } = log.figures()
        expect(flushes).toBeLessThanOrEqual(Math.ceil(at / 10) + 2)
        expect(bytes).toBe(100 * gaps.length)
      }),
      seeded,
    )
  })

  test('takes the time of its bytes when they are many', () => {
    const sim = createSimulation(1)
    const log = createFlush(sim, { ms: 1, msPerKb: 2 })
    let end = 0
    log.join(3 * 1024, () => (end = sim.now()))
    sim.runUntil(Infinity)
    expect(end).toBe(7)
  })
})

test('a pool never gives more permits than it has, first come first served', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 50 }), (holds) => {
      const sim = createSimulation(1)
      const pool = createPool(sim, 3)
      const order: number[] = []
      let held = 0
      for (const [at, ms] of holds.entries())
        pool.take((give) => {
          order.push(at)
          held += 1
          expect(held).toBeLessThanOrEqual(3)
          sim.after(ms, () => {
            held -= 1
            give()
          })
        })
      sim.runUntil(Infinity)
      expect(order).toEqual(holds.map((_, at) => at))
    }),
    seeded,
  )
})

test('events of one time happen in the order in which they were planned', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 100 }), (delays) => {
      const sim = createSimulation(1)
      const seen: [number, number][] = []
      for (const [at, ms] of delays.entries()) sim.after(ms, () => seen.push([ms, at]))
      sim.runUntil(Infinity)
      expect(seen).toEqual(delays.map((ms, at) => [ms, at] as const).toSorted(([a, i], [b, j]) => a - b || i - j))
    }),
    seeded,
  )
})

test('quantiles are right to a bucket', () => {
  const histogram = createHistogram()
  for (let ms = 1; ms <= 1_000; ms++) histogram.add(ms)
  expect(histogram.quantile(0.5) / 500).toBeCloseTo(1, 1)
  expect(histogram.quantile(0.99) / 990).toBeCloseTo(1, 1)
  expect(histogram.mean()).toBeCloseTo(500.5)
})
