import { isConvokeError } from '../core/errors.ts'
import type { StreamRef } from '../ports/ledger.ts'
import type { Runtime } from './runtime.ts'

/**
 * The store that failed may fail again, and a run that stays with a live worker is nobody's work: so until it has come
 * back, or the lease is over. Nothing happens to a run that was lost or never had (epoch 0). Never rejects.
 */
export async function giveBack(
  { ledger, lease, clock }: Pick<Runtime, 'ledger' | 'lease' | 'clock'>,
  ref: StreamRef,
  epoch: number,
  signal: AbortSignal,
): Promise<void> {
  for (let pause = 50; epoch > 0 && lease.remaining() > 0; pause = Math.min(2_000, pause * 2)) {
    const failed = await ledger.release(ref, epoch).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (failed === undefined || isConvokeError(failed, 'LEDGER_CLOSED') || signal.aborted) return
    await clock.sleep(pause, signal).catch(() => undefined)
  }
}
