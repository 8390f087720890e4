import { workflow } from '../../src/app/define.ts'
import { convoke } from '../../src/convoke.ts'

// A chain of steps, each told on stdout once the next one runs: its record is durable then. Arguments: folder, steps.
const [dir, steps = '100000'] = process.argv.slice(2) as [string, string?]

const chain = workflow({ name: 'chain' }, async (run) => {
  for (let i = 0; i < Number(steps); i++)
    await run.step('s', { input: i }, () => {
      if (i > 0) process.stdout.write(`${i}\n`)
    })
  return Number(steps)
})
const app = convoke({ store: dir, workflows: { chain } })
const handle = await app.start(chain, undefined, { id: 'chain' })
process.stdout.write(`done ${String(await handle.result())}\n`)
await app.close()
