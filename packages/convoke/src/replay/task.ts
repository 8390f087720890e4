import { ConvokeError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import { joinLabels } from '../core/labels.ts'
import type { Actor } from '../core/record.ts'
import type { Clock } from '../ports/runtime.ts'
import type { Claim, Waiting } from './claim.ts'
import type { Mailbox } from './mailbox.ts'
import type { Sequencer } from './sequencer.ts'
import type { AppendMore, Entry, Message, Task } from './types.ts'

export interface TaskHost {
  readonly tenant: string
  readonly run: string
  readonly sequencer: Sequencer
  readonly mailbox: Mailbox
  /** Aborts when this incarnation stops driving the run. */
  readonly ended: AbortController
  readonly o: { readonly clock: Clock; readonly actor: Actor }
  ring(): void
  /** Runs `act` now, or, while the run is about to park, once it turns out that it does not. */
  pass(act: () => void): void
}

/** What an executor works with. Waits are noted at the claim, so that the engine knows when the run can park. */
export function makeTask(host: TaskHost, claim: Claim): Task {
  // An effect under way is let finish when the process is asked to stop; waiting is not. The signal is made when first
  // asked for: most steps never look.
  let made: AbortSignal | undefined
  const either = (): AbortSignal => (made ??= AbortSignal.any([claim.scope.controller.signal, host.ended.signal]))
  const { clock } = host.o

  function append(type: string, payload: JsonObject, more: AppendMore = {}): Entry {
    if (claim.state === 'delivered') throw new ConvokeError('SCOPE_CANCELLED', `step ${claim.path} has already ended`)
    const entry = host.sequencer.enqueue(
      {
        type,
        path: claim.path,
        ...(claim.scope.fold === undefined ? {} : { fold: claim.scope.fold }),
        causes: [...claim.causes, ...(more.causes ?? [])],
        actor: more.actor ?? claim.operation.actor ?? host.o.actor,
        labels: more.labels === undefined ? claim.labels : joinLabels([claim.labels, more.labels]),
        ...(more.critical === undefined ? {} : { critical: more.critical }),
        payload: { fingerprint: claim.fingerprint, ...payload },
      },
      more.blobs,
    )
    claim.history.push(entry)
    return entry
  }

  function wait<T>(waiting: Waiting, arm: (done: (value: T) => void) => () => void, late: T): Promise<T> {
    const stopped = either()
    return new Promise<T>((resolve, reject) => {
      if (stopped.aborted) {
        reject(stopped.reason as Error)
        return
      }
      const alarm = new AbortController()
      let off: () => void = () => undefined
      const end = (): void => {
        const at = claim.waits.indexOf(waiting)
        if (at >= 0) claim.waits.splice(at, 1)
        alarm.abort()
        off()
        stopped.removeEventListener('abort', aborted)
        host.ring()
      }
      const aborted = (): void => {
        end()
        reject(stopped.reason as Error)
      }
      claim.waits.push(waiting)
      stopped.addEventListener('abort', aborted)
      let over = false
      off = arm((value) => {
        over = true
        queueMicrotask(end)
        resolve(value)
      })
      if (!over && waiting.until !== undefined)
        void alarmAt(waiting.until, alarm.signal).then(
          () => host.pass(() => (end(), resolve(late))),
          () => undefined,
        )
      host.ring()
    })
  }

  /** Wall clocks jump: sleep in pieces and look again. */
  async function alarmAt(until: number, stop: AbortSignal): Promise<void> {
    for (let left = until - clock.now(); left > 0; left = until - clock.now())
      await clock.sleep(Math.min(left, 60_000), stop)
  }

  return {
    tenant: host.tenant,
    run: host.run,
    path: claim.path,
    fingerprint: claim.fingerprint,
    history: claim.history,
    get signal() {
      return claim.operation.effect === true ? claim.scope.controller.signal : either()
    },
    onAbort(listener) {
      const given = claim.scope.controller.signal
      const signals = claim.operation.effect === true ? [given] : [given, host.ended.signal]
      const over = signals.find((signal) => signal.aborted)
      if (over !== undefined) {
        listener(over.reason as Error)
        return () => undefined
      }
      const off = (): void => {
        for (const signal of signals) signal.removeEventListener('abort', aborted)
      }
      function aborted(this: AbortSignal): void {
        off()
        listener(this.reason as Error)
      }
      for (const signal of signals) signal.addEventListener('abort', aborted)
      return off
    },
    causes: claim.causes,
    labels: claim.labels,
    scope: claim.scope,
    append,
    durable: () => host.sequencer.durable(),
    keepUp: () => host.sequencer.keepUp(),
    message: (topic, w) =>
      wait<Message | undefined>(
        { kind: w.kind, until: w.until },
        (done) =>
          host.mailbox.wait(topic, (message) => {
            if (message !== undefined) claim.taken.push(message)
            done(message)
          }),
        undefined,
      ),
    until: (time) => wait<void>({ kind: 'timer', until: time }, () => () => undefined, undefined),
    now: () => clock.now(),
  }
}
