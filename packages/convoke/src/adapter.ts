// For authors of adapters: what a ledger, a dispatcher or a transport of another package is made of. The pure functions
// decide what records mean, so that all ledgers mean the same.
export {
  archiveItems,
  blobsOf,
  restoreItems,
  runArchived,
  runNeeded,
  withTheirRuns,
  type ArchiveBatch,
  type ArchiveCount,
  type ArchiveItem,
  type StreamHead,
} from './core/archive.ts'
export { canonicalize, deepFreeze } from './core/canonical.ts'
export { ConvokeError, fromErrorData, isConvokeError, toErrorData, type ErrorData } from './core/errors.ts'
export { sha256 } from './core/hash.ts'
export type { Json, JsonObject } from './core/json.ts'
export {
  inboxStream,
  isEnded,
  project,
  projectionVersion,
  runIdOf,
  runStream,
  type ApprovalRow,
  type Change,
  type RunRow,
  type RunStatus,
} from './core/projections.ts'
export {
  bodyOf,
  emptyHash,
  emptyHead,
  faultOf,
  headerText,
  parseRef,
  refOf,
  seal,
  type Blob,
  type Cause,
  type Head,
  type LedgerRecord,
  type RecordRef,
} from './core/record.ts'
export {
  exportItems,
  halfCopied,
  importItems,
  notEmpty,
  type StoreItem,
  type TransferBatch,
  type TransferBlob,
  type TransferCount,
  type TransferRow,
  type TransferSource,
  type TransferTable,
  type TransferTarget,
} from './core/transfer.ts'
export { createHolds, type Backoff, type Holds } from './dispatch/holds.ts'
export { createLooks, type Looks, type LooksOptions } from './dispatch/looks.ts'
export { isProjected } from './ledger-sqlite/projections.ts'
export { causesText, outsideLabels, parseCauses, parseShape, shapeText, type Shape } from './ledger-sqlite/wire.ts'
export type { Dispatcher } from './ports/dispatcher.ts'
export type {
  AppendOptions,
  Archive,
  ChangeListener,
  Claim,
  Guard,
  InboxMessage,
  Ledger,
  Lease,
  Position,
  Posted,
  ReadyRun,
  RunFilter,
  StreamAppend,
  StreamRef,
  Transfer,
} from './ports/ledger.ts'
export type { Clock, Ids } from './ports/runtime.ts'
export { lazyNetwork } from './net/lazy.ts'
export type { Network, NetworkRules } from './ports/network.ts'
export type { Secrets } from './ports/secrets.ts'
export type { ToolCall, ToolTransport } from './ports/tool-transport.ts'
