import type { ErrorData } from '../core/errors.ts'
import type { Head, RecordRef } from '../core/record.ts'
import type { ApprovalRow, RunRow } from '../core/projections.ts'
import type { StreamHead } from '../core/archive.ts'
import type { TransferBlob, TransferRow, TransferTable } from '../core/transfer.ts'
import type { Posted, ReadyRun, RunFilter } from '../ports/ledger.ts'

// What crosses between the client and the worker thread. Structured cloning is paid per value, so a record travels as
// a flat array of strings and numbers, and a page of records comes back as one text.

/** A sealed record as the store wants it; `shape` is what few records differ in (see wire.ts). */
export type WireRecord = readonly [
  seq: number,
  epoch: number,
  at: number,
  shape: string,
  path: string | null,
  fold: string | null,
  causes: string | null,
  /** Causes in other streams, as a JSON array. */
  foreign: string | null,
  blobs: string | null,
  spill: string | null,
  salt: string,
  commitment: string,
  prevHash: string,
  hash: string,
  payload: string,
]

export interface WireAppend {
  readonly tenant: string
  readonly stream: string
  readonly epoch: number
  readonly records: readonly WireRecord[]
}

export interface WireBlob {
  readonly hash: string
  readonly bytes: Uint8Array
  readonly mediaType: string
}

/** A message before the ledger gives it its place. The texts are canonical JSON. */
export interface WirePost {
  readonly tenant: string
  readonly stream: string
  readonly id: string
  readonly type: string
  readonly at: number
  readonly actor: string
  readonly causes: string
  readonly labels: string
  readonly payload: string
  readonly salt: string
}

export type WireGuard =
  | { readonly kind: 'unique'; readonly tenant: string; readonly key: string; readonly owner: string }
  | {
      readonly kind: 'counter'
      readonly tenant: string
      readonly counter: string
      readonly key: string
      readonly add: number
      readonly max: number
    }
  | { readonly kind: 'inbox'; readonly tenant: string; readonly stream: string; readonly seq: number }

export interface WireExtras {
  readonly blobs: readonly WireBlob[]
  readonly guards: readonly WireGuard[]
  readonly posts: readonly WirePost[]
}

/** Records of one or many streams as JSON texts (see wire.ts), and the shapes they have. */
export interface Page {
  /** JSON, each an array of rows. */
  readonly texts: readonly string[]
  readonly count: number
  readonly shapes: readonly (readonly [id: number, text: string])[]
  /** Where to go on; undefined at the end. */
  readonly next?: number
  /** Read ahead, and proved nevertheless. */
  readonly proved?: boolean
}

export interface WireBatch {
  readonly tenant: string
  readonly blobs: readonly TransferBlob[]
  readonly records: readonly (readonly [stream: string, record: WireRecord])[]
  readonly rows: Readonly<Record<TransferTable, readonly TransferRow[]>>
}

/** Of archived runs that come back. */
export interface WireArchive {
  readonly tenant: string
  readonly blobs: readonly TransferBlob[]
  readonly records: readonly (readonly [stream: string, position: number, record: WireRecord])[]
  readonly messages: readonly (readonly [stream: string, id: string, seq: number])[]
}

export interface Calls {
  append: { args: readonly [readonly WireAppend[], WireExtras | null]; result: undefined }
  /** Gives the epoch that the worker has claimed, if it has. */
  begin: { args: readonly [WireAppend, WireExtras | null, worker: string]; result: number | undefined }
  post: { args: readonly [WirePost]; result: Posted }
  putBlobs: { args: readonly [string, readonly WireBlob[]]; result: undefined }
  register: { args: readonly [worker: string, slot: BigInt64Array, since: number, pid: number]; result: undefined }
  unregister: { args: readonly [worker: string]; result: undefined }
  beat: { args: readonly []; result: undefined }
  claim: { args: readonly [string, string, worker: string]; result: Head & { readonly epoch: number } }
  release: { args: readonly [string, string, epoch: number]; result: undefined }
  isAlive: { args: readonly [worker: string]; result: boolean }
  tenantKey: { args: readonly [string]; result: Uint8Array }
  importBegin: { args: readonly [tenant: string, key: Uint8Array]; result: boolean }
  importBatch: { args: readonly [WireBatch]; result: undefined }
  importEnd: { args: readonly [tenant: string]; result: undefined }
  importFinish: { args: readonly []; result: undefined }
  archiveDrop: { args: readonly [tenant: string, streams: readonly StreamHead[], at: number]; result: undefined }
  archiveWrite: { args: readonly [WireArchive]; result: undefined }
  archiveEnd: { args: readonly [tenant: string, streams: readonly string[]]; result: undefined }
  archiveSweep: {
    args: readonly [orphans: readonly number[], needed: readonly number[], scanned: number]
    result: { readonly blobs: number; readonly bytes: number }
  }

