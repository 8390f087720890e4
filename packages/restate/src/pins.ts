import type { Ledger, StreamRef } from 'convoke/adapter'
import type { Pin } from './names.ts'

/** Runs whose pins are kept at hand; each is a few hundred bytes. */
const kept = 10_000

/**
 * What runs are pinned to, from their first records. Owns a bounded memory of it: a pin never changes, and a run that
 * newer code adopted is remembered by whoever adopted it.
 */
export interface Pins {
  of(run: StreamRef): Promise<Pin | undefined>
  /** From now on the run is this process's, whatever it was pinned to. */
  adopted(run: StreamRef, pin: Pin): void
}

export function createPins(ledger: Ledger): Pins {
  const known = new Map<string, Pin>()
  const keyOf = (run: StreamRef): string => `${run.tenant}\n${run.stream}`

  function keep(run: StreamRef, pin: Pin): Pin {
    const oldest = known.size >= kept ? known.keys().next().value : undefined
    if (oldest !== undefined) known.delete(oldest)
    known.set(keyOf(run), pin)
    return pin
  }

  return {
    async of(run) {
      const pin = known.get(keyOf(run))
      if (pin !== undefined) return pin
      const [started] = await ledger.read(run, { from: 1, limit: 1 })
      if (started === undefined) return undefined
      const { workflow, version, digest } = started.payload as Record<'workflow' | 'version' | 'digest', string>
      return keep(run, { name: workflow, version, digest })
    },
    adopted: (run, pin) => void keep(run, pin),
  }
}
