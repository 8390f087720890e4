import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { agent } from '../../src/agents/define.ts'
import { judgedBy, person } from '../../src/agents/verifier.ts'
import { role } from '../../src/contracts/role.ts'
import { world, type Code, type World } from './world.ts'

const draft = z.object({ text: z.string() })
const writing = role({ name: 'writing', input: z.object({ to: z.string() }), output: draft })
const compliance = role({
  name: 'compliance',
  input: draft,
  output: z.object({ ok: z.boolean(), problems: z.array(z.string()).optional() }),
})
const grading = role({
  name: 'grading',
  input: z.object({ essay: z.string() }),
  output: z.object({ grade: z.number() }),
})

let w: World
beforeAll(async () => {
  w = await world({
    agents: [
      agent({ role: writing, name: 'plain', run: async (_, { to }) => ({ text: `${to}, order PO-0` }) }),
      agent({ role: writing, name: 'careful', run: async (_, { to }) => ({ text: `${to}, order PO-7` }) }),
      agent({
        role: compliance,
        run: async (_, { text }) => (text.includes('PO-7') ? { ok: true } : { ok: false, problems: ['wrong order'] }),
      }),
      agent({ role: grading, run: async (_, { essay }) => ({ grade: essay.length }) }),
    ],
  })
})
afterAll(() => w.close())

test('a role judges an outcome; the verdict is a record that builds on it', async () => {
  const run = await w.run(async (r) => {
    const plain = await r.ask(writing, { to: 'Ada' })
    const careful = await r.ask(writing, { to: 'Ada' }, { agent: 'careful' })
    return [await r.verify('check', plain, compliance), await r.verify('check', careful, compliance)]
  })
  expect(run.value).toEqual([
    { ok: false, problems: ['wrong order'], by: 'compliance' },
    { ok: true, problems: [], by: 'compliance' },
  ])
  const judged = `run/${run.id}@${run.at('writing')!.record.seq}`
  expect(run.at('check')!.record.causes.map((c) => c.ref)).toContain(judged)
  expect(run.at('check/compliance')).toBeDefined()
})

test('code judges, in any of its words; a role with shapes of its own is read as told', async () => {
  const run = await w.run(async (r) => {
    const graded = judgedBy({
      role: grading,
      input: (value: { text: string }) => ({ essay: value.text }),
      verdict: ({ grade }: { grade: number }) => ({ ok: grade > 3, problems: grade > 3 ? [] : ['too short'] }),
    })
    const value = { text: 'abc' }
    return [
      await r.verify('a', value, ({ text }) => text === 'abc'),
      await r.verify('b', value, () => ['one', 'two']),
      await r.verify('c', value, () => ''),
      await r.verify('d', value, graded),
    ]
  })
  expect((run.value as { ok: boolean; problems: string[] }[]).map((v) => [v.ok, v.problems])).toEqual([
    [true, []],
    [false, ['one', 'two']],
    [true, []],
    [false, ['too short']],
  ])
})

test('VERIFICATION_FAILED with must rolls an attempt back; attempt itself takes the same verifiers', async () => {
  const run = await w.run(async (r) => {
    const must = await r.attempt('must', {
      plain: async (b) => {
        const outcome = await b.ask(writing, { to: 'Ada' })
        await b.verify('check', outcome, compliance, { must: true })
        return outcome
      },
      careful: (b) => b.ask(writing, { to: 'Ada' }, { agent: 'careful' }),
    })
    const hooked = await r.attempt(
      'hooked',
      {
        plain: (b) => b.ask(writing, { to: 'Ada' }),
        careful: (b) => b.ask(writing, { to: 'Ada' }, { agent: 'careful' }),
      },
      { verify: compliance },
    )
    return [must.agent, hooked.agent]
  })
  expect(run.error).toBeUndefined()
  expect(run.value).toEqual(['careful', 'careful'])
  expect(JSON.stringify(run.all('attempt.rolledback').map((e) => e.payload))).toContain('wrong order')
})

test('a person judges: the run parks, sees the value, and goes on with the decision', async () => {
  const code: Code = (r) =>
    r.verify('release', { text: 'Dear Ada' }, person({ question: 'May this go out?', to: 'managers' }))
  const parked = await w.run(code, 'asks-a-person')
  expect(parked.status).toBe('parked')
  const [approval] = await w.ledger.approvals({ tenant: 'acme', status: 'pending', run: 'asks-a-person' })
  expect(approval).toMatchObject({
    group: 'managers',
    action: { question: 'May this go out?', show: { text: 'Dear Ada' } },
  })
  await w.decide(approval!.id, { decision: 'rejected', reason: 'too friendly' })
  const run = await w.go(code, 'asks-a-person')
  expect(run.value).toEqual({ ok: false, problems: ['too friendly'], by: 'managers' })
})
