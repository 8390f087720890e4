/** The cluster against bounds that no queue can break. Whether it is like the real thing is measured in validate.ts. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { demandOf, standingOf, upperBound } from './bounds.ts'
import { simulate } from './model.ts'
import { documented, paramsOf, type Params } from './params.ts'

const of = (given: Partial<Params> = {}): Params =>
  paramsOf(documented, { workers: 4, runs: 80, thinkMs: 50, warmMs: 500, measureMs: 2_000, ...given })

const utilisation = (result: ReturnType<typeof simulate>, name: string): number =>
  result.resources.find((one) => one.name === name)?.utilisation ?? NaN

describe('the cluster', () => {
  test('is the same for the same seed, and another for another', () => {
    expect(simulate(of())).toEqual(simulate(of()))
    expect(simulate(of({ seed: 2 })).stepsPerS).not.toBe(simulate(of({ seed: 3 })).stepsPerS)
  })

  test('never does more than the asymptotic bounds allow', () => {
    const some = fc.record({
      seed: fc.integer({ min: 1, max: 1_000 }),
      workers: fc.integer({ min: 1, max: 12 }),
      runs: fc.integer({ min: 1, max: 300 }),
      shards: fc.constantFrom(1, 2, 4),
      thinkMs: fc.constantFrom(0, 5, 50),
      cores: fc.constantFrom(1, 4),
      flushMs: fc.constantFrom(0.1, 1, 5),
      stepsPerDrive: fc.integer({ min: 1, max: 20 }),
      maxItems: fc.constantFrom(1, 200),
      dispatch: fc.constantFrom('directed' as const, 'queue' as const, 'herd' as const),
    })
    fc.assert(
      fc.property(some, (given) => {
        const params = of({ ...given, measureMs: 1_000 })
        const { stepsPerS, resources } = simulate(params)
        // A window has ends: a few more steps may finish in it than belong to it.
        expect(stepsPerS).toBeLessThanOrEqual(upperBound(params).stepsPerS * 1.05 + params.runs)
        for (const { name, utilisation: share } of resources)
          if (name !== 'connections of a server') expect(share, name).toBeLessThanOrEqual(1 + 1e-9)
      }),
      { seed: 20261121, numRuns: 25 },
    )
  })

  test('reaches the bound of its database when that is what there is too little of', () => {
    const params = of({ workers: 20, runs: 400, thinkMs: 0, cores: 1, maxItems: 1, callCpuMs: 0.01, stepCpuMs: 0.01 })
    const result = simulate(params)
    expect(upperBound(params).by).toBe('database CPU')
    expect(result.stepsPerS / upperBound(params).stepsPerS).toBeGreaterThan(0.9)
    expect(result.saturated).toBe('database CPU')
  })

  test('reaches the bound of its runs when there is enough of everything', () => {
    const params = of({ thinkMs: 200, measureMs: 20_000 })
    const { stepsPerS } = simulate(params)
    expect(upperBound(params).by).toBe('runs')
    expect(stepsPerS / upperBound(params).stepsPerS).toBeGreaterThan(0.95)
  })

  test('uses its database as the utilisation law says', () => {
    const params = of({ maxItems: 1, thinkMs: 20, measureMs: 10_000, cores: 4 })
    const result = simulate(params)
    const standing = standingOf(params, 0)
    const expected = (result.stepsPerS / 1000) * (demandOf(params, 1).databaseCpu / params.cores) + standing.cpu
    expect(utilisation(result, 'database CPU') / expected).toBeCloseTo(1, 1)
  })

  test("obeys Little's law: runs are rounds a second times a round's time", () => {
    const params = of({ runs: 100, thinkMs: 20, measureMs: 30_000 })
    const { roundsPerS, roundMs } = simulate(params)
    expect(((roundsPerS / 1000) * roundMs) / params.runs).toBeCloseTo(1, 1)
  })

  test('of cells is as many times one cell', () => {
    const all = simulate(of({ workers: 16, runs: 320, shards: 4, shardsPerWorker: 1, measureMs: 8_000 }))
    const one = simulate(of({ workers: 4, runs: 80, shards: 1, measureMs: 8_000 }))
    expect(all.stepsPerS / one.stepsPerS / 4).toBeCloseTo(1, 1)
    expect(all.connectionsPerServer).toBe(one.connectionsPerServer)
    expect(all.stepP50 / one.stepP50).toBeCloseTo(1, 1)
  })

  test('shares commits and syncs the more, the more there is to do', () => {
    const light = simulate(of({ workers: 2, runs: 4, thinkMs: 100 }))
    const heavy = simulate(of({ workers: 2, runs: 400, thinkMs: 0, concurrency: 200 }))
    expect(light.stepsPerGroup).toBeLessThan(1.5)
    expect(heavy.stepsPerGroup).toBeGreaterThan(20)
    expect(heavy.databaseMsPerStep).toBeLessThan(light.databaseMsPerStep / 3)
  })

  test('that rings everybody for every change works the more for nothing, the more workers there are', () => {
    const rung = (workers: number): number =>
      simulate(of({ workers, runs: workers * 10, thinkMs: 200, dispatch: 'queue', bell: 'all' })).databaseMsPerStep
    const told = (workers: number): number =>
      simulate(of({ workers, runs: workers * 10, thinkMs: 200 })).databaseMsPerStep
    expect(told(16) / told(4)).toBeLessThan(1.2)
    expect(rung(16) / rung(4)).toBeGreaterThan(1.1)
    expect(rung(16) / told(16)).toBeGreaterThan(1.5)
  })

  test('has claims that collide where everybody takes from one list, and none where an engine hands out', () => {
    const { claimsLost } = simulate(of({ dispatch: 'directed' }))
    expect(claimsLost).toBe(0)
    expect(simulate(of({ dispatch: 'herd', bell: 'all', workers: 12 })).claimsLost).toBeGreaterThan(0)
  })
})
