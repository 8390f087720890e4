import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { counterpart, type Counterpart } from '../../test/gateway/counterpart.ts'
import { payTool } from '../../test/gateway/tools.ts'
import { person, tenant, world, type Code, type World } from '../../test/gateway/world.ts'
import type { ApprovalRow } from '../core/projections.ts'
import { inboxStream } from '../core/projections.ts'
import { decideApproval, escalateApproval } from './decisions.ts'
import { policy, type Policy } from '../policy/policy.ts'

const limits = policy({
  version: '7',
  rules: [
    {
      tool: 'erp.*',
      when: (input) => Number((input as { amount: string }).amount) > 100,
      hold: { category: 'payment', group: 'finance' },
    },
  ],
})

let erp: Counterpart
let w: World
/** Read at every call, so that a test can play an upgrade. */
const now: { policy: Policy | undefined } = { policy: limits }

beforeAll(async () => {
  w = await world({
    get policy() {
      return now.policy
    },
  })
})
afterAll(() => w.close())
beforeEach(async () => {
  now.policy = limits
  erp = await counterpart({ honoursKeys: true })
})
afterEach(() => erp.close())

const paying =
  (amount: string, options: object = {}): Code =>
  (run) =>
    run.call(payTool(erp.url, 'keyed'), { amount }, options)

async function asked(run: string): Promise<ApprovalRow> {
  const rows = await w.pending(run)
  expect(rows).toHaveLength(1)
  return rows[0]!
}

