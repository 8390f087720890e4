/**
 * The whole cluster: workers, shards, engine, and runs that go round "ready, claimed, driven step by step, parked,
 * woken". Owns who drives which run. A closed network of queues: the number of runs is fixed, so a slow part shows as
 * queues and latency, never as lost work.
 */
import { createSimulation } from './events.ts'
import { createHistogram } from './histogram.ts'
import type { Params } from './params.ts'
import { createServer, type Server } from './server.ts'
import { createStation, type StationFigures } from './stations.ts'
import { createWorker, type Counts, type Link, type Worker } from './worker.ts'

export interface Resource {
  readonly name: string
  /** 0 to 1; the busiest of its kind. Connections: of what the server allows, so it may be over 1. */
  readonly utilisation: number
}

export interface Result {
  readonly stepsPerS: number
  /** From the moment a step's result is there to its being durable. */
  readonly stepP50: number
  readonly stepP99: number
  readonly stepMean: number
  /** From a run's being ready to its being driven. */
  readonly wakeP50: number
  readonly wakeP99: number
  readonly resources: readonly Resource[]
  /** The one with the highest utilisation, if that is 0.8 or more. */
  readonly saturated: string | undefined
  readonly stepsPerGroup: number
  readonly commitsPerFlush: number
  /** Share of the time in which the busiest log syncs. */
  readonly logBusy: number
  readonly callsPerStep: number
  readonly databaseMsPerStep: number
  readonly logBytesPerS: number
  /** Claims that another worker had won, of all. */
  readonly claimsLost: number
  readonly connectionsPerServer: number
  /** Mean time of a run's whole round, and how many were completed a second. */
  readonly roundMs: number
  readonly roundsPerS: number
  /** The simulated time that was measured; less than asked for when the bound on events came first. */
  readonly measuredMs: number
  readonly events: number
}

