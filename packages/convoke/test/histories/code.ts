import { z } from 'zod'
import { agent } from '../../src/agents/define.ts'
import { boardKey, signal, workflow } from '../../src/app/define.ts'
import { role } from '../../src/contracts/role.ts'
import { tool } from '../../src/gateway/tool.ts'
import { lastText, rule, scriptedModel } from '../../src/testing/scripted-model.ts'

// What the recorded histories were made with (record.ts). Once a release has recorded with a workflow it stays as it
// is: a history must be replayed by every later version. New features get new workflows.

export const go = signal({ name: 'go', schema: z.object({ amount: z.string() }) })
const limit = boardKey<number>('limit')
const text = z.object({ text: z.string() })

const pay = tool({
  name: 'pay',
  description: 'pays',
  inputSchema: z.object({ to: z.string() }),
  outputSchema: z.object({ receipt: z.string() }),
  effect: 'keyed',
  execute: async ({ to }) => ({ receipt: `receipt of ${to}` }),
})

const child = workflow({ name: 'history-child', input: z.object({ n: z.number() }) }, async (run, { n }) => {
  await run.step('count', { input: n }, () => n)
  return n < 3 ? run.continueAs({ n: n + 1 }) : `counted to ${n}`
})

const durable = workflow({ name: 'history-durable' }, async (run) => {
  const drawn = { random: run.random(), uuid: run.uuid(), now: run.now() }
  const first = await run.step('first', { input: drawn }, () => ({ big: 'x'.repeat(70_000), n: 1 }))
  const both = await run.all('both', {
    a: (r) => r.step('s', { input: { n: first.n } }, () => [1, 2.5, -3, null, 'ü']),
    b: async (r) => {
      await r.board.put(limit, 100)
      return r.board.get(limit)
    },
  })
  const mapped = await run.map('each', ['x/y', 'z#2'], { key: (k) => k }, (r, k) => r.step('s', () => k.toUpperCase()))
  const soft = await run.mapSettled('soft', [1, 2], { key: String }, (r, n) =>
    r.step('s', { retry: { times: 1, delay: 1 } }, ({ attempt }) => {
      if (n === 2 || attempt === 1) throw new Error(`no ${n}`)
      return n
    }),
  )
  const { winner } = await run.race('quick', {
    fast: (r) => r.step('s', () => 'fast'),
    slow: (r) => r.sleep(3_600_000),
  })
  await run.checkpoint('middle')
  const tried = await run.attempt('tried', {
    bad: async (r) => {
      await r.call(pay, { to: 'wrong' }, { undo: { tool: pay, input: () => ({ to: 'refund' }) } })
      throw new Error('not this')
    },
    good: async (r) => (await r.call(pay, { to: 'right' }, { businessKey: 'B-1' })).receipt,
  })
  const patched = await run.patched('later')
  const said = await run.receive(go)
  const late = await run.receive(go, { timeout: 5 })
  const counted = await run.child(child, { n: 1 })
  await run.sleep(5)
  const settled = soft.map((s) => s.status)
  return { drawn, both, mapped, settled, winner, tried, patched, said, late: late ?? null, counted }
})

const failing = workflow({ name: 'history-failing' }, async (run) => {
  await run.call(pay, { to: 'someone' }, { undo: { tool: pay, input: () => ({ to: 'back' }) } })
  await run.step('fails', () => {
    throw new Error('on purpose')
  })
})

const sorter = role({ name: 'sorter', input: text, output: text })
const writer = role({ name: 'writer', input: text, output: text })
const asking = workflow({ name: 'history-asking', input: text, output: text }, async (run, input) => {
  const sorted = await run.ask(sorter, input)
  return (await run.ask(writer, sorted.value)).value
})

export const workflows: {
  readonly child: typeof child
  readonly durable: typeof durable
  readonly failing: typeof failing
  readonly asking: typeof asking
} = { child, durable, failing, asking }

export const rooms: {
  readonly tools: (typeof pay)[]
  readonly agents: ReturnType<typeof agent>[]
  readonly model: ReturnType<typeof scriptedModel>
} = {
  tools: [pay],
  agents: [
    agent({ role: sorter, run: async (_, { text: given }) => ({ text: `sorted ${given}` }) }),
    agent({ role: writer, instructions: 'Write.' }),
  ],
  model: scriptedModel({
    id: 'histories',
    rules: [
      rule({
        name: 'writes',
        when: (request) => /"text":"(.+?)"/.exec(lastText(request))?.[1],
        reply: (_, given) => JSON.stringify({ value: { text: `wrote ${given}` } }),
      }),
    ],
  }),
}
