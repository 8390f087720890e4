/**
 * What the simulation is told. Every constant says where it comes from: `measured` by calibrate.ts in the same run
 * (the figures here are those of docs/scale.md), `read` from the sources of the adapters, or `assumed`.
 * Times in milliseconds, sizes in bytes.
 */

/** What one call costs the database, of one core. */
export interface CallCosts {
  /** A group of appends: once, and for each record. */
  readonly appendMs: number
  readonly recordMs: number
  /** Claims and releases travel in groups as well: once, and for each run. */
  readonly claimMs: number
  readonly claimEachMs: number
  readonly releaseMs: number
  readonly releaseEachMs: number
  /** Reading a run of a few records, and an inbox without news. */
  readonly historyMs: number
  readonly inboxMs: number
  /** The look for ready runs: once, and for each row that it gives. */
  readonly readyMs: number
  readonly readyRowMs: number
  readonly nextDueMs: number
  /** Offering a run to the queue in the database, taking it from there, deleting it: each. */
  readonly jobMs: number
  readonly renewMs: number
  readonly lookAfterMs: number
  /** A notification: once, and for each session that listens on the server. */
  readonly notifyMs: number
  readonly listenerMs: number
}

export interface Params {
  readonly seed: number
  readonly workers: number
  /** Runs in the cycle "parked, ready, driven", all at once. */
  readonly runs: number
  readonly shards: number

  /** Mean time that a step takes outside of us (a model's answer), exponential. */
  readonly thinkMs: number
  /** Steps until a run parks. */
  readonly stepsPerDrive: number
  /** Mean time parked, exponential; 0: ready again at once. */
  readonly parkedMs: number
  readonly payloadBytes: number

  /** Runs that a worker drives at once. */
  readonly concurrency: number
  /**
   * The worker's one thread: for a step, for a group of appends, for any other call (half before, half after it), and a
   * tenth of that for a notification.
   */
  readonly stepCpuMs: number
  readonly callCpuMs: number
  readonly queryCpuMs: number
  /** Groups of appends on their way at once, for each shard, and appends in one. */
  readonly lanes: number
  readonly maxItems: number
  /** Connections of a worker to each shard for queries and groups, and those that it keeps besides. */
  readonly connections: number
  readonly otherConnections: number
  /** Shards that a worker serves; all of them, or its cell's. */
  readonly shardsPerWorker: number

  readonly rttMs: number
  /** Cores of each database server, and how many times as fast as the core that was measured. */
  readonly cores: number
  readonly coreSpeed: number
  /** Workers and database share these cores: for comparison with a measurement on one machine. */
  readonly sharedCores?: number
  readonly maxConnections: number
  readonly flushMs: number
  readonly flushMsPerKb: number
  /** Of the log, for each record and each other small write. */
  readonly walBytesPerStep: number
  readonly walBytesPerWrite: number
  readonly costs: CallCosts

  /**
   * How work is handed out. `herd`: a notification says only that something changed, so every worker looks and takes
   * what it can (the embedded dispatcher on a shared store). `queue`: every worker looks as well, but a queue in the
   * database gives each run to one (the Postgres dispatcher). `directed`: an engine gives each wake to one, nobody looks.
   */
  readonly dispatch: 'herd' | 'queue' | 'directed'
  /** Whether a notification makes every driven run read its inbox, or only the one that is meant. */
  readonly bell: 'all' | 'addressed'
  readonly sweepMs: number
  /** Workers of a shard that sweep it; the others rely on them. */
  readonly sweepers: number
  /** A worker sends notifications at most so often. */
  readonly gatherMs: number
  /** A worker looks again at random within this time after a notification. */
  readonly spreadMs: number
  readonly inboxThrottleMs: number
  readonly renewEveryMs: number
  /** All workers of a shard together look after each other so often. */
  readonly lookAfterEveryMs: number

  /** Partitions of the engine, each of which handles one wake at a time, in this time. */
  readonly enginePartitions: number
  readonly engineMs: number

  readonly warmMs: number
  readonly measureMs: number
  /** A bound for runs that saturate; their rates are taken over the time they got to. */
  readonly maxEvents: number
}

export type Calibration = Pick<
  Params,
  | 'costs'
  | 'flushMs'
  | 'flushMsPerKb'
  | 'walBytesPerStep'
  | 'walBytesPerWrite'
  | 'stepCpuMs'
  | 'callCpuMs'
  | 'queryCpuMs'
>

/**
 * Measured on 2026-11-21, on a virtual machine of 2 cores with 1.7 of them to itself, Postgres 18.4 (docs/scale.md); used
 * where Postgres cannot be started. `jobMs` alone is assumed.
 */
export const documented: Calibration = {
  costs: {
    appendMs: 0.72,
    recordMs: 0.046,
    claimMs: 0.35,
    claimEachMs: 0.048,
    releaseMs: 0.34,
    releaseEachMs: 0.062,
    historyMs: 0.2,
    inboxMs: 0.083,
    readyMs: 0.05,
    readyRowMs: 0.0026,
    nextDueMs: 0.1,
    jobMs: 0.2,
    renewMs: 0.3,
    lookAfterMs: 0.95,
    notifyMs: 0.075,
    listenerMs: 0.015,
  },
  flushMs: 3.2,
  flushMsPerKb: 0.005,
  walBytesPerStep: 1_563,
  walBytesPerWrite: 272,
  stepCpuMs: 0.064,
  callCpuMs: 0.63,
  queryCpuMs: 0.18,
}

/** The cluster of the plan: everything that is not measured. */
export const assumed: Omit<Params, keyof Calibration> = {
  seed: 1,
  workers: 10,
  runs: 1_000,
  shards: 1,
  thinkMs: 2_000,
  stepsPerDrive: 10,
  parkedMs: 0,
  payloadBytes: 1_024,
  concurrency: 128,
  lanes: 2,
  maxItems: 200,
  connections: 6,
  otherConnections: 5,
  shardsPerWorker: Infinity,
  rttMs: 0.5,
  cores: 8,
  coreSpeed: 1,
  maxConnections: 1_000,
  dispatch: 'directed',
  bell: 'addressed',
  sweepMs: 1_000,
  sweepers: 2,
  gatherMs: 4,
  spreadMs: 8,
  inboxThrottleMs: 100,
  renewEveryMs: 2_500,
  lookAfterEveryMs: 400,
  enginePartitions: 24,
  engineMs: 1,
  warmMs: 2_000,
  measureMs: 3_000,
  maxEvents: 30_000_000,
}

export function paramsOf(calibration: Calibration, given: Partial<Params> = {}): Params {
  return { ...assumed, ...calibration, ...given }
}
