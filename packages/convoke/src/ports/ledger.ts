import type { Blob, Head, LedgerRecord, RecordRef } from '../core/record.ts'
import type { ApprovalRow, RunRow } from '../core/projections.ts'
import type { Json } from '../core/json.ts'
import type { ArchiveCount, ArchiveItem, StreamHead } from '../core/archive.ts'
import type { StoreItem, TransferCount } from '../core/transfer.ts'

export interface StreamRef {
  readonly tenant: string
  /** `<kind>/<id>`: run, inbox, topic, registry, memory, policy, limits. */
  readonly stream: string
}
export type Epoch = number
export type WorkerId = string

/** Records that follow the stream's head, sealed by the stream's one writer under the epoch it claimed. */
export interface StreamAppend {
  readonly ref: StreamRef
  readonly epoch: Epoch
  readonly records: readonly LedgerRecord[]
}

/** What somebody outside sends to a run. `id` is the sender's: the same id again is the same message. */
export interface InboxMessage {
  readonly id: string
  /** Namespaced: `signal`, `approval.decided`, `run.cancel`, `child.done`, … */
  readonly type: string
  readonly at: number
  readonly actor: LedgerRecord['actor']
  readonly causes?: LedgerRecord['causes']
  readonly labels?: LedgerRecord['labels']
  readonly payload: Json
}

/** Conditions that hold in the append's own transaction. */
export type Guard =
  | { readonly kind: 'unique'; readonly tenant: string; readonly key: string; readonly owner: string }
  | {
      readonly kind: 'counter'
      readonly tenant: string
      readonly counter: string
      readonly key: string
      readonly add: number
      readonly max: number
    }
  /** The inbox still ends at `seq`. */
  | { readonly kind: 'inbox'; readonly ref: StreamRef; readonly seq: number }

export interface AppendOptions {
  readonly blobs?: readonly Blob[]
  readonly guards?: readonly Guard[]
  /** Messages posted in the same transaction. */
  readonly posts?: readonly { readonly ref: StreamRef; readonly message: InboxMessage }[]
}

export interface Claim extends Head {
  readonly epoch: Epoch
}

/** Whether a worker may still act, judged by a clock that cannot be set. */
export interface Lease {
  readonly worker: WorkerId
  /** Milliseconds for which nobody else may take this worker's runs over; 0 or less when it has passed. */
  remaining(): number
  release(): Promise<void>
}

export interface Posted {
  readonly seq: number
  /** The sender's id was seen before; `seq` is where the first one stands. */
  readonly duplicate: boolean
}

export interface RunFilter {
  readonly tenant: string
  readonly status?: readonly RunRow['status'][]
  readonly workflow?: string
  readonly tag?: string
  /** At most this many, newest first; 100 unless said. */
  readonly limit?: number
  /** Only runs that started before this one (for paging). */
  readonly before?: string
}

export interface ReadyRun {
  readonly ref: StreamRef
  /** Milliseconds since the epoch at which it is due; may be in the past. */
  readonly due: number
  readonly priority: number
}

/** Where a reader of `watch` stands: opaque but ordered, the commit order of the ledger. */
export type Position = number

/**
 * The ledger port. All methods throw ConvokeError: TENANT_MISSING for an empty tenant, LEDGER_CLOSED after `close`,
 * LEDGER_FULL, LEDGER_BUSY, LEDGER_IO when the store cannot be written or read.
 */
