import type { Clock, ReadyRun, StreamRef } from 'convoke/adapter'
import type { Engine } from './engine.ts'
import { objectKey } from './names.ts'

export interface Sent {
  /** The due time of the run that it was about. */
  readonly due: number
  /** When it was or will be delivered at the earliest, and when it was sent last, on the monotonic clock. */
  readonly first: number
  readonly last: number
  /** The engine did not take it: nobody will call. */
  readonly refused: boolean
}

/** What this process has told the engine. Owns the memory of it, for as long as the runs are ready. */
export interface Handover {
  /**
   * One message for one due time, delivered when it comes; `round` makes another of it. Resolves to what is known of it.
   * Never rejects: a message that was not taken is remembered as refused.
   */
  hand(run: Pick<ReadyRun, 'ref' | 'due'>, service: string, round?: number): Promise<Sent>
  /** The run was lost: another try, with so many losses before it, after `delay` milliseconds. */
  retry(run: StreamRef, service: string, losses: number, delay: number): Promise<void>
  sent(key: string): Sent | undefined
  forget(which: (key: string, sent: Sent) => boolean): void
}

export function createHandover(
  engine: Engine,
  clock: Clock,
  keyOf: (run: StreamRef) => string,
  troubled: (error: unknown) => void,
): Handover {
  const known = new Map<string, Sent>()

  async function say(run: StreamRef, service: string, id: string, delay: number, body: object): Promise<boolean> {
    try {
      return await engine.send({ service, key: objectKey(run), id, delay, body })
    } catch (error) {
      troubled(error)
      return false
    }
  }

  return {
    async hand({ ref, due }, service, round = 0) {
      const key = keyOf(ref)
      const last = clock.monotonic()
      const delay = Math.max(0, due - clock.now())
      const was = known.get(key)
      const sent = { due, first: was?.due === due ? was.first : last + delay, last, refused: false }
      known.set(key, sent)
      const taken = await say(ref, service, `due.${due}${round === 0 ? '' : `.${round}`}`, delay, {})
      if (taken) return sent
      const refused = { ...sent, refused: true }
      if (known.get(key) === sent) known.set(key, refused)
      return refused
    },
    async retry(run, service, losses, delay) {
      await say(run, service, `lost.${clock.now()}.${losses}`, delay, { losses })
    },
    sent: (key) => known.get(key),
    forget(which) {
      for (const [key, sent] of known) if (which(key, sent)) known.delete(key)
    },
  }
}
