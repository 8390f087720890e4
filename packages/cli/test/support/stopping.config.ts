// What is to be stopped: calls without end at the counterpart that OUTSIDE names, in every way an app can make them.
import { setTimeout as pause } from 'node:timers/promises'
import { agent, defineConfig, role, tool, workflow, type ToolContext } from 'convoke'
import { z } from 'zod'

async function post(context: ToolContext, from: string): Promise<void> {
  const response = await context.fetch(`${process.env['OUTSIDE'] ?? ''}/${from}`, { method: 'POST', body: '{}' })
  await response.text()
}

/** One call that lasts, and asks for more all the time. */
const lasting = tool({
  name: 'lasting',
  description: 'posts for two minutes',
  effect: 'unsafe',
  timeoutMs: 180_000,
  network: { inside: ['loopback'] },
  inputSchema: z.object({}),
  execute: async (_, context) => {
    for (let i = 0; i < 1_200; i++) {
      await post(context, 'long')
      await pause(100)
    }
  },
})
const short = tool({
  name: 'short',
  description: 'posts once',
  effect: 'keyed',
  network: { inside: ['loopback'] },
  inputSchema: z.object({ from: z.string() }),
  execute: async ({ from }, context) => post(context, from),
})

const clerk = role({ name: 'clerk', input: z.object({}), output: z.object({ ok: z.boolean() }), tools: [short] })
const clerks = agent({
  role: clerk,
  run: async (context) => {
    for (let i = 0; i < 1_200; i++) {
      await context.call(short, { from: 'clerk' }, { name: `c${i}` })
      await pause(50)
    }
    return { ok: true }
  },
})

const long = workflow({ name: 'long' }, (run) => run.call(lasting, {}))
const many = workflow({ name: 'many' }, async (run) => {
  for (let i = 0; i < 1_200; i++) {
    await run.call(short, { from: 'many' }, { name: `m${i}` })
    await run.step(`p${i}`, () => pause(50, null))
  }
})
const role_ = workflow({ name: 'asks' }, async (run) => {
  await run.ask(clerk, {})
})

export const config = defineConfig({
  workflows: { long, many, asks: role_ },
  agents: [clerks],
  tools: [lasting, short],
})
