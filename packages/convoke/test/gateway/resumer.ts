import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { tool } from '../../src/gateway/tool.ts'
import { policy, type Policy } from '../../src/policy/policy.ts'
import { world, type Code } from './world.ts'

// A process that resumes one run many times at once. Arguments: folder, run, how often. Waits for its standard input to
// end, so that several of them begin together; prints how each attempt ended.

export const held: Policy = policy({ version: '1', rules: [{ tool: 'pay', hold: { category: 'payment' } }] })

/** Pays by a line in a file that nobody else writes. */
export function payingCode(dir: string): Code {
  const pay = tool({
    name: 'pay',
    description: 'pays',
    inputSchema: z.object({ amount: z.string() }),
    effect: 'unsafe',
    execute: ({ amount }) => {
      appendFileSync(join(dir, 'paid.txt'), `${amount}\n`)
      return null
    },
  })
  return (r) => r.call(pay, { amount: '5.00' })
}

if (import.meta.main) {
  const [dir, run, times] = process.argv.slice(2) as [string, string, string]
  const w = await world({ policy: held }, { dir })
  process.stdout.write('ready\n')
  for await (const _ of process.stdin);
  const ends = await Promise.all(Array.from({ length: Number(times) }, () => w.go(payingCode(dir), run)))
  process.stdout.write(`${JSON.stringify(ends.map((end) => end.result))}\n`)
  await w.close()
}
