import { setTimeout as sleep } from 'node:timers/promises'
import { workflow } from '../../src/app/define.ts'
import { convoke } from '../../src/convoke.ts'

// One run that ends the process each time it is driven, as the first of all, and five that need a while. Arguments:
// folder, how it ends the process. Prints `done` once the five have ended.
const [dir, how] = process.argv.slice(2) as [string, string]

const bad = workflow({ name: 'bad' }, async (run) => {
  await run.step('ends everything', () => {
    if (how === 'exit') process.exit(3)
    if (how === 'kill') process.kill(process.pid, 'SIGKILL')
    if (how === 'throw') queueMicrotask(() => JSON.parse('{'))
    return sleep(10_000)
  })
})
const good = workflow({ name: 'good' }, async (run) => {
  for (let i = 0; i < 10; i++) await run.step('s', { input: i }, () => sleep(5))
  return 'good'
})
const app = convoke({ store: dir, workflows: { bad, good } })
await app.start(bad, undefined, { id: 'a-bad', priority: 10 })
const runs = [1, 2, 3, 4, 5].map((n) => app.start(good, undefined, { id: `good-${n}` }))
for (const handle of await Promise.all(runs)) await handle.result()
process.stdout.write('done')
process.exit(0)
