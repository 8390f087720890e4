import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { signal, workflow } from '../../src/app/define.ts'
import { convoke } from '../../src/convoke.ts'
import { tool } from '../../src/gateway/tool.ts'
import { openSqliteLedger } from '../../src/ledger-sqlite/index.ts'
import { post } from './post.ts'

// A worker on a shared store, until its stdin ends. Arguments: folder, url of the counterpart, lease in milliseconds.
// It prints a line of JSON for each trouble. CONVOKE_STOP_AT=<point>#<n> makes it stop itself (SIGSTOP) there.

const [dir, url, leaseMs] = process.argv.slice(2) as [string, string, string]

/** Counts every call, whatever its key. */
const pay = tool({
  name: 'pay',
  description: 'pays',
  inputSchema: z.object({ run: z.string() }),
  outputSchema: z.object({ times: z.number() }),
  effect: 'keyed',
  execute: async ({ run }, { fetch }) => {
    const answer = await fetch(`${url}/ran/${run}/pay`, { method: 'POST' })
    return (await answer.json()) as { times: number }
  },
})

const go = signal({ name: 'go', schema: z.string() })

const contend = workflow({ name: 'contend' }, async (run) => {
  const ran = (step: string) => () => post(url, `/ran/${run.id}/${step}`)
  await run.step('a', ran('a'))
  await run.receive(go)
  await run.all('both', { b: (r) => r.step('b', ran('b')), c: (r) => r.step('c', ran('c')) })
  await run.call(pay, { run: run.id })
  await run.step('d', ran('d'))
})

const slow = workflow({ name: 'slow' }, async (run) => {
  await run.step('first', () => post(url, `/ran/${run.id}/first`))
  await run.step('slow', async () => {
    await post(url, `/ran/${run.id}/slow`)
    await sleep(300)
  })
  await run.call(pay, { run: run.id })
  await run.step('last', () => post(url, `/ran/${run.id}/last`))
})

const [point, nth] = (process.env['CONVOKE_STOP_AT'] ?? '#0').split('#') as [string, string]
const ofLedger = point.startsWith('commit.')
let reached = 0
const probe = (at: string): void => {
  if (at !== point || ++reached !== Number(nth)) return
  // Outside a transaction unless one is meant: the ledger's thread, which does not wait for this one, comes to its end.
  if (!ofLedger) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
  process.kill(process.pid, 'SIGSTOP')
}
const app = convoke({
  store: () =>
    openSqliteLedger({
      dir,
      durability: 'process-crash-only',
      leaseMs: Number(leaseMs),
      ...(ofLedger ? { probe } : {}),
    }),
  leaseMs: Number(leaseMs),
  workflows: { contend, slow },
  tools: [pay],
  network: { inside: ['loopback'] },
  probe,
  onTrouble: (run, error) =>
    void process.stdout.write(`${JSON.stringify({ run: run.stream.slice(4), code: error.code })}\n`),
})
await app.work()
process.stdout.write(`${JSON.stringify({ ready: process.pid })}\n`)
await new Promise((resolve) => process.stdin.once('end', resolve).resume())
await app.close()
