/** The workflows that the workloads run: the same shapes and bytes as in peers/lib.ts, so that figures compare. */
import { signal, workflow } from 'convoke'
import { z } from 'zod'
import type { StepResult } from './results.ts'

/** The work inside a step: gives the result that is stored. `run` names the run, `i` the step. */
export type Body = (run: string, i: number) => StepResult | Promise<StepResult>

export const go = signal({ name: 'go', schema: z.object({ sent: z.number() }) })

type Flow = ReturnType<typeof chainOf>

/** One step after the other. `pure` says of all of them that they only compute. */
export function chainOf(body: Body, { pure = false }: { readonly pure?: boolean } = {}) {
  return workflow({ name: 'chain' }, async (run, size) => {
    for (let i = 0; i < (size as number); i++) await run.step(`s${i}`, { pure }, () => body(run.id, i))
  })
}

/** Steps that start at once, and one that joins them. */
export function fanOf(body: Body): Flow {
  return workflow({ name: 'fan' }, async (run, size) => {
    const branch = (i: number) => async (inner: typeof run) => await inner.step('work', () => body(run.id, i))
    const branches = Array.from({ length: size as number }, (_, i) => [`b${i}`, branch(i)] as const)
    await run.all('fan', Object.fromEntries(branches))
    await run.step('join', () => body(run.id, size as number))
  })
}

/** Waits for a signal, then does one step. `woken` is told as soon as the code goes on. */
export function waitOf(body: Body, woken: (sent: number) => void = () => undefined): Flow {
  return workflow({ name: 'wait' }, async (run) => {
    const { sent } = await run.receive(go)
    await run.step('after', () => {
      woken(sent)
      return body(run.id, 0)
    })
  })
}
