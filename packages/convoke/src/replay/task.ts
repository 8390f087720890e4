import { ConvokeError } from '../core/errors.ts'
import type { JsonObject } from '../core/json.ts'
import { joinLabels, type Labels } from '../core/labels.ts'
import type { Actor, Cause } from '../core/record.ts'
import type { Clock } from '../ports/runtime.ts'
import type { Claim, Waiting } from './claim.ts'
import type { Mailbox } from './mailbox.ts'
import type { Scope } from './scope.ts'
import type { Sequencer } from './sequencer.ts'
import type { AppendMore, Entry, Message, Task } from './types.ts'

export interface TaskHost {
  readonly tenant: string
  readonly run: string
  readonly sequencer: Sequencer
  readonly mailbox: Mailbox
  /** Aborts when this incarnation stops driving the run. */
  readonly ended: Pick<AbortController, 'signal'>
  readonly o: { readonly clock: Clock; readonly actor: Actor }
  ring(): void
  /** Runs `act` now, or, while the run is about to park, once it turns out that it does not. */
  pass(act: () => void): void
}

/** What an executor works with. Waits are noted at the claim, so that the engine knows when the run can park. */
export function makeTask(host: TaskHost, claim: Claim): Task {
  return new ClaimedTask(host, claim)
}

/** A class, since every step has one and most use two or three of its methods. */
class ClaimedTask implements Task {
  readonly #host: TaskHost
  readonly #claim: Claim
  #either: AbortSignal | undefined

  constructor(host: TaskHost, claim: Claim) {
    this.#host = host
    this.#claim = claim
  }

  get tenant(): string {
    return this.#host.tenant
  }
  get run(): string {
    return this.#host.run
  }
  get path(): string {
    return this.#claim.path
  }
  get fingerprint(): string {
    return this.#claim.fingerprint
  }
  get history(): readonly Entry[] {
    return this.#claim.history
  }
  get causes(): readonly Cause[] {
    return this.#claim.causes
  }
  get labels(): Labels {
    return this.#claim.labels
  }
  get scope(): Scope {
    return this.#claim.scope
  }
  /** An effect under way is let finish when the process is asked to stop; waiting is not. */
  get signal(): AbortSignal {
    return this.#claim.operation.effect === true ? this.#claim.scope.signal : this.#stopped
  }
  /** Made when first asked for: most steps never look. */
  get #stopped(): AbortSignal {
    return (this.#either ??= AbortSignal.any([this.#claim.scope.signal, this.#host.ended.signal]))
  }

  append(type: string, payload: JsonObject, more: AppendMore = {}): Entry {
    const claim = this.#claim
    const host = this.#host
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

  durable(): Promise<void> {
    return this.#host.sequencer.durable()
  }

  keepUp(): Promise<void> {
    return this.#host.sequencer.keepUp()
  }

  message(topic: string, { kind, until }: Parameters<Task['message']>[1]): Promise<Message | undefined> {
    const arm = (done: (value: Message | undefined) => void): (() => void) =>
      this.#host.mailbox.wait(topic, (message) => {
        if (message !== undefined) this.#claim.taken.push(message)
        done(message)
      })
    return this.#wait<Message | undefined>({ kind, until }, arm, undefined)
  }

  until(time: number): Promise<void> {
    return this.#wait<void>({ kind: 'timer', until: time }, () => () => undefined, undefined)
  }

  now(): number {
    return this.#host.o.clock.now()
  }

  onAbort(listener: (reason: Error) => void): () => void {
    const given = this.#claim.scope.signal
    const signals = this.#claim.operation.effect === true ? [given] : [given, this.#host.ended.signal]
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
  }

  #wait<T>(waiting: Waiting, arm: (done: (value: T) => void) => () => void, late: T): Promise<T> {
    const stopped = this.#stopped
    const host = this.#host
    const { waits } = this.#claim
    return new Promise<T>((resolve, reject) => {
      if (stopped.aborted) {
        reject(stopped.reason as Error)
        return
      }
      const alarm = new AbortController()
      let off: () => void = () => undefined
      const end = (): void => {
        const at = waits.indexOf(waiting)
        if (at >= 0) waits.splice(at, 1)
        alarm.abort()
        off()
        stopped.removeEventListener('abort', aborted)
        host.ring()
      }
      const aborted = (): void => {
        end()
        reject(stopped.reason as Error)
      }
      waits.push(waiting)
      stopped.addEventListener('abort', aborted)
      let over = false
      off = arm((value) => {
        over = true
        queueMicrotask(end)
        resolve(value)
      })
      if (!over && waiting.until !== undefined)
        void this.#alarmAt(waiting.until, alarm.signal).then(
          () => host.pass(() => (end(), resolve(late))),
          () => undefined,
        )
      host.ring()
    })
  }

  /** Wall clocks jump: sleep in pieces and look again. */
  async #alarmAt(until: number, stop: AbortSignal): Promise<void> {
    const { clock } = this.#host.o
    for (let left = until - clock.now(); left > 0; left = until - clock.now())
      await clock.sleep(Math.min(left, 60_000), stop)
  }
}