  read: {
    args: readonly [tenant: string, stream: string, from: number, limit: number, outline: boolean]
    result: Page
  }
  readAhead: {
    args: readonly [reader: number, tenant: string, stream: string, from: number, limit: number, outline: boolean]
    result: Page
  }
  /** Ends when all is proved that the reader was given. */
  prove: { args: readonly [reader: number]; result: undefined }
  since: { args: readonly [tenant: string, after: number, limit: number]; result: Page & { readonly next: number } }
  position: { args: readonly []; result: number }
  head: { args: readonly [string, string]; result: Head }
  heads: { args: readonly [string, after: string, limit: number]; result: (Head & { readonly stream: string })[] }
  getBlob: { args: readonly [string, string]; result: Uint8Array | undefined }
  run: { args: readonly [string, string]; result: RunRow | undefined }
  runs: { args: readonly [RunFilter]; result: RunRow[] }
  approval: { args: readonly [string, string]; result: ApprovalRow | undefined }
  approvals: {
    args: readonly [tenant: string, status: string | null, run: string | null, limit: number]
    result: ApprovalRow[]
  }
  ready: { args: readonly [now: number, limit: number, tenant: string | null]; result: ReadyRun[] }
  nextDue: { args: readonly [number]; result: number | undefined }
  dependents: { args: readonly [string, RecordRef]; result: RecordRef[] }
  guardOwner: { args: readonly [string, string]; result: string | undefined }

  tenants: { args: readonly []; result: readonly string[] }
  held: { args: readonly [tenant: string | null]; result: number }
  allBlobs: {
    args: readonly [tenant: string, after: number]
    result: { readonly found: readonly TransferBlob[]; readonly next?: number }
  }
  allRows: {
    args: readonly [table: TransferTable, tenant: string, after: TransferRow | null, limit: number]
    result: readonly TransferRow[]
  }

  archivedAt: { args: readonly [tenant: string, stream: string]; result: Head | undefined }
  endedRuns: {
    args: readonly [tenant: string, before: number, after: Pick<RunRow, 'run' | 'updatedAt'> | null, limit: number]
    result: RunRow[]
  }
  relatives: { args: readonly [tenant: string, run: string]; result: RunRow[] }
  blobOf: { args: readonly [tenant: string, hash: string]; result: TransferBlob | undefined }
  messagesOf: { args: readonly [tenant: string, stream: string]; result: readonly (readonly [string, number])[] }
  orphans: { args: readonly [quietMs: number]; result: readonly number[] }
  /** Which of these blobs records refer to that stand after one position and up to another. */
  referred: { args: readonly [orphans: readonly number[], after: number, upTo: number]; result: readonly number[] }

  /** Which changes the client wants to hear of. */
  interest: { args: readonly [changes: boolean, records: boolean]; result: undefined }
}

export type Kind = keyof Calls
export type WriteKind =
  | 'append'
  | 'begin'
  | 'post'
  | 'putBlobs'
  | 'register'
  | 'unregister'
  | 'beat'
  | 'claim'
  | 'release'
  | 'isAlive'
  | 'tenantKey'
  | 'importBegin'
  | 'importBatch'
  | 'importEnd'
  | 'importFinish'
  | 'archiveDrop'
  | 'archiveWrite'
  | 'archiveEnd'
  | 'archiveSweep'
export type ReadKind = Exclude<Kind, WriteKind | 'interest'>

export type Request = { [K in Kind]: readonly [id: number, kind: K, args: Calls[K]['args']] }[Kind]
export type ToWorker =
  | { readonly calls: readonly Request[] }
  /** A worker that was registered in the caller's thread, to be kept alive from now on. */
  | { readonly adopt: readonly [worker: string, slot: BigInt64Array] }
  | { readonly close: true }

/** Whom a commit may concern: nobody, those interested in these streams, or everybody. */
export type Told = false | readonly (readonly [tenant: string, stream: string])[] | true

export interface ToClient {
  /** Calls that succeeded without a result. */
  readonly done?: readonly number[]
  readonly results?: readonly (readonly [id: number, value: unknown])[]
  readonly errors?: readonly (readonly [id: number, error: ErrorData])[]
  /** Something was committed that concerns others (see Ledger.onChange). */
  readonly changed?: Exclude<Told, false>
  /** Records were committed. */
  readonly grown?: boolean
  readonly opened?: true
  readonly failed?: ErrorData
  /** A worker that was registered in the caller's thread is gone from the store: its lock may go. */
  readonly freed?: string
  /** A point was reached; the worker waits on `probe` until the client has answered. */
  readonly probe?: string
}

export interface WorkerOptions {
  readonly dir: string
  readonly durability: 'full' | 'process-crash-only'
  readonly leaseMs: number
  readonly busyMs: number
  readonly rebuild?: boolean
  readonly crashAt?: CrashAt
  /** How often the crash point was reached, wherever the ledger was then. */
  readonly reached?: Int32Array
  /** Set when the thread is to end: one that sees it before it has opened the store does not, and waits for nobody. */
  readonly unwanted?: Int32Array
  /** Set while the client answers a probe. */
  readonly probe?: Int32Array
}

/** Where a test may look at, wait for or kill the ledger. */
export type Point = 'commit.before' | 'commit.after'

/** Kills the process (SIGKILL) from within the ledger the n-th time a point is reached; for crash tests. */
export interface CrashAt {
  readonly point: Point
  /** 1 for the first time. */
  readonly occurrence: number
}
