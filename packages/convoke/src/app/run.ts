import type { DurableRun } from '../replay/durable-run.ts'

/** What workflow code sees: the durable run, what the gateway adds (`call`, `decide`), and what agents add (`ask`, `verify`). */
export interface Run extends DurableRun {
  readonly id: string
}
