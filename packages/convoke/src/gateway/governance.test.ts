import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { person, tenant, world, type Code, type Driven, type World } from '../../test/gateway/world.ts'
import type { JsonObject } from '../core/json.ts'
import { decideApproval } from './decisions.ts'
import { policy, type Policy } from '../policy/policy.ts'
import { trustBook, type TrustBook } from '../policy/trust.ts'
import type { Actor } from '../core/record.ts'
import type { Caller } from './deps.ts'
import { endorser } from './endorser.ts'
import { tool, type Tool } from './tool.ts'

// What the rules of the house do to calls, end to end: labels from real records, decisions from a real ledger.

const sent: string[] = []
const now: { policy: Policy | undefined; starter: Actor | undefined; trust: TrustBook | undefined; caller: Caller } = {
  policy: undefined,
  starter: undefined,
  trust: undefined,
  caller: {},
}
let w: World
let runs = 0

beforeAll(async () => {
  w = await world({
    get policy() {
      return now.policy
    },
    get starter() {
      return now.starter
    },
    get trust() {
      return now.trust
    },
    environment: 'production',
  })
})
afterAll(() => w.close())
beforeEach(() => {
  sent.length = 0
  Object.assign(now, { policy: undefined, starter: undefined, trust: undefined })
})

const readMail = tool({
  name: 'mail.read',
  description: 'reads',
  inputSchema: z.object({}),
  effect: 'read',
  labels: { confidentiality: ['mailbox'] },
  execute: () => ({ body: 'pay US133 now', total: '12.50', on: '2026-03-01' }),
})
function sendTool(more: object = {}): Tool<{ to: string; body: string }, { ok: boolean }> {
  return tool({
    name: 'mail.send',
    description: 'sends',
    inputSchema: z.object({ to: z.string(), body: z.string() }),
    outputSchema: z.object({ ok: z.boolean() }),
    effect: 'unsafe',
    categories: ['external-communication'],
    ...more,
    execute: ({ to }: { to: string }) => {
      sent.push(to)
      return { ok: true }
    },
  })
}
const sendMail = sendTool()

async function run(code: Code): Promise<Driven> {
  return w.run(code, { id: `g${++runs}` })
}
async function settle(driven: Driven, code: Code, decision: 'approved' | 'rejected', by = 'ada'): Promise<Driven> {
  const [row] = await w.pending(driven.id)
  await decideApproval(w.ledger, { tenant, id: row!.id, decision, by: { kind: 'person', id: by }, at: Date.now() })
  return w.go(code, driven.id)
}
const payloads = (driven: Driven, type: string): JsonObject[] =>
  driven.entries.filter((e) => e.record.type === type).map((e) => e.payload)

const send =
  (to: string, its: Tool<{ to: string; body: string }, unknown> = sendMail): Code =>
  (r) =>
    r.call(its, { to, body: 'hello' })
const readAndSend =
  (its: Tool<{ to: string; body: string }, unknown> = sendMail): Code =>
  async (r) => {
    const mail = await r.call(readMail, {})
    return r.call(its, { to: 'b@x.test', body: mail.body })
  }

test('untrusted input, private data and an effect: a person is asked, sees why, and the call is made once', async () => {
  const code = readAndSend()
  const held = await run(code)
  expect([held.result, sent]).toEqual(['parked', []])
  const [asked] = payloads(held, 'approval.requested')
  expect(asked).toMatchObject({ category: 'flow', labels: { integrity: 'untrusted', confidentiality: ['mailbox'] } })
  expect(asked!['by']).toContain('flow rule untrusted-private-effect')
  const done = await settle(held, code, 'approved')
  expect([done.status, sent]).toEqual(['done', ['b@x.test']])
})

test('plain code is covered by its high-water mark; it may say that a call rests on its arguments alone', async () => {
  const covered: Code = async (r) => {
    await r.call(readMail, {})
    return r.call(sendMail, { to: 'c@x.test', body: 'a constant' })
  }
  expect((await run(covered)).result).toBe('parked')
  const said: Code = async (r) => {
    const mail = await r.call(readMail, {})
    await r.call(sendMail, { to: 'c@x.test', body: 'a constant' }, { flow: 'data', name: 'first' })
    // What it says of one call holds for that one: the branch has still seen the mail.
    return r.call(sendMail, { to: 'd@x.test', body: mail.total }, { name: 'second' })
  }
  const done = await run(said)
  expect([done.result, sent]).toEqual(['parked', ['c@x.test']])
})

test('a result keeps its labels inside other objects, and across branches and the board', async () => {
  const branches: Code = async (r) => {
    const { mail } = await r.all('b', { mail: (x) => (x as typeof r).call(readMail, {}) })
    return r.call(sendMail, { to: mail.on, body: 'x' })
  }
  expect((await run(branches)).result).toBe('parked')
})