describe('R10 approvals are bound to the exact action', () => {
  test('a call under the limit is not held; one above it waits, shown from the gateway’s bytes', async () => {
    expect((await w.run(paying('100'))).value).toEqual({ id: 1 })
    const code = paying('100.01', { businessKey: 'INV-1' })
    const held = await w.run(code)
    expect(held.status).toBe('parked')
    expect(erp.effects).toHaveLength(1)
    const row = await asked(held.id)
    expect(row).toMatchObject({
      kind: 'call',
      title: 'erp.pay INV-1',
      category: 'payment',
      group: 'finance',
      action: { tool: 'erp.pay', version: '1', input: { amount: '100.01' }, businessKey: 'INV-1' },
    })
    await w.decide(row.id, { decision: 'approved', reason: 'fine' })
    const done = await w.go(code, held.id)
    expect(done.value).toEqual({ id: 2 })
    expect(done.types('erp.pay')).toEqual([
      'approval.requested',
      'approval.decided',
      'tool.dispatched',
      'step.completed',
    ])
    const [, decided, dispatched] = done.entries.filter((e) => e.record.path === 'erp.pay')
    expect(decided?.record.actor).toEqual(person)
    expect(dispatched?.record.causes).toContainEqual({
      ref: `${decided!.record.stream}@${decided!.record.seq}`,
      kind: 'approval',
    })
  })

  test('APPROVAL_REJECTED: the reason reaches the caller and nothing happens', async () => {
    const code = paying('500')
    const held = await w.run(code)
    await w.decide((await asked(held.id)).id, { decision: 'rejected', reason: 'wrong vendor' })
    const done = await w.go(code, held.id)
    expect(done.error).toMatchObject({ code: 'APPROVAL_REJECTED', details: { by: 'ada', reason: 'wrong vendor' } })
    expect(erp.requests).toHaveLength(0)
  })

  test('APPROVAL_DECIDED: of fifty decisions at once one counts', async () => {
    const code = paying('500')
    const held = await w.run(code)
    const { id } = await asked(held.id)
    const all = await Promise.allSettled(
      Array.from({ length: 50 }, (_, i) =>
        decideApproval(w.ledger, {
          tenant,
          id,
          decision: i % 2 === 0 ? 'approved' : 'rejected',
          by: { kind: 'person', id: `p${i}` },
          at: Date.now(),
        }),
      ),
    )
    expect(all.filter((r) => r.status === 'fulfilled')).toHaveLength(1)
    for (const r of all)
      if (r.status === 'rejected') expect((r.reason as { code: string }).code).toBe('APPROVAL_DECIDED')
    const winner = all.findIndex((r) => r.status === 'fulfilled')
    const done = await w.go(code, held.id)
    expect(erp.effects).toHaveLength(winner % 2 === 0 ? 1 : 0)
    expect(done.types('erp.pay').filter((t) => t === 'approval.decided')).toHaveLength(1)
    await expect(w.decide(id, { decision: 'approved' })).rejects.toMatchObject({ code: 'APPROVAL_DECIDED' })
  })

  test('APPROVAL_UNKNOWN, and SCOPE_DENIED for a group that is not asked', async () => {
    await expect(w.decide('ap_nothing', { decision: 'approved' })).rejects.toMatchObject({ code: 'APPROVAL_UNKNOWN' })
    const held = await w.run(paying('500'))
    const { id } = await asked(held.id)
    await expect(w.decide(id, { decision: 'approved', group: 'legal' })).rejects.toMatchObject({ code: 'SCOPE_DENIED' })
    await expect(w.decide(id, { decision: 'corrected' })).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })

  test('a correction is a new action by the person, checked again, under a new idempotency key', async () => {
    const code = paying('500')
    const held = await w.run(code)
    const { id } = await asked(held.id)
    await w.decide(id, { decision: 'corrected', action: { input: { amount: '450' } } })
    const done = await w.go(code, held.id)
    expect(done.value).toEqual({ id: 1 })
    expect(erp.effects[0]!.body).toEqual({ amount: '450' })
    const corrected = done.entries.find((e) => e.record.type === 'action.corrected')!
    expect(corrected.record.actor).toEqual(person)
    expect(corrected.payload).toMatchObject({
      generation: 1,
      diff: [{ pointer: '/input/amount', before: '500', after: '450' }],
    })
  })

  test('a correction that does not fit is asked again, with what is wrong', async () => {
    const code = paying('500')
    const held = await w.run(code)
    const first = await asked(held.id)
    await w.decide(first.id, { decision: 'corrected', action: { input: { amount: 450 } } })
    const again = await w.go(code, held.id)
    expect(again.status).toBe('parked')
    const second = await asked(held.id)
    expect(second.id).not.toBe(first.id)
    const question = again.entries.findLast((e) => e.record.type === 'approval.requested')!
    expect(question.payload['problem']).toMatch(/\/amount/)
    await w.decide(second.id, { decision: 'approved' })
    await w.go(code, held.id)
    expect(erp.effects.map((e) => e.body)).toEqual([{ amount: '500' }])
  })

  test('arguments that change between approval and execution are never executed', async () => {
    const input = { amount: '500' }
    const code: Code = (run) => {
      const call = run.call(payTool(erp.url, 'keyed'), input)
      input.amount = '9999'
      return call
    }
    const held = await w.run(code)
    expect((await asked(held.id)).action).toMatchObject({ input: { amount: '500' } })
    await w.decide((await asked(held.id)).id, { decision: 'approved' })
    const changed = await w.go(code, held.id)
    expect(changed.error?.code ?? changed.status).toBe('REPLAY_DIVERGED')
    expect(erp.requests).toHaveLength(0)
    input.amount = '500'
    const done = await w.go(code, held.id)
    expect(done.status).toBe('done')
    expect(erp.effects.map((e) => e.body)).toEqual([{ amount: '500' }])
  })

  test('APPROVAL_MISMATCH: a decision about other bytes decides nothing, and it is asked again', async () => {
    const code = paying('500')
    const held = await w.run(code)
    const { id } = await asked(held.id)
    await expect(w.decide(id, { decision: 'approved', actionHash: 'f00' })).rejects.toMatchObject({
      code: 'APPROVAL_MISMATCH',
    })
    // Past the checks of this library, as a forged message would be.
    await w.ledger.post(
      { tenant, stream: inboxStream(held.id) },
      {
        id: `approval:${id}`,
        type: 'approval.decided',
        at: Date.now(),
        actor: person,
        payload: { id, decision: 'approved', actionHash: 'f00' },
      },
    )
    const again = await w.go(code, held.id)
    expect(again.status).toBe('parked')
    expect(again.entries.find((e) => e.record.type === 'approval.withdrawn')?.payload).toMatchObject({
      id,
      code: 'APPROVAL_MISMATCH',
    })
    expect(erp.requests).toHaveLength(0)
    await w.decide((await asked(held.id)).id, { decision: 'approved' })
    expect((await w.go(code, held.id)).value).toEqual({ id: 1 })
  })

  test('a new version of the policy asks anew, also for what was granted and not yet done', async () => {
    const code = paying('500')
    const held = await w.run(code)
    const first = await asked(held.id)
    await w.decide(first.id, { decision: 'approved' })
    now.policy = policy({ ...limits, version: '8' })
    const again = await w.go(code, held.id)
    expect(again.status).toBe('parked')
    expect(erp.requests).toHaveLength(0)
    const second = await asked(held.id)
    expect(second.id).not.toBe(first.id)
    await w.decide(second.id, { decision: 'approved' })
    expect((await w.go(code, held.id)).value).toEqual({ id: 1 })
  })

  test('the option of a call holds it as a rule would, and an approval is asked once for both', async () => {
    const code = paying('500', { approval: 'payment' })
    const held = await w.run(code)
    await w.decide((await asked(held.id)).id, { decision: 'approved' })
    expect((await w.go(code, held.id)).status).toBe('done')
    const mail = paying('1', { approval: 'external-communication' })
    const other = await w.run(mail)
    expect(await asked(other.id)).toMatchObject({ category: 'external-communication' })
  })
})

