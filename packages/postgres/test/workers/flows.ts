import { setTimeout as sleep } from 'node:timers/promises'
import { signal, tool, workflow, type Tool, type Workflow } from 'convoke'
import { z } from 'zod'

// What the workers of these tests drive. Steps and effects are counted by a counterpart in another process.

const input = z.object({ ms: z.number() })
const sent = z.object({ id: z.string() })

export const go = signal({ name: 'go', schema: z.string() })

export interface Flows {
  readonly hold: Workflow<{ ms: number }, unknown>
  readonly parcel: Workflow<{ ms: number }, unknown>
  readonly tools: readonly [Tool<{ to: string }, { id: string }>]
}

/** `url` is the counterpart's. */
export function flowsFor(url: string): Flows {
  const post = async (path: string, key: string): Promise<unknown> => {
    const answer = await fetch(`${url}${path}`, { method: 'POST', headers: { 'idempotency-key': key } })
    return answer.json()
  }
  const pay = tool({
    name: 'pay',
    description: 'pays',
    inputSchema: z.object({ to: z.string() }),
    outputSchema: sent,
    effect: 'keyed',
    execute: async ({ to }, { idempotencyKey }) => (await post(`/effect/${to}`, idempotencyKey)) as { id: string },
  })
  const ran = (path: string) => async (): Promise<void> => void (await post(`/ran/${path}`, path))

  return {
    tools: [pay],
    /** Holds a worker for a while, in a step that tells who runs it. */
    hold: workflow({ name: 'hold', input }, async (run, { ms }) => {
      await run.step('first', ran(`${run.id}/first`))
      await run.step('hold', async () => {
        await ran(`${run.id}/hold/${process.pid}`)()
        await sleep(ms)
      })
      await run.call(pay, { to: run.id })
      await run.step('last', ran(`${run.id}/last`))
    }),
    /** A few steps and effects, a pause and a signal. */
    parcel: workflow({ name: 'parcel', input }, async (run, { ms }) => {
      for (const name of ['a', 'b', 'c']) {
        await run.step(name, ran(`${run.id}/${name}`))
        await run.call(pay, { to: `${run.id}-${name}` })
      }
      await run.sleep(ms)
      await run.receive(go)
      await run.step('d', ran(`${run.id}/d`))
    }),
  }
}
