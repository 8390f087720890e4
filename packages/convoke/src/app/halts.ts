import type { ConvokeError } from '../core/errors.ts'
import { runIdOf } from '../core/projections.ts'
import type { Ledger, StreamRef } from '../ports/ledger.ts'
import { haltBoard, halted, type Halts } from '../policy/halts.ts'
import type { Runtime } from '../replay/runtime.ts'

const boards = new WeakMap<Ledger, Map<string, Halts>>()

/** One board for each ledger and tenant: every run that is driven here shares what is known of the orders. */
export function haltsOf({ ledger, clock }: Pick<Runtime, 'ledger' | 'clock'>, tenant: string): Halts {
  const known = boards.get(ledger) ?? new Map<string, Halts>()
  boards.set(ledger, known)
  const board = known.get(tenant) ?? haltBoard(ledger, tenant, clock)
  known.set(tenant, board)
  return board
}

/** Whoever was ordered to stop does not begin. */
export async function supervise(
  of: Pick<Runtime, 'ledger' | 'clock'>,
  ref: StreamRef,
  stop: (error: ConvokeError) => void,
): Promise<() => void> {
  const run = runIdOf(ref.stream)
  const halts = haltsOf(of, ref.tenant)
  const off = halts.watch(run, stop)
  const halt = await halts.current(run)
  if (halt !== undefined) stop(halted(run, halt))
  return off
}
