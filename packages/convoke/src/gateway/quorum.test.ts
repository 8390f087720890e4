/** Several people have to agree: all are asked at once, each counts once, one no ends it; all of it on the record. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { tenant, world, type Code, type Driven, type World } from '../../test/gateway/world.ts'
import type { JsonObject } from '../core/json.ts'
import { noLabels } from '../core/labels.ts'
import type { Actor } from '../core/record.ts'
import { approvalsIn } from '../query/approvals.ts'
import { readStream } from '../query/records.ts'
import { policy, type Policy } from '../policy/policy.ts'
import { trustBook, type TrustBook } from '../policy/trust.ts'
import { decideApproval, escalateApproval } from './decisions.ts'
import type { Guardrail } from './guardrail.ts'
import { tool } from './tool.ts'

const sent: string[] = []
const now: {
  policy: Policy | undefined
  starter: Actor | undefined
  trust: TrustBook | undefined
  guardrails: readonly Guardrail[]
} = { policy: undefined, starter: undefined, trust: undefined, guardrails: [] }
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
    get guardrails() {
      return now.guardrails
    },
  })
})
afterAll(() => w.close())
beforeEach(() => {
  sent.length = 0
  Object.assign(now, { policy: undefined, starter: undefined, trust: undefined, guardrails: [] })
})

const mail = tool({
  name: 'mail.send',
  description: 'sends',
  inputSchema: z.object({ to: z.string() }),
  effect: 'unsafe',
  execute: ({ to }) => void sent.push(to),
})
const send =
  (to: string): Code =>
  (r) =>
    r.call(mail, { to })
const three = policy({
  version: '1',
  rules: [
    {
      tool: 'mail.send',
      hold: {
        category: 'mail',
        group: 'press',
        quorum: 3,
        fourEyes: true,
        escalate: [{ group: 'board', afterMs: 1e9 }],
      },
    },
  ],
  groups: { press: ['ada', 'bob', 'cid', 'dan', 'eve'], board: ['zoe', 'eve'] },
})

async function held(code: Code): Promise<{ driven: Driven; id: string }> {
  const driven = await w.run(code, { id: `q${++runs}` })
  expect(driven.result).toBe('parked')
  return { driven, id: (await w.pending(driven.id))[0]!.id }
}
const say = (id: string, by: string, decision: 'approved' | 'rejected' = 'approved', kind: Actor['kind'] = 'person') =>
  decideApproval(w.ledger, { tenant, id, decision, by: { kind, id: by }, at: Date.now() })
const payloads = (driven: Driven, type: string): JsonObject[] =>
  driven.entries.filter((e) => e.record.type === type).map((e) => e.payload)
const row = async (id: string) => w.ledger.approval(tenant, id)

test('all are asked by one question; three answers at once, while nobody drives the run, are enough', async () => {
  now.policy = three
  const code = send('a')
  const { driven, id } = await held(code)
  expect(await w.pending(driven.id)).toMatchObject([{ id, group: 'press', title: 'mail.send (3 people)' }])
  await Promise.all(['ada', 'bob', 'cid'].map((by) => say(id, by)))
  const done = await w.go(code, driven.id)
  expect([done.status, sent]).toEqual(['done', ['a']])
  expect(payloads(done, 'approval.requested')).toHaveLength(1)
  expect(payloads(done, 'approval.decided').map((p) => p['quorum'])).toEqual([
    { have: 1, of: 3 },
    { have: 2, of: 3 },
    { have: 3, of: 3 },
  ])
  expect(await row(id)).toMatchObject({ status: 'approved' })
  const [story] = approvalsIn(await readStream(w.ledger, tenant, `run/${driven.id}`))
  expect(story).toMatchObject({ state: 'approved', quorum: 3 })
  expect(story!.agreed!.map((a) => a.by).sort()).toEqual(['ada', 'bob', 'cid'])
  // Each of them is a cause of what was sent.
  const intent = done.entries.find((e) => e.record.type === 'tool.dispatched')!
  expect(intent.record.causes.filter((c) => c.kind === 'approval')).toHaveLength(3)
})

test('one after the other, the run driven anew in between; it stays open until enough have agreed', async () => {
  now.policy = three
  const code = send('a')
  const { driven, id } = await held(code)
  for (const by of ['ada', 'bob']) {
    await say(id, by)
    expect((await w.go(code, driven.id)).result).toBe('parked')
    expect(await row(id)).toMatchObject({ status: 'pending' })
  }
  expect(sent).toEqual([])
  await say(id, 'cid')
  expect([(await w.go(code, driven.id)).status, sent]).toEqual(['done', ['a']])
})

test('APPROVAL_DECIDED: nobody counts twice; who asked, strangers and agents do not count, and take nothing away', async () => {
  now.policy = three
  now.starter = { kind: 'person', id: 'eve' }
  const code = send('a')
  const { driven, id } = await held(code)
  await say(id, 'ada')
  await expect(say(id, 'ada')).rejects.toMatchObject({ code: 'APPROVAL_DECIDED' })
  await say(id, 'eve')
  await say(id, 'mallory')
  await say(id, 'clerk', 'approved', 'agent')
  // The same person under two kinds is one person.
  await say(id, 'ada', 'approved', 'system')
  const after = await w.go(code, driven.id)
  expect([after.result, sent]).toEqual(['parked', []])
  expect(payloads(after, 'approval.discounted').map((p) => p['problem'])).toEqual([
    'eve asked for it, and may not approve it',
    'mallory is not of group press',
    'clerk is no person, and only people approve',
    'ada has already agreed; somebody else has to',
  ])
  expect(payloads(after, 'approval.requested')).toHaveLength(1)
  expect(await row(id)).toMatchObject({ status: 'pending' })
  await say(id, 'bob')
  await say(id, 'dan')
  expect([(await w.go(code, driven.id)).status, sent]).toEqual(['done', ['a']])
})

test('APPROVAL_REJECTED: one no ends it, also of who asked for it, or of who had agreed', async () => {
  now.policy = three
  now.starter = { kind: 'person', id: 'eve' }
  for (const by of ['bob', 'eve', 'ada']) {
    const code = send('a')
    const { driven, id } = await held(code)
    await say(id, 'ada')
    await say(id, by, 'rejected')
    await say(id, 'cid')
    await say(id, 'dan')
    const done = await w.go(code, driven.id)
    expect([done.error?.code, sent]).toEqual(['APPROVAL_REJECTED', []])
    expect(await row(id)).toMatchObject({ status: 'rejected', decidedBy: by })
  }
})

test('a correction begins anew: it counts for whoever made it, and the others agree to the new action', async () => {
  now.policy = three
  const code = send('a')
  const { driven, id } = await held(code)
  await say(id, 'ada')
  await decideApproval(w.ledger, {
    tenant,
    id,
    decision: 'corrected',
    action: { input: { to: 'b' } },
    by: { kind: 'person', id: 'bob' },
    at: Date.now(),
  })
  expect((await w.go(code, driven.id)).result).toBe('parked')
  const [again] = await w.pending(driven.id)
  expect(again).toMatchObject({ action: { input: { to: 'b' } } })
  await say(again!.id, 'bob')
  await say(again!.id, 'ada')
  const more = await w.go(code, driven.id)
  expect([more.result, sent]).toEqual(['parked', []])
  expect(payloads(more, 'approval.discounted')).toMatchObject([
    { problem: 'bob has already agreed; somebody else has to' },
  ])
  await say(again!.id, 'cid')
  expect([(await w.go(code, driven.id)).status, sent]).toEqual(['done', ['b']])
})

test('passed on to another group, what was agreed stands, and the group that is asked now decides the rest', async () => {
  now.policy = three
  const code = send('a')
  const { driven, id } = await held(code)
  await say(id, 'ada')
  await say(id, 'zoe')
  expect((await w.go(code, driven.id)).result).toBe('parked')
  expect(await escalateApproval(w.ledger, { tenant, id, by: { kind: 'person', id: 'ada' }, at: Date.now() })).toEqual({
    group: 'board',
  })
  await say(id, 'zoe')
  await say(id, 'bob')
  const after = await w.go(code, driven.id)
  expect(payloads(after, 'approval.discounted').map((p) => p['problem'])).toEqual([
    'zoe is not of group press',
    'bob is not of group board',
  ])
  await say(id, 'eve')
  expect([(await w.go(code, driven.id)).status, sent]).toEqual(['done', ['a']])
})

test('APPROVAL_EXPIRED: too few in time is nobody in time', async () => {
  now.policy = policy({
    version: '1',
    rules: [{ tool: 'mail.send', hold: { category: 'mail', quorum: 2, expiresMs: 300 } }],
  })
  const code = send('a')
  const driven = await w.run(code, { id: `q${++runs}` })
  const [asked] = await w.pending(driven.id)
  if (asked !== undefined) await say(asked.id, 'ada').catch(() => undefined)
  for (let i = 0; i < 200 && (await w.ledger.run({ tenant, stream: `run/${driven.id}` }))?.status === 'parked'; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    await w.go(code, driven.id)
  }
  const records = await w.records(driven.id)
  expect(records.some((e) => e.record.type === 'approval.expired')).toBe(true)
  expect(sent).toEqual([])
})

test('of two rules about a group the stricter counts, whichever stands first', async () => {
  const lax = { tool: 'mail.send', hold: { category: 'mail', group: 'press' } }
  const strict = { tool: 'mail.*', hold: { category: 'mail', group: 'press', quorum: 2, fourEyes: true } }
  for (const rules of [
    [lax, strict],
    [strict, lax],
  ]) {
    now.policy = policy({ version: '1', rules })
    now.starter = { kind: 'person', id: 'eve' }
    const code = send('a')
    const { driven, id } = await held(code)
    await say(id, 'eve')
    await say(id, 'ada')
    expect([(await w.go(code, driven.id)).result, sent]).toEqual(['parked', []])
    await say(id, 'bob')
    expect([(await w.go(code, driven.id)).status, sent]).toEqual(['done', ['a']])
    sent.length = 0
  }
})

test('an answer that a guardrail holds needs as many people as its category says', async () => {
  now.policy = policy({ version: '1', rules: [], categories: { leak: { group: 'press', quorum: 2 } } })
  now.guardrails = [
    {
      name: 'look',
      tools: 'mail.send',
      after: () => ({ ask: 'odd', category: 'leak' }),
    },
  ]
  const code = send('a')
  const { driven, id } = await held(code)
  expect(sent).toEqual(['a'])
  await say(id, 'ada')
  expect((await w.go(code, driven.id)).result).toBe('parked')
  await say(id, 'bob')
  expect([(await w.go(code, driven.id)).status, sent]).toEqual(['done', ['a']])
})

test('trust counts a question once, when enough have agreed, and a no after a yes takes it back', async () => {
  let salt = 0
  now.trust = trustBook(w.ledger, tenant, { now: () => Date.now() }, () => String(++salt).padStart(32, '0'))
  now.policy = policy({
    version: '1',
    rules: [{ tool: 'mail.send', hold: { category: 'bulk', quorum: 2 } }],
    categories: { bulk: { trust: { after: 9 } } },
  })
  const code = send('a')
  const first = await held(code)
  await say(first.id, 'ada')
  await w.go(code, first.driven.id)
  expect(await now.trust.standing('bulk')).toMatchObject({ approvals: 0 })
  await say(first.id, 'bob')
  await w.go(code, first.driven.id)
  expect(await now.trust.standing('bulk')).toMatchObject({ approvals: 1 })
  const second = await held(code)
  await say(second.id, 'ada')
  await w.go(code, second.driven.id)
  await say(second.id, 'bob', 'rejected')
  await w.go(code, second.driven.id)
  expect(await now.trust.standing('bulk')).toMatchObject({ approvals: 0 })
})

test('what an earlier version asked one after the other goes on: its yes counts', async () => {
  const { fold } = await import('./state.ts')
  const entry = (seq: number, type: string, payload: JsonObject, by = 'flow') => ({
    payload,
    record: { stream: 'run/x', seq, type, at: seq, actor: { kind: 'person', id: by }, labels: noLabels },
  })
  const asked = (seq: number, id: string, hold: string) =>
    entry(seq, 'approval.requested', { id, kind: 'call', hold, actionHash: 'h', policyVersion: '1' })
  const yes = (seq: number, id: string, by: string) =>
    entry(seq, 'approval.decided', { id, decision: 'approved', actionHash: 'h' }, by)
  const s = fold([
    asked(1, 'a', 'call/mail/press'),
    yes(2, 'a', 'ada'),
    asked(3, 'b', 'call/mail/press#2'),
    yes(4, 'b', 'bob'),
  ] as never)
  expect(s.open).toBeUndefined()
  expect(s.grants.map((g) => [g.hold, g.by])).toEqual([
    ['call/mail/press', 'ada'],
    ['call/mail/press', 'bob'],
  ])
})
