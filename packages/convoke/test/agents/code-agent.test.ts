import { afterEach, expect, test } from 'vitest'
import { z } from 'zod'
import { agent } from '../../src/agents/define.ts'
import { answer } from '../../src/agents/answer.ts'
import { role } from '../../src/contracts/role.ts'
import { tool } from '../../src/gateway/tool.ts'
import { world, type Cast, type World } from './world.ts'

const getOrder = tool({
  name: 'erp.getOrder',
  description: 'An order by number.',
  effect: 'read',
  inputSchema: z.object({ number: z.string() }),
  execute: ({ number }) => ({ number, quantity: '100' }),
})
const intake = role({ name: 'intake', input: z.object({ text: z.string() }), output: z.object({ number: z.string() }) })

let open: World | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})
async function setting(cast: Cast): Promise<World> {
  return (open = await world(cast))
}

test('a role filled by code: request, binding and outcome are records, and the outcome names its own', async () => {
  const reader = agent({
    role: intake,
    name: 'reader',
    version: '7',
    run: async (_, { text }) => ({ number: text.slice(0, 4) }),
  })
  const w = await setting({ agents: [reader] })
  const run = await w.run(async (r) => {
    const outcome = await r.ask(intake, { text: '1001 and more' })
    return { ...outcome }
  })
  expect(run.error).toBeUndefined()
  expect(run.value).toMatchObject({
    value: { number: '1001' },
    role: 'intake',
    agent: 'reader',
    version: '7',
    claims: [],
  })
  expect(run.entries.map((e) => e.record.type)).toEqual([
    'run.started',
    'run.input',
    'task.requested',
    'role.resolved',
    'step.completed',
    'run.completed',
  ])
  const outcome = run.value as { record: string }
  expect(outcome.record).toBe(`run/${run.id}@5`)
  expect(run.at('intake/@task')?.payload).toMatchObject({
    role: 'intake',
    requester: 'workflow',
    input: { text: '1001 and more' },
  })
  expect(run.at('intake/@role')?.payload['value']).toMatchObject({ agent: 'reader', version: '7', rule: 'only' })
})

test('claims of code are checked against what it fetched; evidence names the records', async () => {
  const checked = role({
    name: 'check',
    input: z.object({ po: z.string() }),
    output: z.object({ ok: z.boolean() }),
    evidence: 'required',
    tools: [getOrder],
  })
  const honest = agent({
    role: checked,
    run: async (ctx, { po }) => {
      await ctx.call(getOrder, { number: po })
      return answer(
        { ok: true },
        { claims: [{ statement: '100 ordered', evidence: [{ ref: 's1', quote: '"quantity":"100"' }] }] },
      )
    },
  })
  const w = await setting({ agents: [honest], tools: [getOrder] })
  const run = await w.run(async (r) => (await r.ask(checked, { po: 'PO-1' })).claims)
  expect(run.error).toBeUndefined()
  const call = run.at('check/erp.getOrder')
  const ref = `run/${run.id}@${call!.record.seq}`
  expect(run.value).toEqual([
    { statement: '100 ordered', evidence: [{ ref: 's1', quote: '"quantity":"100"', record: ref }] },
  ])
  expect(run.at('check')?.record.causes).toContainEqual({ ref, kind: 'evidence' })
})
