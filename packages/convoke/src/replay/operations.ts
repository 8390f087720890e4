import { ConvokeError, toErrorData, type ErrorData } from '../core/errors.ts'
import { isLabelled, type Labels } from '../core/labels.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Ledger, StreamRef } from '../ports/ledger.ts'
import type { Clock } from '../ports/runtime.ts'
import type { Retry, StepContext, StepOptions } from './durable-run.ts'
import type { Scope } from './scope.ts'
import type { Completion, Operation, Task } from './types.ts'
import type { BoardKey, Signal } from './workflow.ts'

/** The longest that `setTimeout` takes (2^31 - 1 ms, about 25 days); beyond it fires at once. */
const maxTimer = 2_147_483_647

/** A plain step: reads and computation. */
export function stepOperation(
  name: string,
  options: StepOptions,
  body: (context: StepContext) => unknown,
  keyed: (text: string) => string,
): Operation {
  return {
    kind: 'step',
    name,
    ...(options.version === undefined ? {} : { version: options.version }),
    ...(options.input === undefined ? {} : { input: options.input, declared: true }),
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(options.pure === true ? { pure: true } : {}),
    execute: async (task) => {
      await (options.pure === true ? task.keepUp() : task.durable())
      const began = task.now()
      if (options.retry === undefined && options.timeout === undefined && task.history.length === 0)
        return took(task, began, await body(new Context(task, 1, keyed)))
      return withRetry(task, options.retry, async (attempt) => {
        const context = new Context(task, attempt, keyed)
        if (options.timeout === undefined) return took(task, began, await body(context))
        const { idempotencyKey } = context
        const timed = (signal: AbortSignal): Promise<unknown> =>
          Promise.resolve(body({ attempt, idempotencyKey, signal }))
        return took(task, began, await withTimeout(timed, options.timeout, task.signal, task))
      })
    },
  }
}

/** A step has no record of its beginning; where it took time, its end says how much. In milliseconds. */
function took(task: Task, began: number, value: unknown): Completion {
  const ms = Math.round(task.now() - began)
  return ms > 0 ? { value, extra: { ms } } : { value }
}

/** Signal and key are made when the body asks for them. */
class Context implements StepContext {
  readonly attempt: number
  readonly #task: Task
  readonly #keyed: (text: string) => string

  constructor(task: Task, attempt: number, keyed: (text: string) => string) {
    this.attempt = attempt
    this.#task = task
    this.#keyed = keyed
  }

  get signal(): AbortSignal {
    return this.#task.signal
  }
  get idempotencyKey(): string {
    return this.#keyed(`${this.#task.tenant}\n${this.#task.run}\n${this.#task.path}`)
  }
}

async function withRetry(
  task: Task,
  retry: Retry | undefined,
  once: (attempt: number) => Promise<Completion>,
): Promise<Completion> {
  const times = Math.min(100, retry?.times ?? 0)
  let attempt = 1
  for (const entry of task.history)
    if (entry.record.type === 'step.retrying') {
      attempt = (entry.payload['attempt'] as number) + 1
      await task.until(entry.payload['until'] as number)
      await task.durable()
    }
  for (; ; attempt++) {
    try {
      return await once(attempt)
    } catch (error) {
      if (attempt > times || task.signal.aborted) throw error
      const delay = Math.min(retry?.maxDelay ?? 60_000, (retry?.delay ?? 100) * 2 ** (attempt - 1))
      const until = task.now() + delay
      task.append('step.retrying', { attempt, until, error: { ...toErrorData(error) } as unknown as Json })
      await task.durable()
      await task.until(until)
      await task.durable()
    }
  }
}

/** Gives the body up when time is over, whether or not it listens to its signal. */
export async function withTimeout<T>(
  body: (signal: AbortSignal) => Promise<T>,
  timeout: number,
  signal: AbortSignal,
  task: { readonly path: string },
): Promise<T> {
  const own = new AbortController()
  const both = AbortSignal.any([signal, own.signal])
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(both.reason as Error)
    if (both.aborted) {
      abort()
      return
    }
    both.addEventListener('abort', abort, { once: true })
    let timer: NodeJS.Timeout | undefined
    const arm = (left: number): void => {
      const part = Math.min(left, maxTimer)
      timer = setTimeout(() => {
        if (left > part) arm(left - part)
        else
          own.abort(
            new ConvokeError('STEP_TIMEOUT', `step ${task.path} took longer than ${timeout} ms`, {
              details: { path: task.path, timeout },
            }),
          )
      }, part)
    }
    arm(timeout)
    const end = (): void => {
      clearTimeout(timer)
      both.removeEventListener('abort', abort)
    }
    new Promise<T>((started) => started(body(both))).then(
      (value) => (end(), resolve(value)),
      (error: unknown) => (end(), reject(error as Error)),
    )
  })
}