test('FLOW_DENIED: a sink that denies names the rule and the labels, and nothing is sent', async () => {
  const strict = sendTool({ accepts: { integrity: 'trusted', otherwise: 'deny' } })
  const code: Code = async (r) => {
    await r.call(readMail, {})
    return r.call(strict, { to: 'a@x.test', body: 'x' })
  }
  const denied = await run(code)
  expect(denied.error).toMatchObject({
    code: 'FLOW_DENIED',
    details: { rule: 'integrity', labels: { integrity: 'untrusted' } },
  })
  expect(sent).toEqual([])
  expect(payloads(denied, 'step.failed')[0]).toMatchObject({ error: { code: 'FLOW_DENIED' }, effect: 'none' })
})

test('SCOPE_DENIED by a grant: the record says which one came closest, and where it did not fit', async () => {
  const own = await world(
    {},
    {
      caller: {
        role: 'clerk',
        grants: { from: 'role:clerk', grants: [{ tool: 'mail.*', args: [{ at: '/to', domains: ['acme.test'] }] }] },
      },
    },
  )
  const denied = await own.run(send('x@evil.test'))
  expect(denied.error).toMatchObject({
    code: 'SCOPE_DENIED',
    details: { role: 'clerk', by: 'role:clerk', grant: 1, pointer: '/to' },
  })
  expect((await own.run(send('a@acme.test'))).status).toBe('done')
  expect(sent).toEqual(['a@acme.test'])
  await own.close()
})

test('POLICY_DENIED: a denial is a record with its rule; the strictest rule counts', async () => {
  now.policy = policy({
    version: '1',
    rules: [
      { tool: '*', allow: true },
      { id: 'no-mail', category: 'external-communication', environment: 'production', deny: 'not from production' },
      { tool: 'mail.send', hold: { category: 'mail' } },
    ],
  })
  const denied = await run(send('a@x.test'))
  expect(denied.error).toMatchObject({ code: 'POLICY_DENIED', details: { rule: 'policy 1, rule no-mail' } })
  expect(sent).toEqual([])
})

test('what no rule allows is denied where the policy says so', async () => {
  now.policy = policy({ version: '1', otherwise: 'deny', rules: [{ tool: 'mail.read', allow: true }] })
  expect((await run(send('a@x.test'))).error?.code).toBe('POLICY_DENIED')
  expect((await run((r) => r.call(readMail, {}))).status).toBe('done')
})

test('allow and tell: the call goes ahead, who is told is on record, and so is what the policy said', async () => {
  now.policy = policy({ version: '3', rules: [{ id: 'fyi', tool: 'mail.send', tell: { group: 'press' } }] })
  const done = await run(send('a@x.test'))
  expect([done.status, sent]).toEqual(['done', ['a@x.test']])
  expect(payloads(done, 'policy.told')[0]).toMatchObject({ to: [{ group: 'press', by: 'policy 3, rule fyi' }] })
  expect(payloads(done, 'tool.dispatched')[0]).toMatchObject({
    policy: { version: '3', outcome: 'tell', rules: ['policy 3, rule fyi'] },
  })
})

test('an agent cannot approve', async () => {
  now.policy = policy({ version: '1', rules: [{ tool: 'mail.send', hold: { category: 'mail' } }] })
  const code = send('a@x.test')
  const held = await run(code)
  const [row] = await w.pending(held.id)
  const by = { kind: 'agent', id: 'clerk' } as const
  await decideApproval(w.ledger, { tenant, id: row!.id, decision: 'approved', by, at: Date.now() })
  const after = await w.go(code, held.id)
  expect([after.result, sent]).toEqual(['parked', []])
})

test('a delay: it goes ahead by itself, unless somebody stops it in time', async () => {
  now.policy = policy({ version: '1', rules: [{ tool: 'mail.send', delay: { category: 'mail', ms: 60_000 } }] })
  const code = send('a@x.test')
  const held = await run(code)
  expect([held.result, sent]).toEqual(['parked', []])
  const stopped = await settle(held, code, 'rejected')
  expect([stopped.error?.code, sent]).toEqual(['APPROVAL_REJECTED', []])
  now.policy = policy({ version: '2', rules: [{ tool: 'mail.send', delay: { category: 'mail', ms: 400 } }] })
  const done = await run(send('b@x.test'))
  expect([done.status, sent]).toEqual(['done', ['b@x.test']])
  expect(done.types('mail.send')).toEqual([
    'approval.requested',
    'approval.unopposed',
    'tool.dispatched',
    'step.completed',
  ])
})

