import { isConvokeError } from '../core/errors.ts'
import type { Draft } from '../core/record.ts'
import type { Engine } from './engine.ts'
import type { Inbox } from './inbox.ts'
import { rest } from './rest.ts'
import type { Sequencer } from './sequencer.ts'

/** Waits, at most so long, until what has acted outside has ended and is written down; nothing is begun any more. */
export async function settleActing(engine: Engine, clock: { monotonic(): number }, ms: number): Promise<void> {
  const until = clock.monotonic() + ms
  while (clock.monotonic() < until) {
    while (engine.liveNext(false) !== 'nothing') await rest()
    const acting = [...engine.claims.values()].some(
      (c) =>
        c.operation.effect === true &&
        c.state === 'started' &&
        c.waits.length === 0 &&
        c.history.some((e) => e.record.type === 'tool.dispatched'),
    )
    if (!acting) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/**
 * Writes that an order has stopped the run. Not when the order was lifted in the meantime: whoever lifted it may have
 * looked before the record was there, and would wake nobody. False then: the run is ready, and is begun again.
 */
export async function stopByOrder(sequencer: Sequencer, inbox: Inbox, order: unknown, draft: Draft): Promise<boolean> {
  for (;;) {
    const { messages, end } = await inbox.pending()
    const lifted = messages.some(({ type, payload }) => {
      const p = payload as { readonly id?: unknown; readonly lifted?: unknown } | null
      return type === 'run.halt' && p?.lifted === true && p.id === order
    })
    if (lifted) return false
    try {
      await sequencer.guarded(draft, [{ kind: 'inbox', ref: inbox.ref, seq: end }])
      return true
    } catch (error) {
      if (!isConvokeError(error, 'INBOX_ADVANCED')) throw error
    }
  }
}