export function simulate(params: Params): Result {
  const sim = createSimulation(params.seed)
  const { workers: workerCount, shards: shardCount, costs } = params
  const shared = params.sharedCores === undefined ? undefined : createStation(sim, params.sharedCores)
  const counts: Counts = { calls: 0, groups: 0, grouped: 0, notices: 0 }
  const servers = Array.from({ length: shardCount }, () => createServer(sim, params, shared))
  const looking = new Map<Link, { busy: boolean; again: boolean }>()
  const throttled = new Set<Link>()
  const engine = createStation(sim, params.enginePartitions)
  const steps = createHistogram()
  const wakes = createHistogram()
  const rounds = createHistogram()
  const readyAt = new Float64Array(params.runs)
  const roundAt = new Float64Array(params.runs)
  let claims = 0
  let lost = 0

  const attach = Math.min(shardCount, Math.max(params.shardsPerWorker, Math.ceil(shardCount / workerCount)))
  const workers = Array.from({ length: workerCount }, (_, at) => {
    const its = Array.from({ length: attach }, (_each, n) => (at * attach + n) % shardCount)
    return createWorker(sim, params, new Map(its.map((s) => [s, servers[s] as Server])), counts, hear, shared)
  })
  const crews = servers.map((_, s) => workers.filter((worker) => worker.links.has(s)))
  const unplaced = servers.map(() => [] as number[])

  const shardOf = (run: number): number => run % shardCount
  const linkOf = (worker: Worker, shard: number): Link => worker.links.get(shard) as Link
  const pick = <T>(list: readonly T[]): T => list[Math.floor(sim.random() * list.length)] as T

  // ---- a run's round ------------------------------------------------------------------------------------------------

  function post(run: number): void {
    const shard = shardOf(run)
    linkOf(pick(crews[shard] as Worker[]), shard).append(true, () => makeReady(run))
  }

  function makeReady(run: number): void {
    const shard = shardOf(run)
    readyAt[run] = sim.now()
    ;(servers[shard] as Server).ready.add(run)
    if (params.dispatch === 'queue') {
      // Offered, taken and deleted, by whoever has nothing better to do.
      const link = linkOf(pick(crews[shard] as Worker[]), shard)
      const job = (done: () => void): void => link.query(costs.jobMs, done)
      job(() =>
        job(() => {
          job(() => undefined)
          place(run)
        }),
      )
    }
    if (params.dispatch === 'directed')
      sim.after(params.rttMs / 2, () =>
        engine.run(params.engineMs, () => sim.after(params.rttMs / 2, () => place(run))),
      )
  }

  /** The less busy of two workers that serve its shard gets it; without a place it waits. */
  function place(run: number, from = 0): void {
    const shard = shardOf(run)
    const crew = crews[shard] as Worker[]
    const [one, other] = [pick(crew), pick(crew)]
    let best = one.places >= other.places ? one : other
    if (best.places <= 0) best = crew.find(({ places }) => places > 0) ?? best
    if (best.places <= 0) {
      ;(unplaced[shard] as number[]).push(run)
      return
    }
    best.places -= 1
    claim(best, run, from)
  }

  function claim(worker: Worker, run: number, from = 0): void {
    const shard = shardOf(run)
    claims += 1
    linkOf(worker, shard).claim(run, (won) => {
      if (!won) {
        lost += 1
        leave(worker)
        return
      }
      wakes.add(sim.now() - (readyAt[run] as number))
      worker.driven.get(shard)?.add(run)
      linkOf(worker, shard).query(costs.historyMs, () => step(worker, run, from))
    })
  }

  function step(worker: Worker, run: number, done: number): void {
    const link = linkOf(worker, shardOf(run))
    if (done >= params.stepsPerDrive) {
      link.append(true, () => link.release(() => park(worker, run)))
      return
    }
    sim.after(sim.exponential(params.thinkMs), () => {
      const at = sim.now()
      worker.thread.run(params.stepCpuMs, () =>
        link.append(false, () => {
          steps.add(sim.now() - at)
          step(worker, run, done + 1)
        }),
      )
    })
  }

  function park(worker: Worker, run: number): void {
    worker.driven.get(shardOf(run))?.delete(run)
    rounds.add(sim.now() - (roundAt[run] as number))
    roundAt[run] = sim.now()
    sim.after(sim.exponential(params.parkedMs), () => post(run))
    leave(worker)
  }

  function leave(worker: Worker): void {
    worker.places += 1
    for (const shard of worker.links.keys()) {
      const next = (unplaced[shard] as number[]).shift()
      if (next === undefined) continue
      worker.places -= 1
      claim(worker, next)
      return
    }
    if (params.dispatch === 'herd') for (const shard of worker.links.keys()) look(worker, shard)
  }

  // ---- bells, looks and leases ----------------------------------------------------------------------------------------

  function hear(worker: Worker, shard: number): void {
    const link = linkOf(worker, shard)
    if (params.bell === 'all' && !throttled.has(link)) {
      throttled.add(link)
      sim.after(params.inboxThrottleMs, () => {
        throttled.delete(link)
        const driven = worker.driven.get(shard)?.size ?? 0
        for (let n = 0; n < driven; n++) link.query(costs.inboxMs, () => undefined)
      })
    }
    if (params.dispatch !== 'directed') sim.after(sim.random() * params.spreadMs, () => look(worker, shard))
  }

  function look(worker: Worker, shard: number): void {
    const link = linkOf(worker, shard)
    const its = looking.get(link) ?? { busy: false, again: false }
    looking.set(link, its)
    if (its.busy) {
      its.again = true
      return
    }
    if (worker.places <= 0) return
    its.busy = true
    const { ready } = servers[shard] as Server
    const limit = params.concurrency * 5 - worker.places
    link.query(costs.readyMs + costs.readyRowMs * Math.min(ready.size, limit), () => {
      let seen = 0
      // Everybody sees the same rows first.
      for (const run of ready) {
        if (params.dispatch !== 'herd' || worker.places <= 0 || seen++ >= limit) break
        worker.places -= 1
        claim(worker, run)
      }
      link.query(costs.nextDueMs, () => {
        its.busy = false
        if (its.again) {
          its.again = false
          look(worker, shard)
        }
      })
    })
  }

  function every(ms: number, act: () => void): void {
    const again = (): void => {
      act()
      sim.after(ms, again)
    }
    sim.after(sim.random() * ms, again)
  }

  for (const [shard, crew] of crews.entries()) {
    const server = servers[shard] as Server
    every(params.lookAfterEveryMs, () => server.serve(costs.lookAfterMs, 0, () => undefined))
    for (const [at, worker] of crew.entries()) {
      every(params.renewEveryMs, () => linkOf(worker, shard).renew())
      if (params.dispatch !== 'directed' || at < params.sweepers) every(params.sweepMs, () => look(worker, shard))
    }
  }

  // ---- from a spread-out start to the figures ---------------------------------------------------------------------------

  // Somewhere on their way, as they would be met at a later time; so a short warm-up does.
  for (let run = 0; run < params.runs; run++)
    sim.after(sim.random() * params.warmMs * 0.3, () => {
      ;(servers[shardOf(run)] as Server).ready.add(run)
      readyAt[run] = roundAt[run] = sim.now()
      place(run, Math.floor(sim.random() * params.stepsPerDrive))
    })
  sim.runUntil(params.warmMs, params.maxEvents)
  const began = sim.now()
  for (const part of [...servers, engine, ...(shared === undefined ? [] : [shared])]) part.reset()
  for (const worker of workers) for (const part of [worker.thread, ...pools(worker)]) part.reset()
  for (const histogram of [steps, wakes, rounds]) histogram.reset()
  claims = lost = counts.calls = counts.groups = counts.grouped = counts.notices = 0
  sim.runUntil(params.warmMs + params.measureMs, params.maxEvents)
  const measuredMs = Math.max(1e-9, sim.now() - began)

  const highest = (figures: readonly StationFigures[]): number => Math.max(...figures.map((one) => one.utilisation))
  const logs = servers.map(({ log }) => log.figures())
  const connectionsPerServer = Math.max(
    ...crews.map((crew) => crew.length * (params.connections + params.otherConnections)),
  )
  const places = workers.reduce((sum, worker) => sum + Math.max(0, worker.places), 0)
  const resources: Resource[] = [
    { name: 'database CPU', utilisation: highest(servers.map(({ cpu }) => cpu.figures())) },
    // A log that syncs all the time only shares its syncs better; it is full when the bytes fill the time.
    {
      name: 'log bandwidth',
      utilisation: (Math.max(...logs.map(({ bytes }) => bytes)) / 1024) * (params.flushMsPerKb / measuredMs),
    },
    { name: 'notifications', utilisation: highest(servers.map(({ notices }) => notices.figures())) },
    { name: 'worker thread', utilisation: highest(workers.map(({ thread }) => thread.figures())) },
    { name: "worker's connections", utilisation: highest(workers.flatMap(pools).map((pool) => pool.figures())) },
    { name: 'places for runs', utilisation: 1 - places / (workerCount * params.concurrency) },
    { name: 'engine', utilisation: engine.figures().utilisation },
    { name: 'connections of a server', utilisation: connectionsPerServer / params.maxConnections },
  ]
  const busiest = resources.reduce((one, other) => (other.utilisation > one.utilisation ? other : one))
  const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0)
  const cpuMs = shared === undefined ? sum(servers.map(({ cpu }) => cpu.figures().utilisation)) * params.cores : NaN
  return {
    stepsPerS: (steps.count / measuredMs) * 1000,
    stepP50: steps.quantile(0.5),
    stepP99: steps.quantile(0.99),
    stepMean: steps.mean(),
    wakeP50: wakes.quantile(0.5),
    wakeP99: wakes.quantile(0.99),
    resources,
    saturated: busiest.utilisation >= 0.8 ? busiest.name : undefined,
    stepsPerGroup: counts.grouped / counts.groups,
    commitsPerFlush: sum(logs.map((log) => log.completions)) / Math.max(1, sum(logs.map((log) => log.flushes))),
    logBusy: highest(logs),
    callsPerStep: counts.calls / steps.count,
    databaseMsPerStep: (cpuMs * measuredMs) / steps.count,
    logBytesPerS: (sum(logs.map((log) => log.bytes)) / measuredMs) * 1000,
    claimsLost: claims === 0 ? 0 : lost / claims,
    connectionsPerServer,
    roundMs: rounds.mean(),
    roundsPerS: (rounds.count / measuredMs) * 1000,
    measuredMs,
    events: sim.events,
  }
}

function pools(worker: Worker): Link['pool'][] {
  return [...worker.links.values()].map(({ pool }) => pool)
}
