/** A worker as users run them: an app that works until it is told to stop. The order is JSON in the first argument. */
import { convoke, signal, tool, workflow, type AnyWorkflow, type Run } from 'convoke'
import { z } from 'zod'

export interface WorkerOrder {
  /** A folder, or the address of a database. */
  readonly store: string
  readonly engine: string
  readonly counterpart: string
  readonly version: string
  readonly leaseMs: number
}

const order = JSON.parse(process.argv[2] as string) as WorkerOrder

const effect = tool({
  name: 'counter.count',
  description: 'Has an effect outside, once for each key.',
  inputSchema: z.object({ run: z.string(), step: z.number() }),
  outputSchema: z.object({ step: z.number() }),
  effect: 'keyed',
  execute: async ({ run, step }, { idempotencyKey, signal: ends }) => {
    const response = await fetch(`${order.counterpart}/effect`, {
      method: 'POST',
      headers: { 'idempotency-key': idempotencyKey },
      body: JSON.stringify({ run, step, worker: process.pid }),
      signal: ends,
    })
    return (await response.json()) as { step: number }
  },
})
const input = z.object({
  id: z.string(),
  steps: z.number(),
  waitAt: z.number().optional(),
  sleepMs: z.number().optional(),
})
const go = signal({ name: 'go', schema: z.object({}) })

async function count(run: Run, { id, steps, waitAt, sleepMs }: z.infer<typeof input>): Promise<number> {
  for (let step = 0; step < steps; step++) {
    if (step === waitAt) await run.receive(go)
    await run.call(effect, { run: id, step })
    if (sleepMs !== undefined) await run.sleep(sleepMs)
  }
  return steps
}
// What a version is pinned by is its text; what they do until their end is the same.
const versions: Readonly<Record<string, AnyWorkflow>> = {
  '1': workflow({ name: 'count', version: '1', input }, async (run, its) => ({ steps: await count(run, its), by: 1 })),
  '2': workflow({ name: 'count', version: '2', input }, async (run, its) => ({ steps: await count(run, its), by: 2 })),
}
const named = versions[order.version]
if (named === undefined) throw new Error(`there is no version ${order.version}`)

const app = convoke({
  store: order.store,
  engine: order.engine,
  leaseMs: order.leaseMs,
  tools: [effect],
  workflows: { count: named },
  onTrouble: (run, error) => process.send?.({ trouble: `${run.stream} ${error.code} ${error.message}` }),
})
process.on(
  'message',
  (message: { stop?: true; start?: { id: string; input: z.infer<typeof input> }; signal?: string }) => {
    const act = async (): Promise<unknown> => {
      if (message.stop === true) return app.close()
      if (message.start !== undefined) return app.start('count', message.start.input, { id: message.start.id })
      if (message.signal !== undefined) return (await app.run(message.signal)).signal(go, {})
    }
    void act().then(
      () => (message.stop === true ? process.disconnect() : process.send?.({ did: true })),
      (error: Error) => process.send?.({ failed: error.message }),
    )
  },
)
process.once('disconnect', () => setTimeout(() => process.exit(), 10_000).unref())
try {
  await app.work()
  process.send?.({ ready: true })
} catch (error) {
  const { code, message } = error as { code: string; message: string }
  process.send?.({ refused: code, message })
  await app.close()
  process.disconnect()
}
