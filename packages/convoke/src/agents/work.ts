import type { Denied } from '../contracts/outcome.ts'
import type { AnyRole } from '../contracts/role.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { RecordRef } from '../core/record.ts'
import type { GatewayDeps } from '../gateway/deps.ts'
import type { Grant, GrantSet } from '../grants/grant.ts'
import type { AnyTool } from '../gateway/tool.ts'
import type { Ledger } from '../ports/ledger.ts'
import type { Model } from '../ports/model.ts'
import type { Probe } from '../ports/probe.ts'
import type { Clock } from '../ports/runtime.ts'
import type { DurableRun } from '../replay/durable-run.ts'
import type { EngineHandle, Scope } from '../replay/scope.ts'
import type { Operation, Task } from '../replay/types.ts'
import type { SessionState } from './conversation.ts'
import type { EvidenceBook } from './evidence-book.ts'
import type { Agent } from './define.ts'
import type { Meter } from '../costs/totals.ts'
import type { Budget } from './meter.ts'
import type { Requester, TaskTerms } from './records.ts'
import type { AgentRegistry } from './registry.ts'

/** What this room needs of the app. */
export interface AgentRoom {
  readonly registry: AgentRegistry
  /** Roles by name, for models that ask by tool and for planners. */
  readonly roles: ReadonlyMap<string, AnyRole>
  /** @throws MODEL_UNKNOWN */
  readonly models: (model: string | Model | undefined) => Model
  readonly tools: ReadonlyMap<string, AnyTool>
  /** For every ask that does not say its own. */
  readonly budget?: { readonly run?: Budget; readonly ask?: Budget } | undefined
}

/** The room within one driven run. */
export interface AgentDeps extends AgentRoom {
  readonly ledger: Pick<Ledger, 'read' | 'getBlob'>
  readonly clock: Clock
  readonly probe?: Probe | undefined
  readonly redact: (value: Json) => Json
  readonly keyed: (text: string) => string
  /** The run object of a scope. */
  readonly runOf: (scope: Scope) => DurableRun
  readonly gateway: GatewayDeps
  /** A fork's `--use`: agents by role. */
  readonly use: Readonly<Record<string, string>>
}

export interface AskOptions extends TaskTerms {
  /** Another agent of the role than the one bound first: its name, or `name@version`. */
  readonly agent?: string
  readonly budget?: Budget
  /** Names the step; the role's name unless said. */
  readonly name?: string
  /** What it builds on besides its input. */
  readonly from?: readonly unknown[]
  /** Narrows what may be done in this task, and in every task that it leads to; it can give nothing. */
  readonly grants?: readonly Grant[]
  /**
   * `data`: the task depends on its input and `from` only, whoever writes this says; it begins with their labels, and not
   * with those of everything that the scope has seen. For code, never for models.
   */
  readonly flow?: 'data'
}

/** One ask while it is worked on. Owned by `ask.ts`; lives as long as the ask's scope. */
export interface AskWork {
  readonly deps: AgentDeps
  readonly scope: Scope
  readonly engine: EngineHandle
  readonly role: AnyRole
  readonly agent: Agent
  readonly input: unknown
  /** The record of the request. */
  readonly requested: { readonly record: RecordRef }
  readonly terms: TaskTerms
  readonly session: SessionState | undefined
  /** What the ask is bound to besides its role's own grants: all of them hold, also for what it asks. */
  readonly bounds: readonly GrantSet[]
  readonly evidence: EvidenceBook
  readonly meter: Meter
  /** Calls that the agent tried and may not make: part of its outcome. Filled by `claim`. */
  readonly denied: Denied[]
  /** Asks around this one. */
  readonly depth: number
  readonly self: Requester
  claim<T>(operation: Operation): Promise<T>
  /** The operation of an ask on behalf of this agent. @throws ASK_NOT_ALLOWED */
  nested(role: AnyRole, input: unknown, options: AskOptions): Operation
  /** Waits while the role is ordered to stop. @throws RUN_HALTED when the run is */
  standStill(task: Task): Promise<void>
  /** @throws BUDGET_EXCEEDED */
  assertBudget(): void
  /** Counts what a model call used, here and in all asks around. */
  used(usage: JsonObject | undefined): void
}
