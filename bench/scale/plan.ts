/** What is simulated for docs/scale.md: the adapters as they are, and the plan, from one worker to a thousand. */
import type { Footprint } from './cost.ts'
import { simulate, type Result } from './model.ts'
import { paramsOf, type Calibration, type Params } from './params.ts'

export interface Case {
  readonly layout: string
  readonly workers: number
  readonly runs: number
  readonly shards: number
  readonly result: Result
}

/** A database on network storage with a synchronous standby in another building: assumed, never measured here. */
const abroad: Partial<Params> = { flushMs: 1, flushMsPerKb: 0.004, rttMs: 0.5, cores: 8 }

/** As the adapters are: one database, eleven connections a worker, a bell that everybody hears. */
const today: Partial<Params> = { ...abroad, dispatch: 'queue', bell: 'all', connections: 6, otherConnections: 5 }

/** The plan: cells of workers around a shard, an engine that hands out, a bell with an address. */
const cells: Partial<Params> = { ...abroad, shardsPerWorker: 1, connections: 2, otherConnections: 1 }

/** Runs for each worker: a hundred thousand on a thousand. */
const runsEach = 100

export function simulatePlan(calibration: Calibration, small: boolean): Case[] {
  const cases: Case[] = []
  const add = (layout: string, workers: number, shards: number, given: Partial<Params>): void => {
    const runs = workers * runsEach
    const params = paramsOf(calibration, { ...given, workers, runs, shards })
    cases.push({ layout, workers, runs, shards, result: simulate(cellOf(params)) })
  }
  const short: Partial<Params> = small ? { warmMs: 300, measureMs: 300 } : {}
  for (const workers of small ? [1, 10] : [1, 3, 10, 30, 100, 300, 1_000])
    add('today', workers, 1, { ...today, ...short, maxEvents: small ? 200_000 : 8_000_000 })
  for (const workers of small ? [10] : [1, 10, 100]) add('cells', workers, 1, { ...cells, ...short })
  for (const shards of small ? [32] : [1, 2, 4, 8, 16, 32]) add('cells', 1_000, shards, { ...cells, ...short })
  if (small) return cases
  // The same load from fewer, busier workers: groups form, and the database has less to do.
  for (const [workers, lanes] of [
    [32, 2],
    [32, 1],
    [128, 2],
  ] as const) {
    const given = { ...cells, workers, runs: 100_000, shards: 8, concurrency: 4_000, connections: 4, lanes }
    const result = simulate(cellOf(paramsOf(calibration, given)))
    cases.push({ layout: `few workers, ${lanes} lanes`, workers, runs: 100_000, shards: 8, result })
  }
  for (const flushMs of [0.3, 5]) add(`cells, sync ${flushMs} ms`, 1_000, 16, { ...cells, flushMs })
  return cases
}

/**
 * Cells are alike and share nothing but the engine: one of them is simulated, with its part of the engine, and its
 * throughput counted as often as there are cells.
 */
export function cellOf(params: Params): Params {
  const { shards, workers } = params
  if (shards === 1 || params.shardsPerWorker !== 1 || workers < shards) return params
  return {
    ...params,
    shards: 1,
    workers: Math.ceil(workers / shards),
    runs: Math.ceil(params.runs / shards),
    enginePartitions: Math.max(1, Math.floor(params.enginePartitions / shards)),
    engineMs:
      (params.engineMs * Math.max(1, Math.floor(params.enginePartitions / shards)) * shards) / params.enginePartitions,
  }
}

/** What a case stands for in machines and bytes: each database with one synchronous standby, three nodes of the engine. */
export function footprintOf({ workers, shards, result }: Case, storedBytesPerStep: number): Footprint {
  const stepsPerS = result.stepsPerS * shards
  return {
    stepsPerS,
    servers: shards,
    copies: 2,
    workers,
    engineNodes: 3,
    iops: 4_000,
    storedBytesPerStep,
    logBytesPerStep: (result.logBytesPerS * shards) / stepsPerS,
    keptMonths: 1,
    archiveMonths: 1,
  }
}
