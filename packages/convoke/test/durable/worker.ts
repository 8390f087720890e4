import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { signal, workflow } from '../../src/app/define.ts'
import { convoke } from '../../src/convoke.ts'
import { tool } from '../../src/gateway/tool.ts'
import { openLedger } from '../../src/ledger-sqlite/index.ts'
import { post } from './post.ts'

// A worker on a shared store, until its stdin ends. Arguments: folder, url of the counterpart, lease in milliseconds, and
// which thread does the ledger's calls: `never` the caller's, `only` the caller's, or the one, then the other, as for users.
// It prints a line of JSON for each trouble. CONVOKE_STOP_AT=<point>#<n> makes it stop itself (SIGSTOP) there, and again
// for as long as it finds the file `stop-again` when it goes on.

const [dir, url, leaseMs, where] = process.argv.slice(2) as [string, string, string, 'never' | 'only' | undefined]

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
const again = join(dir, 'stop-again')
let reached = 0
const probe = (at: string): void => {
  if (at !== point || ++reached !== Number(nth)) return
  process.kill(process.pid, 'SIGSTOP')
  while (existsSync(again)) {
    // The ledger's thread, which does not wait for this one, comes to the end of its transaction.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
    rmSync(again)
    process.kill(process.pid, 'SIGSTOP')
  }
}
const app = convoke({
  store: () =>
    openLedger(
      { dir, durability: 'process-crash-only', leaseMs: Number(leaseMs), ...(ofLedger ? { probe } : {}) },
      where,
    ),
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
