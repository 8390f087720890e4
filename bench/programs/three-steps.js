// The whole of a small program on the package as it is built: opens a store, runs three durable steps, ends.
import { convoke, workflow } from 'convoke'

const hello = workflow({ name: 'hello' }, async (run) => {
  const name = await run.step('name', () => 'world')
  const greeting = await run.step('greeting', () => `hello, ${name}`)
  return await run.step('shout', () => greeting.toUpperCase())
})

const app = convoke({ store: process.argv[2], workflows: { hello } })
const handle = await app.start(hello, null)
if ((await handle.result()) !== 'HELLO, WORLD') process.exitCode = 1
await app.close()
