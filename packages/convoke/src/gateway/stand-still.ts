import type { ConvokeError } from '../core/errors.ts'
import { halted, type Halts } from '../policy/halts.ts'
import type { Task } from '../replay/types.ts'

/** Whoever lifts an order wakes who waits for it; a run that was not found looks again by itself, ever more seldom. */
const [firstLookMs, lastLookMs] = [60_000, 3_600_000]
/** More orders than any call outlives. */
const maxOrders = 10_000

/**
 * Stop means stop. An order about a run or about everything stops the run, also with what is already approved. One about
 * a role keeps what that role does waiting: the run may park, its other branches go on, and when the order is lifted the
 * call goes on where it was. In a scope that was given up nobody waits; nothing is begun there anyway.
 * @throws RUN_HALTED
 */
export async function standStill(halts: Halts | undefined, task: Task, role: string | undefined): Promise<void> {
  for (let i = 0; i < maxOrders; i++) {
    const halt = await halts?.current(task.run, role)
    if (halt === undefined) return
    if (!('role' in halt.target)) {
      const error = halted(task.run, halt)
      task.scope.engine.stop(error)
      throw error
    }
    if (task.scope.dead) return
    const noted = task.history.filter((e) => e.record.type === 'role.halted').length
    if (!task.history.some((e) => e.record.type === 'role.halted' && e.payload['halt'] === halt.id)) {
      const { id, by, reason } = halt
      task.append('role.halted', { halt: id, role: halt.target.role, by, ...(reason === undefined ? {} : { reason }) })
    }
    const until = task.now() + Math.min(lastLookMs, firstLookMs * 2 ** Math.min(i + noted, 10))
    await task.durable()
    await task.message(`run.halt:${halt.id}`, { kind: 'breaker', until }).catch((error: unknown) => {
      if (!task.scope.dead) throw error as ConvokeError
    })
  }
}