describe('R10 deadlines and escalation', () => {
  const chain = (expiresMs: number): Policy =>
    policy({
      version: '1',
      rules: [
        {
          tool: '*',
          hold: { category: 'payment', group: 'finance', expiresMs, escalate: [{ group: 'board', afterMs: 40 }] },
        },
      ],
    })

  test('APPROVAL_EXPIRED: escalated to the next group, then given up', async () => {
    now.policy = chain(150)
    const done = await w.run(paying('1'))
    expect(done.error?.code).toBe('APPROVAL_EXPIRED')
    expect(done.types('erp.pay')).toEqual([
      'approval.requested',
      'approval.escalated',
      'approval.expired',
      'step.failed',
    ])
    expect(erp.requests).toHaveLength(0)
    const [row] = await w.ledger.approvals({ tenant, run: done.id })
    expect(row).toMatchObject({ status: 'expired', group: 'board' })
    await expect(w.decide(row!.id, { decision: 'approved' })).rejects.toMatchObject({ code: 'APPROVAL_DECIDED' })
  })

  test('a person may escalate, and the other group decides', async () => {
    now.policy = policy({
      version: '1',
      rules: [
        { tool: '*', hold: { category: 'payment', group: 'finance', escalate: [{ group: 'board', afterMs: 1e9 }] } },
      ],
    })
    const code = paying('1')
    const held = await w.run(code)
    const { id } = await asked(held.id)
    expect(await escalateApproval(w.ledger, { tenant, id, by: person, at: Date.now() })).toEqual({ group: 'board' })
    expect(await asked(held.id)).toMatchObject({ status: 'pending', group: 'board' })
    const waiting = await w.go(code, held.id)
    expect(waiting.types('erp.pay')).toEqual(['approval.requested', 'approval.escalated'])
    await expect(escalateApproval(w.ledger, { tenant, id, by: person, at: Date.now() })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
    })
    await w.decide(id, { decision: 'approved', group: 'board' })
    expect((await w.go(code, held.id)).status).toBe('done')
  })

  test('an approval that was given in time is not used after its expiry', async () => {
    now.policy = policy({ version: '1', rules: [{ tool: '*', hold: { category: 'payment', expiresMs: 5_000 } }] })
    const code = paying('1')
    const held = await w.run(code)
    await w.decide((await asked(held.id)).id, { decision: 'approved' })
    const late = await world(
      { policy: now.policy },
      {
        dir: w.dir,
        clock: { now: () => Date.now() + 60_000, monotonic: () => performance.now(), sleep: async () => {} },
      },
    )
    const done = await late.go(code, held.id)
    await late.close()
    expect(done.error?.code).toBe('APPROVAL_EXPIRED')
    expect(erp.requests).toHaveLength(0)
  })
})

describe('questions to a person', () => {
  const question: Code = (run) =>
    run.decide('terms', {
      question: 'Which terms?',
      schema: z.object({ days: z.number().int() }),
      show: { vendor: 'ACME' },
      to: 'finance',
    })

  test('R10 an answer is checked; one that does not fit is asked again', async () => {
    const fresh = await world()
    const held = await fresh.run(question)
    const [first] = await fresh.pending(held.id)
    expect(first).toMatchObject({
      kind: 'decision',
      title: 'Which terms?',
      group: 'finance',
      action: { question: 'Which terms?', show: { vendor: 'ACME' } },
    })
    await fresh.decide(first!.id, { decision: 'approved', value: { days: 'soon' } })
    const again = await fresh.go(question, held.id)
    expect(again.status).toBe('parked')
    const [second] = await fresh.pending(held.id)
    await fresh.decide(second!.id, { decision: 'approved', value: { days: 30 } })
    const done = await fresh.go(question, held.id)
    expect(done.value).toEqual({ days: 30 })
    await fresh.close()
  })

  test('approve answers yes and no; a scope that is given up withdraws its question', async () => {
    const fresh = await world()
    const yesNo: Code = (run) => run.approve('send', { show: 'the draft' })
    const held = await fresh.run(yesNo)
    await fresh.decide((await fresh.pending(held.id))[0]!.id, { decision: 'rejected', reason: 'too rude' })
    expect((await fresh.go(yesNo, held.id)).value).toEqual({ approved: false, by: 'ada', reason: 'too rude' })

    const raced = await fresh.run((run) =>
      run.race('first', {
        ask: (r: typeof run) => r.approve('send'),
        time: (r: typeof run) => r.sleep(30).then(() => null),
      }),
    )
    expect(raced.status).toBe('done')
    const rows = await fresh.ledger.approvals({ tenant, run: raced.id })
    expect(rows.map((r) => r.status)).toEqual(['withdrawn'])
    await fresh.close()
  })
})

describe('large actions', () => {
  test('R10 an action beyond 32 KiB stands in a blob, in the approval and in the intent', async () => {
    now.policy = undefined
    const amount = '1'.repeat(70_000)
    const code = paying(amount, { approval: 'payment' })
    const held = await w.run(code)
    const row = await asked(held.id)
    const { $blob } = row.action as { $blob: string }
    const bytes = await w.ledger.getBlob(tenant, $blob)
    expect(JSON.parse(Buffer.from(bytes!).toString())).toEqual({ tool: 'erp.pay', version: '1', input: { amount } })
    await w.decide(row.id, { decision: 'approved' })
    erp.plan('lost')
    expect((await w.go(code, held.id)).value).toEqual({ id: 1 })
    expect(erp.requests.map((r) => (r.body as { amount: string }).amount.length)).toEqual([70_000, 70_000])
  })
})
