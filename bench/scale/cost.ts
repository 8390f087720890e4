/** Money and bytes for a million steps. Prices are assumptions for the reader to change, never measured. */

export interface Prices {
  readonly currency: string
  /** A database server, a worker's share of a machine, and a node of the engine, each an hour. */
  readonly serverPerHour: number
  readonly workerPerHour: number
  readonly engineNodePerHour: number
  /** Database storage and archived log, a GB (10^9 bytes) and month. */
  readonly storagePerGbMonth: number
  readonly archivePerGbMonth: number
  /** Provisioned input and output operations, each a month. */
  readonly iopsPerMonth: number
}

export interface Footprint {
  readonly stepsPerS: number
  readonly servers: number
  /** A server and its synchronous standbys. */
  readonly copies: number
  readonly workers: number
  readonly engineNodes: number
  /** Provisioned for each server. */
  readonly iops: number
  readonly storedBytesPerStep: number
  readonly logBytesPerStep: number
  /** How long steps stay in the database, and the log in the archive. */
  readonly keptMonths: number
  readonly archiveMonths: number
}

export interface Cost {
  readonly servers: number
  readonly workers: number
  readonly engine: number
  readonly iops: number
  readonly storage: number
  readonly archive: number
  readonly total: number
}

const hoursPerMonth = 730

/** For a million steps at a load that stays as it is. */
export function costOf(footprint: Footprint, prices: Prices): Cost {
  const { servers, copies, stepsPerS } = footprint
  const hours = 1e6 / stepsPerS / 3600
  const gb = (bytesPerStep: number): number => (bytesPerStep * 1e6) / 1e9
  const parts = {
    servers: servers * copies * prices.serverPerHour * hours,
    workers: footprint.workers * prices.workerPerHour * hours,
    engine: footprint.engineNodes * prices.engineNodePerHour * hours,
    iops: (servers * copies * footprint.iops * prices.iopsPerMonth * hours) / hoursPerMonth,
    storage: gb(footprint.storedBytesPerStep) * copies * prices.storagePerGbMonth * footprint.keptMonths,
    archive: gb(footprint.logBytesPerStep) * prices.archivePerGbMonth * footprint.archiveMonths,
  }
  return { ...parts, total: Object.values(parts).reduce((sum, one) => sum + one, 0) }
}

/** List prices on demand in one large American region, rounded; see docs/scale.md for what they stand for. */
export const assumedPrices: Prices = {
  currency: 'USD',
  serverPerHour: 0.43,
  workerPerHour: 0.036,
  engineNodePerHour: 0.43,
  storagePerGbMonth: 0.125,
  archivePerGbMonth: 0.023,
  iopsPerMonth: 0.065,
}