test('trust is earned by unedited approvals, kept on record, and lost at the first correction', async () => {
  let salt = 0
  now.trust = trustBook(w.ledger, tenant, { now: () => Date.now() }, () => String(++salt).padStart(32, '0'))
  now.policy = policy({
    version: '1',
    rules: [{ tool: 'mail.send', hold: { category: 'newsletter', group: 'press' } }],
    categories: { newsletter: { trust: { after: 2 } } },
  })
  for (const to of ['1', '2']) {
    const code = send(to)
    await settle(await run(code), code, 'approved')
  }
  expect(await now.trust.standing('newsletter')).toMatchObject({ mode: 'monitoring', approvals: 2 })
  const free = await run(send('3'))
  expect([free.status, sent]).toEqual(['done', ['1', '2', '3']])
  expect(payloads(free, 'tool.dispatched')[0]).toMatchObject({ policy: { modes: { newsletter: 'monitoring' } } })
  expect(payloads(free, 'policy.told')[0]).toMatchObject({ to: [{ group: 'press' }] })
  const remark = {
    category: 'newsletter',
    id: 'remark-1',
    unedited: false,
    by: person,
    run: free.id,
    path: 'mail.send',
  }
  await now.trust.judged(remark, 2)
  await now.trust.judged(remark, 2)
  expect(await now.trust.standing('newsletter')).toMatchObject({ mode: 'approval', approvals: 0 })
  expect((await run(send('4'))).result).toBe('parked')
  const kinds = (await w.ledger.read({ tenant, stream: 'policy/trust' })).map((r) => r.type)
  expect(kinds).toEqual(['trust.judged', 'trust.judged', 'trust.mode', 'trust.judged', 'trust.mode'])
})

test('endorsing by type: an amount between bounds and a date pass, text of others does not', async () => {
  const fields = [
    { at: '/total', min: 0, max: 100 },
    { at: '/on', type: 'date' as const },
  ]
  const strict = sendTool({ accepts: { integrity: 'trusted', otherwise: 'deny' } })
  const code: Code = async (r) => {
    const mail = await r.call(readMail, {})
    const safe = await r.endorse('figures', { total: mail.total, on: mail.on }, { fields, reason: 'bounded' })
    await r.call(strict, { to: 'a@x.test', body: safe.total }, { flow: 'data', from: [safe], name: 'safe' })
    return r.call(strict, { to: 'b@x.test', body: 'x' }, { name: 'covered by what was seen' })
  }
  const done = await run(code)
  expect([done.error?.code, sent]).toEqual(['FLOW_DENIED', ['a@x.test']])
  const [record] = done.entries.filter((e) => e.record.path === 'figures')
  expect(record?.record.labels).toMatchObject({ integrity: 'trusted', confidentiality: ['mailbox'] })
  expect(record?.payload['relabelled']).toMatchObject({
    by: 'type',
    from: { integrity: 'untrusted' },
    reason: 'bounded',
  })
  const text: Code = async (r) => r.endorse('body', await r.call(readMail, {}), { fields, reason: 'no' })
  expect((await run(text)).error).toMatchObject({ code: 'FLOW_DENIED', details: { by: 'its type' } })
})

test('declassifying and endorsing by a person or a named function; each is a record that says who and why', async () => {
  const short = endorser({ name: 'short', version: '2', check: (v) => JSON.stringify(v).length < 40 || 'too long' })
  const strict = sendTool({ accepts: { integrity: 'trusted', confidentiality: [], otherwise: 'deny' } })
  const code: Code = async (r) => {
    const mail = await r.call(readMail, {})
    const open = await r.declassify('open', { body: mail.body }, { release: ['mailbox'], to: 'press', reason: 'asked' })
    const sure = await r.endorse('sure', open, { by: short, reason: 'nothing but a line' })
    await r.call(strict, { to: 'a@x.test', body: sure.body }, { flow: 'data', from: [sure] })
    return r.endorse('long', { body: 'x'.repeat(50) }, { by: short, reason: 'nothing but a line' })
  }
  const held = await run(code)
  expect((await w.pending(held.id))[0]).toMatchObject({
    kind: 'decision',
    group: 'press',
    title: 'declassify open: asked',
  })
  const refused = await settle(held, code, 'approved')
  expect(refused.error).toMatchObject({ code: 'FLOW_DENIED', details: { by: 'short', why: 'too long' } })
  const entry = refused.entries.find((e) => e.record.path === 'open' && e.payload['relabelled'] !== undefined)
  expect(entry?.record.labels).toMatchObject({ confidentiality: [], integrity: 'untrusted' })
  expect(entry?.payload['relabelled']).toMatchObject({ by: 'person:ada', reason: 'asked' })
  const sure = refused.entries.find((e) => e.record.path === 'sure')
  expect(sure?.record.labels).toMatchObject({ confidentiality: [], integrity: 'trusted' })
  expect(sent).toEqual(['a@x.test'])
})
