import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { z } from 'zod'
import { convoke, decideApproval, isConvokeError, modelJudge, tool, workflow } from '../../src/index.ts'
import { probeFromEnv, rule, scriptedModel } from '../../src/testing.ts'

// A call that a judge changes before it is made and that holds its answer for a person, who always agrees. Goes on with
// what its folder holds. The counterpart is a file outside of the store.

const [dir = ''] = process.argv.slice(2)
const book = (line: string): void => appendFileSync(join(dir, 'book'), `${line}\n`)

const judge = modelJudge({
  name: 'judge',
  rules: 'No harsh words.',
  at: ['input', 'output'],
  model: scriptedModel({
    id: 'judge',
    rules: [
      rule({
        name: 'all',
        when: (request): string => JSON.stringify(request.messages.at(-1)),
        reply: (_, said: string): string =>
          said.includes('fool')
            ? '{"verdict":"redact","reason":"harsh","hide":["fool"]}'
            : '{"verdict":"allow","reason":"fine"}',
      }),
    ],
  }),
})
const post = tool({
  name: 'post',
  description: 'posts',
  effect: 'keyed',
  inputSchema: z.object({ text: z.string() }),
  outputSchema: z.object({ ticket: z.string() }),
  execute: ({ text }, context) => {
    book(`${context.idempotencyKey} ${text}`)
    return { ticket: 'T-17' }
  },
})
const flow = workflow({ name: 'flow', input: z.string(), output: z.string() }, async (run, text) => {
  const { ticket } = await run.call(post, { text })
  return ticket
})
const store = join(dir, 'store')
const probe = probeFromEnv()
const app = convoke({
  store,
  workflows: { flow },
  ...(probe === undefined ? {} : { probe }),
  guardrails: [judge, { name: 'person', after: () => ({ ask: 'tickets are read by a person', category: 'tickets' }) }],
})
const ledger = await app.ledger()
const there = (await app.runs()).length > 0
const handle = there ? await app.run<string>('r') : await app.start(flow, 'you fool', { id: 'r' })
await app.work()
let answer: string | undefined
void handle.result().then((value) => (answer = value))
// Somebody always agrees. Ended from outside when it takes too long.
while (answer === undefined) {
  for (const { id } of await ledger.approvals({ tenant: 'local', status: 'pending' }))
    await decideApproval(ledger, {
      tenant: 'local',
      id,
      decision: 'approved',
      by: { kind: 'person', id: 'ada' },
      at: Date.now(),
    }).catch((error: unknown) => {
      if (!isConvokeError(error, 'APPROVAL_DECIDED')) throw error
    })
  await setTimeout(50)
}
process.stdout.write(answer)
await app.close()
