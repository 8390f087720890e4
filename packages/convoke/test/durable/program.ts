import { convoke } from '../../src/convoke.ts'
import { probeFromEnv } from '../../src/testing/probe.ts'
import { tool } from '../../src/gateway/tool.ts'
import { signal, workflow } from '../../src/app/define.ts'
import { z } from 'zod'
import { post as tell } from './post.ts'

// A small program of everything the durable run can do, for crash tests. Arguments: folder, url of the counterpart.
// Steps tell the counterpart that they run (`/ran`) and that they are known to have run (`/done`); tools have effects.

const [dir, url] = process.argv.slice(2) as [string, string]

const post = (path: string, key: string): Promise<unknown> => tell(url, path, key)

const pay = tool({
  name: 'pay',
  description: 'pays',
  inputSchema: z.object({ to: z.string() }),
  outputSchema: z.object({ id: z.string() }),
  effect: 'keyed',
  execute: async ({ to }, { idempotencyKey }) => (await post(`/effect/${to}`, idempotencyKey)) as { id: string },
})
const note = tool({
  name: 'note',
  description: 'notes',
  inputSchema: z.object({ what: z.string() }),
  outputSchema: z.object({ id: z.string() }),
  effect: 'idempotent',
  // The same note again changes nothing, whatever its key.
  execute: async ({ what }) => (await post(`/effect/note-${what}`, `note-${what}`)) as { id: string },
})
const go = signal({ name: 'go', schema: z.string() })

const child = workflow({ name: 'child', input: z.object({ n: z.number() }) }, async (run, { n }) => {
  const { id } = await run.call(pay, { to: `child-${n}` })
  return run.step('child step', async () => (await post(`/ran/${run.id}/child step`, 'x'), `${id} for ${n}`))
})

const main = workflow({ name: 'main' }, async (run) => {
  const first = await run.step('first', async () => (await post('/ran/first', 'x'), 'first'))
  const both = await run.all('both', {
    paid: async (r) => {
      await r.step('before', async () => void (await post('/ran/both/paid/before', 'x')))
      return r.call(pay, { to: 'supplier' }, { businessKey: 'INV-1' })
    },
    noted: async (r) => {
      const { id } = await r.call(note, { what: 'seen' })
      return r.step('after', async () => (await post('/ran/both/noted/after', 'x'), id))
    },
  })
  await run.checkpoint('paid')
  const drafted = await run.attempt('draft', {
    hasty: async (r) => {
      await r.call(pay, { to: 'wrong' }, { undo: { tool: pay, input: () => ({ to: 'wrong-refund' }) } })
      await r.step('check', async () => {
        await post('/ran/draft/hasty/check', 'x')
        throw new Error('wrong')
      })
      return 'hasty'
    },
    careful: (r) => r.step('check', async () => (await post('/ran/draft/careful/check', 'x'), 'careful')),
  })
  const said = await run.receive(go)
  await run.sleep(30)
  const raised = await run.child(child, { n: 7 })
  return { first, paid: both.paid.id, noted: both.noted, drafted, said, raised }
})

const probe = probeFromEnv()
const app = convoke({
  store: `${dir}/store`,
  durability: 'process-crash-only',
  workflows: { main, child },
  tools: [pay, note],
  ...(probe === undefined ? {} : { probe }),
})
const handle = await app.start(main, undefined, { id: 'm' })
await app.work()
const row = await handle.settled()
if (row.status === 'parked' && row.parkedOn === 'signal') await handle.signal(go, 'go on', { id: 'the one' })
process.stdout.write(`${JSON.stringify(await handle.result())}\n`)
await app.close()
