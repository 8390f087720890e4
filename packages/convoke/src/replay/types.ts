import type { ErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Labels } from '../core/labels.ts'
import type { Actor, Blob, Cause, LedgerRecord, RecordRef } from '../core/record.ts'
import type { ParkKind } from '../core/projections.ts'
import type { InboxMessage } from '../ports/ledger.ts'
import type { Scope } from './scope.ts'

/** A record with its payload at hand, also where the ledger spilled it to a blob. */
export interface Entry {
  readonly record: LedgerRecord
  readonly payload: JsonObject
}

/** Anything a step read besides its arguments, for reuse in forks (R9). */
export interface Read {
  readonly kind: string
  readonly key: string
  /** Version or hash at the time of reading. */
  readonly at: string
}

/** How an operation ended. `value` and `error` exclude each other; a missing value is `undefined`. */
export interface Completion {
  readonly value?: unknown
  readonly error?: ErrorData
  readonly usage?: JsonObject
  readonly reads?: readonly Read[]
  readonly causes?: readonly Cause[]
  /** Joined with the labels of the causes. */
  readonly labels?: Labels
  /** Replaces the join: only for a declassifying or endorsing record. */
  readonly labelsInstead?: Labels
  readonly blobs?: readonly Blob[]
  /** More fields for the record's payload. */
  readonly extra?: JsonObject
}

export interface AppendMore {
  readonly causes?: readonly Cause[]
  readonly actor?: Actor
  readonly labels?: Labels
  readonly blobs?: readonly Blob[]
  readonly critical?: boolean
}

/** What an operation's executor sees while it runs, live only. */
export interface Task {
  readonly tenant: string
  readonly run: string
  readonly path: string
  /** Keyed hash of operation and canonical arguments (R3). */
  readonly fingerprint: string
  /** Records this path already has, from before a crash: intents, approvals, retries. */
  readonly history: readonly Entry[]
  /** Aborts when the scope is given up, the run is cancelled or the process stops driving it. */
  readonly signal: AbortSignal
  /** The same for whoever only listens: tells of it once, also when it has happened; returns how to stop listening. */
  onAbort(listener: (reason: Error) => void): () => void
  /** Causes and labels the operation starts with. */
  readonly causes: readonly Cause[]
  readonly labels: Labels
  readonly scope: Scope
  /** Appends a record at this path that does not end the operation. Not durable until `durable()` resolves. */
  append(type: string, payload: JsonObject, more?: AppendMore): Entry
  /** Resolves once everything enqueued so far is on disk; rejects when this incarnation has lost the run. */
  durable(): Promise<void>
  /** Resolves once no more than a few records wait to be written: for what need not wait until they are. */
  keepUp(): Promise<void>
  /** Waits for a message; the run may park meanwhile. A message comes only once per topic and id. */
  message(topic: string, wait: { readonly kind: ParkKind; readonly until?: number }): Promise<Message | undefined>
  /** Waits until a time; the run may park meanwhile. */
  until(time: number): Promise<void>
  /** Milliseconds since the epoch. */
  now(): number
}

/** A message as it was copied from the inbox into the run. */
export interface Message {
  readonly ref: RecordRef
  readonly inboxSeq: number
  readonly message: InboxMessage
  readonly labels: Labels
}

/**
 * One journaled unit of work, as rooms above replay define it. Exactly one of `immediate`, `execute` and `orchestrate`
 * is given: an immediate one is done by the record itself; `execute` does work outside and runs at most once per
 * record; `orchestrate` is code that claims steps in its own scope, and so runs on replay as well until it has finished.
 */
export interface Operation {
  readonly kind: string
  readonly name: string
  /** Explicit path instead of one from `name` (compensations). */
  readonly path?: string
  /** What it does, such as the tool's or role's name, and its version; both are in the fingerprint. */
  readonly target?: string
  readonly version?: string
  readonly input?: unknown
  /** The canonical text of `input`, where it is at hand. */
  readonly inputText?: string
  /** Whether `input` says everything the operation depends on; only such steps are reused after a fork's point. */
  readonly declared?: boolean
  /** What else shapes the result (contract, model, prompt, policy), hashed for reuse (R9). */
  readonly environment?: Json
  readonly from?: readonly unknown[]
  /** Labels of what it builds on that no cause brings along, such as an earlier conversation. */
  readonly labels?: Labels
  /**
   * `data`: whoever wrote the code says that it depends on its arguments and `from` only, not on what else the scope has
   * seen. Its labels are theirs, and an operation that orchestrates begins with those alone. `whole`: the same, but only
   * where the first of `from` is a recorded value as it was delivered, so that nothing else can stand in it.
   */
  readonly flow?: 'data' | 'whole'
  readonly causes?: readonly Cause[]
  readonly actor?: Actor
  /** Finished, its inner records need not be loaded. */
  readonly fold?: boolean
  /** Type of the record that ends it, instead of `step.completed`; only for immediate operations. */
  readonly record?: string
  /** Always ends with a record of its own, even when its scope is given up: it may have acted outside. */
  readonly effect?: boolean
  /** Only computes: nobody waits for its record, which is sent as soon as the ledger has nothing else of the run. */
  readonly pure?: boolean
  readonly immediate?: (task: ImmediateTask) => Completion
  readonly execute?: (task: Task) => Promise<Completion>
  readonly orchestrate?: (scope: Scope, task: Task) => Promise<Completion>
  /** The operation that takes it back when its scope rolls back. */
  readonly undo?: (value: unknown) => Operation | undefined
  /** Runs when the result is delivered, live and on replay alike, before workflow code sees it. */
  readonly applied?: (entry: Entry) => void
  /** Makes what the caller sees from the stored value. */
  readonly present?: (value: unknown, entry: Entry) => unknown
}

export interface ImmediateTask {
  readonly path: string
  readonly now: number
}

/** Whether a record ends its path: only those carry the fingerprint under this name. */
export function isTerminal(entry: Entry): boolean {
  return entry.record.path !== undefined && typeof entry.payload['fp'] === 'string'
}
