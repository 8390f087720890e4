// Three roles, the agents that fill them, and a workflow that asks them. It needs no key: the model is one rule.
import { agent, convoke, role, workflow } from 'convoke'
import { lastText, rule, scriptedModel } from 'convoke/testing'
import { z } from 'zod'

const letter = z.object({ text: z.string() })
const topic = z.object({ topic: z.enum(['delivery', 'other']), order: z.string() })
const verdict = z.object({ ok: z.boolean(), problems: z.array(z.string()) })

const sorter = role({ name: 'sorter', input: letter, output: topic })
const writer = role({ name: 'writer', input: topic, output: letter })
const checker = role({ name: 'checker', input: letter, output: verdict })

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
    order: /\d{4}/.exec(text)?.[0] ?? '?',
  }),
})
const write = agent({ role: writer, instructions: 'Write one friendly sentence about the order. Promise nothing.' })
const check = agent({
  role: checker,
  run: async (_, { text }) =>
    /promise/i.test(text) ? { ok: false, problems: ['a promise'] } : { ok: true, problems: [] },
})
const courteous = rule({
  name: 'courteous',
  when: (request) => /"order":"(.+?)"/.exec(lastText(request)),
  reply: (_, [, order]) =>
    JSON.stringify({ value: { text: `Thank you for asking about order ${order}. We are looking.` } }),
})

const app = convoke({
  store: '.convoke/hello',
  workflows: { reply },
  agents: [sort, write, check],
  model: scriptedModel({ id: 'hello', rules: [courteous] }),
})
const run = await app.start(reply, { text: process.argv[2] ?? 'Where is my parcel? Order 4711.' })
console.log((await run.result()).text)
console.log(`next: npx convoke why ${run.id} --store .convoke/hello`)
await app.close()
