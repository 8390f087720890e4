// The app that the tests drive. Its effects are lines in the file that COUNTER names: the counterpart they count at.
import { appendFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { agent, ConvokeError, defineConfig, policy, role, tool, workflow } from 'convoke'
import { z } from 'zod'

const mark = (text: string): void => appendFileSync(process.env['COUNTER'] ?? '/dev/null', `${text}\n`)

const pay = tool({
  name: 'erp.pay',
  description: 'pays an invoice',
  effect: 'keyed',
  inputSchema: z.object({ number: z.string(), amount: z.string() }),
  outputSchema: z.object({ paid: z.string() }),
  execute: async ({ number, amount }) => {
    mark(`pay ${number} ${amount}`)
    return { paid: amount }
  },
})
const stubborn = tool({
  name: 'stubborn',
  description: 'takes long and listens to nobody',
  effect: 'keyed',
  inputSchema: z.object({}),
  outputSchema: z.null(),
  execute: async () => {
    mark('stubborn')
    await pause(60_000)
    return null
  },
})

const Invoice = z.object({ number: z.string(), amount: z.string() })

const hello = workflow({ name: 'hello' }, async (run, input) => run.step('greet', () => ({ hello: input ?? 'world' })))

const payment = workflow({ name: 'payment', input: Invoice }, async (run, invoice) => {
  const checked = await run.step('check', { input: invoice }, () => ({ ...invoice, ok: true }))
  await run.checkpoint('checked')
  return run.call(
    pay,
    { number: checked.number, amount: checked.amount },
    { businessKey: checked.number, from: [checked] },
  )
})

const counting = workflow({ name: 'counting', input: z.number() }, async (run, to) => {
  for (let i = 1; i <= to; i++)
    await run.step('count', async () => {
      mark(`count ${i}`)
      await pause(100)
      return i
    })
  run.log('counted', { to })
  return `counted to ${to}`
})

const held = workflow({ name: 'held' }, async (run) => run.call(stubborn, {}))

const failing = workflow({ name: 'failing' }, async (run) =>
  run.step('break', () => {
    throw new ConvokeError('TOOL_UNREACHABLE', 'the ERP does not answer')
  }),
)

const nap = workflow({ name: 'nap' }, async (run) => {
  await run.sleep(3_600_000)
})

const parent = workflow({ name: 'parent' }, async (run) => run.child(hello, 'from above'))

const Read = z.object({ total: z.string().regex(/^\d+\.\d{2}$/), buyer: z.string() })
const reader = role({ name: 'reader', input: z.string(), output: Read })
const reads = agent({
  role: reader,
  run: async (_, text) => {
    mark('read')
    return { total: text.split(' ')[0] ?? '', buyer: 'Nordhafen' }
  },
})

const reading = workflow({ name: 'reading', input: z.string() }, async (run, text) => {
  const { value } = await run.ask(reader, text)
  await run.checkpoint('read')
  const doubled = await run.step('double', { input: value.total }, () => String(Number(value.total) * 2))
  const length = await run.step('length', { input: value.buyer }, () => value.buyer.length)
  const today = await run.step('today', () => 'monday')
  return `${doubled} ${length} ${today}`
})

export const config = defineConfig({
  workflows: { hello, payment, counting, held, failing, nap, parent, reading },
  agents: [reads],
  tools: [pay, stubborn],
  policy: policy({ version: '1', rules: [{ tool: 'erp.pay', hold: { category: 'payment', group: 'finance' } }] }),
})