export function checkpointOperation(name: string): Operation {
  return { kind: 'checkpoint', name, record: 'checkpoint.reached', immediate: () => ({ extra: { name } }) }
}

export function boardPut(scope: Scope, key: BoardKey, value: unknown): Operation {
  const transaction = scope.transaction
  return {
    kind: 'board.put',
    name: `board:${key.name}`,
    target: key.name,
    input: value,
    declared: true,
    record: 'board.put',
    immediate: () => ({ value, extra: { key: key.name, at: (scope.cell(key.name)?.version ?? 0) + 1 } }),
    applied: (entry) => {
      const { record, payload } = entry
      if (payload['error'] === undefined)
        transaction.board?.set(key.name, {
          value: payload['value'],
          version: payload['at'] as number,
          ref: `${record.stream}@${record.seq}`,
          ...(isLabelled(record.labels) ? { labels: record.labels } : {}),
        })
    },
    present: () => undefined,
  }
}

export function receiveOperation(signal: Signal, timeout: number | undefined): Operation {
  return {
    kind: 'receive',
    name: signal.name,
    target: signal.name,
    ...(timeout === undefined ? {} : { input: { timeout }, declared: false }),
    execute: async (task) => {
      const due = timeout === undefined ? undefined : await timerOf(task, timeout)
      const message = await task.message(`signal:${signal.name}`, {
        kind: 'signal',
        ...(due === undefined ? {} : { until: due }),
      })
      if (message === undefined) return { extra: { timedOut: true } }
      const payload = message.message.payload as { value?: Json }
      return {
        value: payload.value,
        extra: { inbox: message.inboxSeq },
        causes: [{ ref: message.ref, kind: 'input' }],
        labels: message.labels,
      }
    },
  }
}

export function sleepOperation(ms: number): Operation {
  return {
    kind: 'sleep',
    name: 'sleep',
    input: { ms },
    execute: async (task) => {
      await task.until(await timerOf(task, ms))
      return {}
    },
  }
}

/** A timer is set once; after a crash it still ends when it would have. */
async function timerOf(task: Task, ms: number): Promise<number> {
  const set = task.history.find((e) => e.record.type === 'timer.set')
  if (set !== undefined) return set.payload['due'] as number
  const due = task.now() + ms
  task.append('timer.set', { due })
  return due
}

export interface ChildStart {
  readonly run: string
  readonly workflow: string
  readonly input: unknown
  readonly tags: readonly string[]
}

export interface ChildDeps {
  readonly ledger: Ledger
  readonly clock: Clock
  readonly start: (
    child: ChildStart,
    parent: { readonly run: string; readonly path: string },
    /** Of what the child is given. */
    labels: Labels,
  ) => Promise<void>
  /** The run id of a child that the workflow named itself: another one in a fork than in the original. */
  readonly childId: (id: string) => string
}

export function childOperation(
  name: string,
  start: (path: string) => ChildStart,
  fingerprint: { readonly target: string; readonly input: unknown },
  deps: ChildDeps,
): Operation {
  return {
    kind: 'child',
    name,
    ...fingerprint,
    effect: true,
    execute: async (task) => {
      const child = start(task.path)
      const inbox: StreamRef = { tenant: task.tenant, stream: `inbox/${child.run}` }
      if (!task.history.some((e) => e.record.type === 'child.requested'))
        task.append('child.requested', { child: child.run, workflow: child.workflow })
      await task.durable()
      await deps.start(child, { run: task.run, path: task.path }, task.labels)
      try {
        const done = await task.message(`child.done:${child.run}`, { kind: 'child' })
        const payload = done?.message.payload as { value?: Json; error?: ErrorData } & JsonObject
        const common = {
          extra: { inbox: done?.inboxSeq ?? 0, child: child.run },
          causes: done === undefined ? [] : [{ ref: done.ref, kind: 'input' as const }],
          ...(done === undefined ? {} : { labels: done.labels }),
        }
        return payload.error === undefined ? { value: payload.value, ...common } : { error: payload.error, ...common }
      } catch (error) {
        if (task.scope.dead)
          await deps.ledger.post(inbox, {
            id: `cancel:${task.run}:${task.path}`,
            type: 'run.cancel',
            at: deps.clock.now(),
            actor: { kind: 'orchestrator', id: task.run },
            payload: { reason: 'the parent gave it up' },
          })
        throw error
      }
    },
  }
}
