// Three roles, the agents that fill them, and a workflow that asks them. It needs no key: the model is one rule.
import { agent, convoke, role, workflow } from 'convoke'
import { lastText, rule, scriptedModel } from 'convoke/testing'
import { z } from 'zod'

const letter = z.object({ text: z.string() })
const about = z.object({ topic: z.enum(['delivery', 'other']), order: z.string() })

const sorter = role({ name: 'sorter', input: letter, output: about })
const writer = role({ name: 'writer', input: about, output: letter })
const checker = role({ name: 'checker', input: letter, output: z.object({ ok: z.boolean() }) })

const reply = workflow({ name: 'reply', input: letter, output: letter }, async (run, incoming) => {
  const sorted = await run.ask(sorter, incoming)
  const draft = await run.ask(writer, sorted.value)
  await run.verify('draft', draft, checker, { must: true })
  return draft.value
})

const sort = agent({
  role: sorter,
  run: async (_, { text }) => ({
    topic: /parcel|deliver/i.test(text) ? 'delivery' : 'other',
    order: /\d{4}/.exec(text)?.[0] ?? 'unknown',
  }),
})
const write = agent({ role: writer, instructions: 'Write two friendly sentences about the order. Promise nothing.' })
const check = agent({ role: checker, run: async (_, { text }) => ({ ok: !/promise/i.test(text) }) })

const polite = rule({
  name: 'polite',
  when: (request) => /"order":"(.+?)"/.exec(lastText(request))?.[1],
  reply: (_, order) => JSON.stringify({ value: { text: `Thank you for asking about order ${order}. We are on it.` } }),
})
const model = scriptedModel({ id: 'hello', rules: [polite] })

const app = convoke({ store: '.convoke/hello', workflows: { reply }, agents: [sort, write, check], model })
const run = await app.start(reply, { text: process.argv[2] ?? 'Where is my parcel? My order is 4711.' })
console.log((await run.result()).text)
console.log(`Next: npx convoke why ${run.id} --store .convoke/hello`)
await app.close()
