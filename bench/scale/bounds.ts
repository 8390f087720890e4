/**
 * What queueing theory says without a simulation: the simulation must stay within these bounds, and a reader can check
 * the plan with a pocket calculator. Sources: utilisation law, Little's law and asymptotic bounds (Lazowska et al.,
 * Quantitative System Performance, 1984, chapters 3 and 5); the M/D/1 queue (Pollaczek and Khinchine).
 */
import type { Params } from './params.ts'

/** Mean wait before service in ms, for random arrivals at one server with a constant service time. */
export function waitOfConstantService(utilisation: number, serviceMs: number): number {
  return (utilisation / (2 * (1 - utilisation))) * serviceMs
}

/** What one step asks of each part, in ms, when `group` of them travel together; a drive's other calls shared out. */
export interface Demand {
  readonly databaseCpu: number
  readonly workerThread: number
  readonly log: number
  readonly engine: number
  /** Ways there and back, and one sync: time without any work of ours. */
  readonly delay: number
}

export function demandOf(params: Params, group = 1): Demand {
  const { costs, stepsPerDrive: k, coreSpeed } = params
  const append = (costs.appendMs + costs.recordMs * group) / group
  // Two more appends (post and park), a claim, a read of the history, a release.
  const perDrive =
    2 * append + (costs.claimMs + costs.releaseMs) / group + costs.claimEachMs + costs.releaseEachMs + costs.historyMs
  const bytes = params.walBytesPerStep + (2 * params.walBytesPerStep + 2 * params.walBytesPerWrite) / k
  const drives = params.dispatch === 'directed' ? 1 / k : 0
  return {
    databaseCpu: (append + perDrive / k) / coreSpeed,
    workerThread:
      params.stepCpuMs + ((1 + 2 / k) * params.callCpuMs) / group + ((2 / group + 1) * params.queryCpuMs) / k,
    log: (bytes / 1024) * params.flushMsPerKb,
    engine: params.engineMs * drives,
    delay: params.rttMs + params.flushMs + (5 * params.rttMs + 4 * params.flushMs + params.rttMs * drives * k) / k,
  }
}

export interface Bound {
  /** Steps a second that cannot be exceeded. */
  readonly stepsPerS: number
  /** What sets that bound: a part, or the number of runs. */
  readonly by: 'database CPU' | 'worker thread' | 'log bandwidth' | 'engine' | 'runs'
}

/** No work and no waiting can be saved: runs over their shortest round, and each part over its demand. */
export function upperBound(params: Params): Bound {
  const best = demandOf(params, params.maxItems)
  const bounds: readonly Bound[] = [
    { by: 'database CPU', stepsPerS: (1000 * params.shards * params.cores) / best.databaseCpu },
    { by: 'worker thread', stepsPerS: (1000 * params.workers) / best.workerThread },
    { by: 'log bandwidth', stepsPerS: (1000 * params.shards) / best.log },
    { by: 'engine', stepsPerS: (1000 * params.enginePartitions) / best.engine },
    { by: 'runs', stepsPerS: (1000 * drivenAtOnce(params)) / (params.thinkMs + best.delay) },
  ]
  return bounds.reduce((least, one) => (one.stepsPerS < least.stepsPerS ? one : least))
}

/** Runs that have a place, all of them driven without a pause at best. */
function drivenAtOnce({ runs, workers, concurrency }: Params): number {
  return Math.min(runs, workers * concurrency)
}

/** What the number of workers alone costs a server, whatever work there is. */
export interface Standing {
  readonly connections: number
  /** Share of the server's cores: renewals of leases, looks after others, sweeps. */
  readonly cpu: number
  /** The same for a notification that everybody hears, at `noticesPerS` of each worker: it grows with the square. */
  readonly bellCpu: number
}

export function standingOf(params: Params, noticesPerS: number): Standing {
  const { costs, cores, coreSpeed } = params
  const crew = Math.ceil((params.workers * Math.min(params.shards, params.shardsPerWorker)) / params.shards)
  const perS = (everyMs: number): number => 1000 / everyMs
  const work =
    crew * costs.renewMs * perS(params.renewEveryMs) +
    costs.lookAfterMs * perS(params.lookAfterEveryMs) +
    Math.min(crew, params.sweepers) * (costs.readyMs + costs.nextDueMs) * perS(params.sweepMs)
  const bell = crew * noticesPerS * (costs.notifyMs + crew * costs.listenerMs)
  return {
    connections: crew * (params.connections + params.otherConnections),
    cpu: work / 1000 / cores / coreSpeed,
    bellCpu: bell / 1000 / cores / coreSpeed,
  }
}
