/** A long chain of steps that only compute, and one tool call. Arguments: folder of the store, file that bodies are noted in. */
import { appendFileSync } from 'node:fs'
import { z } from 'zod'
import { convoke, tool, workflow } from '../../src/index.ts'

const [store = '', log = ''] = process.argv.slice(2)
const note = (what: string): void => appendFileSync(log, `${what}\n`)

const act = tool({
  name: 'act',
  description: 'Has an effect that is counted.',
  inputSchema: z.object({ sum: z.number() }),
  outputSchema: z.object({ sum: z.number() }),
  effect: 'keyed',
  execute: async ({ sum }) => {
    note('effect')
    return { sum }
  },
})

const chain = workflow({ name: 'chain' }, async (run) => {
  let sum = 0
  for (let i = 0; i < 3_000; i++)
    sum += await run.step(`p${i}`, { pure: true }, () => {
      note(`p${i}`)
      return i
    })
  return await run.call(act, { sum })
})

const app = convoke({ store, workflows: { chain }, tools: [act], leaseMs: 2_000 })
const handle = await app.start(chain, null, { id: 'chain' })
const { sum } = (await handle.result()) as { sum: number }
process.stdout.write(`done 3000 ${sum}\n`)
await app.close()
