import type { LedgerRecord } from '../core/record.ts'
import type { StreamRef } from '../ports/ledger.ts'
import { createTables, type Tables } from './memory-projections.ts'

/** Everything of a store in memory. */
export interface Stream {
  readonly ref: StreamRef
  readonly records: LedgerRecord[]
  epoch: number
  owner: string | undefined
  /** Its records are kept, and shown to nobody. */
  archived: boolean
}

export interface State {
  readonly streams: Map<string, Stream>
  readonly blobs: Map<string, Uint8Array>
  /** Blobs of archived records, and when they were archived. */
  readonly orphans: Map<string, number>
  readonly seen: Map<string, number>
  readonly uniques: Map<string, string>
  readonly counters: Map<string, number>
  readonly counted: Set<string>
  readonly tables: Tables
}

export const keyOf = (...parts: readonly string[]): string => JSON.stringify(parts)

export function emptyState(): State {
  return {
    streams: new Map(),
    blobs: new Map(),
    orphans: new Map(),
    seen: new Map(),
    uniques: new Map(),
    counters: new Map(),
    counted: new Set(),
    tables: createTables(),
  }
}

export function copyOf(from: State): State {
  return {
    streams: new Map([...from.streams].map(([key, s]) => [key, { ...s, records: [...s.records] }])),
    blobs: new Map(from.blobs),
    orphans: new Map(from.orphans),
    seen: new Map(from.seen),
    uniques: new Map(from.uniques),
    counters: new Map(from.counters),
    counted: new Set(from.counted),
    tables: from.tables.copy(),
  }
}
