import type { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { Ledger, Lease, StreamRef } from '../ports/ledger.ts'
import type { Probe } from '../ports/probe.ts'
import type { Clock, Ids, Live } from '../ports/runtime.ts'
import type { Begun } from './begun.ts'
import type { History } from './history.ts'
import type { Extension } from './run.ts'
import type { Entry } from './types.ts'
import type { AnyWorkflow } from './workflow.ts'

/** What driving runs needs of the process. */
export interface Runtime {
  readonly ledger: Ledger
  readonly lease: Lease
  readonly clock: Clock
  readonly ids: Ids
  readonly live?: Live | undefined
  readonly probe?: Probe | undefined
  /** Runs that were begun here and that nobody has driven yet. */
  readonly begun?: Begun | undefined
  readonly redact: (value: Json) => Json
  readonly workflows: ReadonlyMap<string, AnyWorkflow>
  /** Methods that higher rooms add to every run object, made for one driven run. */
  readonly extend: (driven: Driven) => readonly Extension[]
  /** Watches over a run while it is driven here: `stop` fails it at once. Returns how to end the watch. */
  readonly supervise?: (run: StreamRef, stop: (error: ConvokeError) => void) => Promise<() => void>
  /** Told the last record of a run that has ended here, once it is on disk. */
  readonly onEnded?: (run: StreamRef, last: Entry) => void
  /** Told of runs that ended this incarnation with an error that is not in their stream. */
  readonly onTrouble?: (run: StreamRef, error: ConvokeError) => void
}

/** What higher rooms may know of the run they are extended into. */
export interface Driven {
  readonly runtime: Runtime
  readonly tenant: string
  readonly run: string
  readonly keyed: (text: string) => string
  readonly history: History
}
