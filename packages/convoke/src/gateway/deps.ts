import type { ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { Actor, RecordRef } from '../core/record.ts'
import type { Ledger, Lease } from '../ports/ledger.ts'
import type { Probe } from '../ports/probe.ts'
import type { Network, NetworkRules } from '../ports/network.ts'
import type { Clock } from '../ports/runtime.ts'
import type { EngineHandle } from '../replay/scope.ts'
import type { Spend } from './guard-run.ts'
import type { Guardrail } from './guardrail.ts'
import type { GrantSet } from '../grants/grant.ts'
import type { Halts } from '../policy/halts.ts'
import type { Policy } from '../policy/policy.ts'
import type { TrustBook } from '../policy/trust.ts'
import type { Secrets } from './secrets.ts'
import type { AnyTool } from './tool.ts'

/** What an ancestor of a fork already sent (R9). */
export interface AncestorDispatch {
  readonly ref: RecordRef
  readonly run: string
  /** All ancestors that sent it, this one included. */
  readonly runs: readonly string[]
  /** As recorded: the action, or a reference to the blob that holds it. */
  readonly action: Json
  /** Milliseconds since the epoch. */
  readonly at: number
  /** What came back, when something did. */
  readonly result?: { readonly value: Json | undefined }
  readonly error?: ErrorData
}

export interface AncestorQuery {
  readonly path: string
  readonly tool: string
  readonly businessKey: string | undefined
  readonly actionHash: string
}

/** What the gateway works with, for one driven run. */
export interface GatewayDeps {
  readonly ledger: Ledger
  readonly lease: Lease
  readonly clock: Clock
  /** Keyed hash of the tenant. */
  readonly keyed: (text: string) => string
  readonly probe?: Probe | undefined
  readonly secrets?: Secrets | undefined
  /** What tools' requests go through; without it there are none. */
  readonly network?: Network | undefined
  /** For tools that say nothing themselves. */
  readonly networkRules?: NetworkRules | undefined
  readonly policy?: Policy | undefined
  /** Where the app runs, as policies name it. */
  readonly environment?: string | undefined
  /** Who started the run: whoever that is may be kept from approving what it does. */
  readonly starter?: Actor | undefined
  /** Texts of the run's trusted input, for arguments that have to be named in it. */
  readonly request?: readonly string[] | undefined
  /** What the run was bound to when it was started, and what its parents were. */
  readonly bounds?: readonly GrantSet[] | undefined
  /** Who was ordered to stop. */
  readonly halts?: Halts | undefined
  /** Which categories have earned trust. */
  readonly trust?: TrustBook | undefined
  readonly guardrails?: readonly Guardrail[] | undefined
  /** What guardrails that ask models may spend in a run, unless the caller says; asks do. */
  readonly spend?: ((engine: EngineHandle) => Spend) | undefined
  /** For forks only: what becomes of effects that an ancestor already made. */
  readonly effects?: 'hold' | 'dry' | 'live' | undefined
  readonly ancestorDispatch?:
    ((query: AncestorQuery) => AncestorDispatch | undefined | Promise<AncestorDispatch | undefined>) | undefined
}

/** On whose behalf a call is made. */
export interface Caller {
  /** The run's orchestrator unless said. */
  readonly actor?: Actor
  readonly role?: string
  /** Names of the tools within reach, with `*`; all of them unless said. */
  readonly tools?: readonly string[]
  /** Of the role itself. */
  readonly grants?: GrantSet | undefined
  /** What those on whose behalf the call is made are bound to: all of them hold. */
  readonly bounds?: readonly GrantSet[] | undefined
  /** Whose budget pays for models that judge the call. */
  readonly spend?: Spend | undefined
}

export interface CallOptions {
  /** Name of the step; the tool's unless said. */
  readonly name?: string
  /** Unique per tenant and tool across runs: no two calls with effect share it (R4). */
  readonly businessKey?: string
  /** Category under which a person must approve the call. */
  readonly approval?: string
  /** What a person reads first; the tool and the business key unless said. */
  readonly title?: string
  readonly from?: readonly unknown[]
  /**
   * `data`: the call depends on its arguments and `from` only, whoever writes this says; its labels are theirs, and not
   * those of everything that the scope has seen. For code, never for models.
   */
  readonly flow?: 'data'
  readonly timeoutMs?: number
}

/** One call on its way through the gateway. */
export interface Call {
  readonly deps: GatewayDeps
  readonly caller: Caller
  readonly tool: AnyTool
  /** A frozen copy, taken when the call was made. */
  readonly input: Json
  readonly options: CallOptions
  readonly timeoutMs: number
}
