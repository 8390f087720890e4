import type { Dispatcher } from './dispatcher.ts'
import type { Ledger } from './ledger.ts'
import type { Clock, Ids } from './runtime.ts'
import type { Probe } from './probe.ts'

// What a package exports so that an address finds it: `store: 'postgres://…'`, `engine: 'restate://…'`. The address says
// which package; everything in it beyond the scheme is that package's own.

export interface StoreOptions {
  readonly clock: Clock
  readonly ids: Ids
  readonly probe?: Probe
  /** How long a worker that shows no life keeps its runs, in milliseconds. */
  readonly leaseMs?: number
  /** `false`: a store that would have to be made or changed first is refused with STORE_OUTDATED. */
  readonly migrate?: boolean
}

/** One thing that `convoke doctor` looked at. */
export interface Finding {
  readonly name: string
  readonly state: 'ok' | 'warn' | 'bad'
  readonly says: string
  readonly code?: string
  /** What to do about it. */
  readonly next?: string
}

export interface MigrateOptions {
  /** Says what would be done, and does nothing. */
  readonly dryRun?: boolean
  /** Writes the lists of runs and approvals anew from the records, all of them. */
  readonly rebuild?: boolean
}

export interface Migrated {
  /** The version of the store's schema before and after; 0 for none. */
  readonly from: number
  readonly to: number
  /** Names of the migrations, in order. */
  readonly applied: readonly string[]
  /** Runs whose rows were written anew, or would be. */
  readonly rebuilt?: number
}

/** A package that keeps ledgers. */
export interface StoreModule {
  /** @throws STORE_UNUSABLE, STORE_NEWER, LEDGER_IO and what else the adapter says */
  openStore(address: string, options: StoreOptions): Promise<Ledger>
  /** Looks at the store and changes nothing. Never rejects. */
  inspectStore?(address: string): Promise<readonly Finding[]>
  /** Brings the store's schema to this version. */
  migrateStore?(address: string, options: MigrateOptions): Promise<Migrated>
}

export interface EngineOptions {
  readonly ledger: Ledger
  readonly tenant: string
  readonly clock: Clock
  readonly ids: Ids
  /** Where the ledger is, when an address says so: an engine may live in the same database. */
  readonly store?: string
  /** Runs driven at once in this process. */
  readonly concurrency?: number
  /** What this process can drive: an engine may route runs to the version they are pinned to (R8). */
  readonly workflows: readonly { readonly name: string; readonly version: string; readonly digest: string }[]
  /** Told of what goes wrong outside any run. */
  readonly onTrouble?: (error: Error) => void
}

/** A package that hands out runs to workers. */
export interface EngineModule {
  /** @throws ENGINE_UNREACHABLE and what else the adapter says */
  openEngine(address: string, options: EngineOptions): Promise<Dispatcher>
  /** Looks at the engine and changes nothing. Never rejects. */
  inspectEngine?(address: string): Promise<readonly Finding[]>
}
