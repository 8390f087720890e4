import type { JsonObject } from '../../src/core/json.ts'
import type { DurableRun } from '../../src/replay/durable-run.ts'
import type { Extension } from '../../src/replay/run.ts'
import type { StepPromise } from '../../src/replay/step-promise.ts'
import type { Operation } from '../../src/replay/types.ts'

/** What stands for a tool call where the gateway is not needed: an operation with an effect that can be taken back. */
export interface Act {
  /** The effect. Its intent is durable; `dispatched` says how often it was begun before. */
  readonly do: (context: {
    readonly path: string
    readonly signal: AbortSignal
    readonly dispatched: number
  }) => unknown
  readonly undo?: (path: string) => unknown
  readonly input?: unknown
}

export interface ActingRun extends DurableRun {
  act<T>(name: string, act: Act): StepPromise<T>
  /** What stands for an ask: code with a scope of its own whose records need not be loaded once it has finished. */
  inside<T>(name: string, input: unknown, code: (run: ActingRun) => Promise<T>): StepPromise<T>
}

export const acting: Extension = (scope, derive) => ({
  act: (name: string, act: Act) => scope.engine.claim(scope, operationOf(name, act)),
  inside: (name: string, input: unknown, code: (run: ActingRun) => Promise<unknown>) =>
    scope.engine.claim(scope, {
      kind: 'inside',
      name,
      input,
      declared: true,
      fold: true,
      orchestrate: async (inner) => ({ value: await code(derive(inner) as ActingRun) }),
    }),
})

function operationOf(name: string, act: Act): Operation {
  return {
    kind: 'act',
    name,
    effect: true,
    ...(act.input === undefined ? {} : { input: act.input }),
    execute: async (task) => {
      const dispatched = task.history.filter((e) => e.record.type === 'tool.dispatched').length
      if (task.signal.aborted && dispatched === 0) throw task.signal.reason
      task.append('tool.dispatched', { name } satisfies JsonObject, { critical: true })
      await task.durable()
      return { value: await act.do({ path: task.path, signal: task.signal, dispatched }) }
    },
    ...(act.undo === undefined
      ? {}
      : { undo: () => operationOf(`undo ${name}`, { do: ({ path }) => act.undo?.(path) }) }),
  }
}
