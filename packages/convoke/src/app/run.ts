import type { AgentRun, VerifiedAttempt } from '../agents/agent-run.ts'
import type { GatewayRun } from '../gateway/extend.ts'
import type { DurableRun } from '../replay/durable-run.ts'

/**
 * What workflow code sees: the durable run, what the gateway adds (`call`, `decide`, `approve`), and what agents add
 * (`ask`, `verify`).
 */
export interface Run extends DurableRun, GatewayRun, AgentRun {
  /** As of the durable run; `verify` takes a role or a person as well as code. */
  attempt<T>(
    name: string,
    alternatives: Readonly<Record<string, (run: this) => Promise<T>>>,
    options?: VerifiedAttempt<this, T>,
  ): Promise<T>
}
