import { convoke, tool, workflow } from '../../src/index.ts'
import { isolated } from '../../src/isolate.ts'
import { z } from 'zod'

// A worker that is to be killed while its tool is busy: `child.ts STORE FILE ISOLATION`.

const [store = '', file = '', isolation = 'process'] = process.argv.slice(2)
const busy = tool({
  name: 'busy',
  description: 'Never ends.',
  effect: 'read',
  timeoutMs: 600_000,
  inputSchema: z.object({ file: z.string() }),
  outputSchema: z.any(),
  transport: isolated({
    module: new URL('../../src/isolate/fixture.ts', import.meta.url),
    export: 'begets',
    isolation: isolation as 'worker' | 'process',
  }),
})
const flow = workflow({ name: 'flow', input: z.string(), output: z.any() }, (run, at) => run.call(busy, { file: at }))
const app = convoke({ store, workflows: { flow } })
await (await app.start(flow, file)).result()