export interface Ledger {
  /**
   * Atomic across its streams, durable when it resolves. The same records (seq and hash) again succeed without effect.
   * @throws POSITION_STALE, EPOCH_STALE, LEASE_EXPIRED; UNIQUE_TAKEN, COUNTER_EXCEEDED, INBOX_ADVANCED from guards
   */
  append(batch: readonly StreamAppend[], options?: AppendOptions): Promise<void>
  /** Appends to an inbox at any position, deduplicated by the sender's id. A post makes the inbox's run ready. */
  post(inbox: StreamRef, message: InboxMessage): Promise<Posted>
  /**
   * Records in order from `from` (1). `outline` leaves out what finished folds contain. `limit` 1,000 unless said.
   * @throws LEDGER_CORRUPT when what is stored does not chain
   */
  read(
    ref: StreamRef,
    options?: { readonly from?: number; readonly limit?: number; readonly outline?: boolean },
  ): Promise<LedgerRecord[]>
  /**
   * All of a stream, of which the proof is still under way: a ledger that has it lets a long run be replayed meanwhile.
   * Nothing may be done on the word of these records before `proved` has resolved.
   * @throws LEDGER_CORRUPT when they cannot even be read
   */
  readAhead?(ref: StreamRef, options?: { readonly outline?: boolean }): Promise<Ahead>
  head(ref: StreamRef): Promise<Head>
  /** All streams of a tenant with their heads, by name; for checkpoints and audits. */
  heads(
    tenant: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<(Head & { readonly stream: string })[]>

  /** Makes a worker incarnation known and keeps its lease alive until released or the process is gone. */
  register(worker: WorkerId): Promise<Lease>
  /**
   * Takes a run's stream over with a newer epoch, which shuts the older writer out.
   * @throws RUN_OWNED while another live worker holds it, RUN_UNKNOWN for an empty stream, LEASE_EXPIRED for a dead claimant
   */
  claim(ref: StreamRef, worker: WorkerId): Promise<Claim>
  /**
   * Appends the first records of a run and claims it for a worker of this ledger, in one commit: whoever drives what it
   * begins needs no claim of its own. Undefined where the run is begun but not the worker's: its lease has passed, or the
   * same records stood there and somebody has claimed the run since. A ledger may leave this out.
   * @throws what `append` throws, and STORE_UNUSABLE while the store is being filled by a copy
   */
  begin?(first: StreamAppend, worker: WorkerId, options?: Pick<AppendOptions, 'blobs'>): Promise<Claim | undefined>
  /** Gives a claimed run back; nothing else changes. Ignored when the epoch is not the newest. */
  release(ref: StreamRef, epoch: Epoch): Promise<void>

  getBlob(tenant: string, hash: string): Promise<Uint8Array | undefined>
  putBlobs(tenant: string, blobs: readonly Blob[]): Promise<void>
  /** Tells whether a worker could still be executing something: alive and its lease not passed. */
  isAlive(worker: WorkerId): Promise<boolean>

  run(ref: StreamRef): Promise<RunRow | undefined>
  runs(filter: RunFilter): Promise<RunRow[]>
  approval(tenant: string, id: string): Promise<ApprovalRow | undefined>
  approvals(filter: {
    readonly tenant: string
    readonly status?: ApprovalRow['status']
    readonly run?: string
    readonly limit?: number
  }): Promise<ApprovalRow[]>
  /** Runs that are due at `now` and that no live worker holds, by priority (higher first), then due time. */
  ready(options: { readonly now: number; readonly limit: number; readonly tenant?: string }): Promise<ReadyRun[]>
  /** When the earliest run not yet due will be, if any. */
  nextDue(now: number): Promise<number | undefined>
  /** Records of other streams that name this one as a cause. */
  dependents(tenant: string, ref: RecordRef): Promise<RecordRef[]>
  guardOwner(tenant: string, key: string): Promise<string | undefined>

  /** A secret of the tenant, made at first use; keys fingerprints and idempotency keys. 32 bytes. */
  tenantKey(tenant: string): Promise<Uint8Array>
  /** All records after a position in commit order, then as they come. Ends when the iterator is returned or the ledger closes. */
  watch(
    tenant: string,
    after?: Position | 'now',
  ): AsyncIterable<{ readonly position: Position; readonly record: LedgerRecord }>
  /**
   * Called after a commit, here or in another process, that may concern others (posts, ready runs); with the streams that
   * it concerns where those are known, without when anything may have changed. Hints: they may come twice, or for nothing.
   * Returns the unsubscribe.
   */
  onChange(listener: ChangeListener): () => void
  /** What a ledger that can be moved offers (`convoke store copy`). */
  readonly transfer?: Transfer
  /** What a ledger that can hand out ended runs offers (`convoke store archive`). */
  readonly archive?: Archive
  close(): Promise<void>
}

export interface Ahead {
  readonly records: readonly LedgerRecord[]
  /** Rejects with LEDGER_CORRUPT when one of the records is not what was written. */
  readonly proved: Promise<void>
}

export type ChangeListener = (changed?: readonly StreamRef[]) => void

/** A store written out and filled, record by record: hashes, salts, epochs and times stay, so chains and checkpoints hold. */
export interface Transfer {
  tenants(): Promise<readonly string[]>
  /** How many runs live workers hold: what they write from now on is in no copy. */
  held(tenant?: string): Promise<number>
  /** Everything of all tenants, or of one, as it stands when it begins. @throws LEDGER_CORRUPT */
  export(tenant?: string): AsyncIterable<StoreItem>
  /**
   * Fills an empty store, or goes on with the same copy that was broken off. Until it is complete, no run of it can be
   * claimed (STORE_UNUSABLE). Who holds runs is not copied.
   * @throws STORE_UNUSABLE when it holds something else
   */
  import(items: AsyncIterable<StoreItem>): Promise<TransferCount>
}

/**
 * Ended runs out of a store, and back. Of an archived run stay its row, the heads of its streams, and every key, counter
 * and epoch; whoever reads it, claims it or appends to it is told so (RUN_ARCHIVED).
 */
export interface Archive {
  /** Ended runs that are not archived and last changed before `before` (milliseconds), the longest unchanged first. */
  ended(filter: {
    readonly tenant: string
    readonly before: number
    readonly after?: Pick<RunRow, 'run' | 'updatedAt'>
    /** 100 unless said. */
    readonly limit?: number
  }): Promise<RunRow[]>
  /** Its children and its forks. */
  relatives(ref: StreamRef): Promise<RunRow[]>
  /** Everything of these streams. @throws RUN_ARCHIVED, LEDGER_CORRUPT */
  export(tenant: string, streams: readonly string[]): AsyncIterable<ArchiveItem>
  /**
   * Takes the streams out, in one transaction; `at` is the time that is kept. The caller has them elsewhere, durable.
   * @throws POSITION_STALE when one does not end there, RUN_NEEDED when a run has not ended, is driven, or is the
   *   ancestor, parent or child of one that is neither archived nor among them; RUN_ARCHIVED, RUN_UNKNOWN
   */
  drop(tenant: string, streams: readonly StreamHead[], at: number): Promise<void>
  /** Puts the streams back as they were. @throws ARCHIVE_INVALID */
  restore(tenant: string, streams: readonly string[], items: AsyncIterable<ArchiveItem>): Promise<ArchiveCount>
  /**
   * Removes the content that only archived records refer to. What was taken out less than `quietMs` ago is left for
   * next time: somebody may be about to refer to the same bytes.
   */
  sweep(quietMs: number): Promise<{ readonly blobs: number; readonly bytes: number }>
}
