import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { agent } from '../agents/define.ts'
import { answer } from '../agents/answer.ts'
import { attemptVerifier } from '../agents/agent-run.ts'
import type { App } from '../app/app.ts'
import { signal, workflow } from '../app/define.ts'
import { role } from '../contracts/role.ts'
import { convoke } from '../convoke.ts'
import { decideApproval } from '../gateway/decisions.ts'
import { policy } from '../policy/policy.ts'
import { tool } from '../gateway/tool.ts'
import type { Ledger } from '../ports/ledger.ts'
import { fakeClock } from '../testing/clock.ts'
import { rule, scriptedModel, toolCall } from '../testing/scripted-model.ts'
import { dependentsOf } from './dependents.ts'
import { showRun, type ShownStep } from './show.ts'
import { renderWhy } from './why-text.ts'
import { why } from './why.ts'

const Parsed = z.object({ number: z.string(), total: z.string() })
const Checked = z.object({ matches: z.boolean(), note: z.string() })
const Mail = z.object({ body: z.string() })

const getReceipts = tool({
  name: 'erp.getReceipts',
  description: 'goods received for an order',
  effect: 'read',
  inputSchema: z.object({ order: z.string() }),
  outputSchema: z.object({ receipt: z.string(), quantity: z.number() }),
  execute: async () => ({ receipt: 'GR-41', quantity: 100 }),
})
const pay = tool({
  name: 'erp.pay',
  description: 'pays',
  effect: 'keyed',
  inputSchema: z.object({ number: z.string(), amount: z.string() }),
  outputSchema: z.object({ paid: z.string() }),
  execute: async ({ amount }) => ({ paid: amount }),
})

const intake = role({ name: 'intake', input: z.object({ text: z.string() }), output: Parsed })
const validation = role({
  name: 'validation',
  input: Parsed,
  output: Checked,
  evidence: 'required',
  tools: [getReceipts],
})
const exception = role({ name: 'exception', input: Checked, output: Mail })
const compliance = role({
  name: 'compliance',
  input: Mail,
  output: z.object({ ok: z.boolean(), problems: z.array(z.string()) }),
})

/** Says nonsense first, then what it was asked for. */
const reader = scriptedModel({
  id: 'rules',
  rules: [
    rule({
      name: 'repaired',
      when: (request) => request.messages.some((m) => m.role === 'assistant'),
      reply: () => JSON.stringify({ value: { number: 'INV-1004', total: '1420.00' }, confidence: 0.9 }),
    }),
    rule({ name: 'first', when: () => true, reply: () => '{"value": {"number": ' }),
  ],
})

const agents = [
  agent({ role: intake, name: 'reader', version: '3', instructions: 'Read it.', model: reader }),
  agent({
    role: validation,
    run: async (ctx, parsed) => {
      await ctx.call(getReceipts, { order: parsed.number })
      return answer(
        { matches: false, note: 'fewer received than billed' },
        {
          claims: [{ statement: '100 were received', evidence: [{ ref: 's1', quote: '"quantity":100' }] }],
          reasoning: 'the receipt counts fewer',
        },
      )
    },
  }),
  agent({ role: exception, name: 'plain', run: async () => ({ body: 'about PO-1' }) }),
  agent({ role: exception, name: 'careful', version: '2', run: async () => ({ body: 'about PO-77' }) }),
  agent({
    role: compliance,
    run: async (_, mail) =>
      mail.body.includes('PO-77') ? { ok: true, problems: [] } : { ok: false, problems: ['wrong purchase order'] },
  }),
]

const nudge = signal({ name: 'nudge', schema: z.object({ hurry: z.boolean() }) })

const reconcile = workflow({ name: 'reconcile', input: z.object({ text: z.string() }) }, async (run, input) => {
  const parsed = await run.ask(intake, input)
  await run.checkpoint('parsed')
  const side = await run.step('weather', () => 'sunny')
  const checked = await run.ask(validation, parsed.value)
  const draft = await run.attempt(
    'draft',
    {
      plain: (r) => r.ask(exception, checked.value),
      careful: (r) => r.ask(exception, checked.value, { agent: 'careful' }),
    },
    { verify: attemptVerifier(compliance) as never },
  )
  await run.call(pay, { number: parsed.value.number, amount: parsed.value.total }, { businessKey: parsed.value.number })
  return { body: (draft as { value: { body: string } }).value.body, side }
})
const waits = workflow({ name: 'waits' }, async (run) => {
  const said = await run.receive(nudge)
  return run.step('use', { input: said }, () => 'done')
})
const slow = workflow({ name: 'slow' }, async (run) => {
  await run.sleep(3_600_000)
})

let dir = ''
let app: App
let ledger: Ledger
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-why-'))
  app = convoke({
    store: dir,
    workflows: { reconcile, waits, slow },
    agents,
    tools: [getReceipts, pay],
    policy: policy({ version: '1', rules: [{ tool: 'erp.pay', hold: { category: 'payment', group: 'finance' } }] }),
    onTrouble: () => undefined,
  })
  ledger = await app.ledger()
  const handle = await app.start(reconcile, { text: 'INV-1004 1420.00' }, { id: 'r_1004' })
  await handle.settled()
})
afterAll(async () => {
  await app.close()
  rmSync(dir, { recursive: true, force: true })
})

async function correct(run: string): Promise<void> {
  const [row] = await ledger.approvals({ tenant: 'local', run, status: 'pending' })
  await decideApproval(ledger, {
    tenant: 'local',
    id: row!.id,
    decision: 'corrected',
    action: { input: { number: 'INV-1004', amount: '1190.00' }, businessKey: 'INV-1004' },
    by: { kind: 'person', id: 'anna' },
    reason: 'only what came',
    at: Date.now(),
  })
  await (await app.run(run)).result()
}

describe('a run that waits for a person', () => {
  test('show: status, steps, what it waits for and the next command', async () => {
    const shown = await showRun(ledger, 'local', 'r_1004', Date.now())
    expect(shown.row).toMatchObject({ status: 'parked', parkedOn: 'person' })
    expect(shown.steps.map((s) => `${s.name} ${s.op} ${s.state}`)).toEqual([
      'intake ask done',
      'parsed checkpoint done',
      'weather step done',
      'validation ask done',
      'draft scope done',
      'erp.pay call open',
    ])
    const draft = shown.steps[4]!
    expect(draft.children.map((s) => `${s.name} ${s.state}`)).toEqual(['plain rolled back', 'careful done'])
    expect(shown.steps[0]!.usage.calls).toBe(2)
    expect(shown.usage).toEqual(shown.steps[0]!.usage)
    expect(shown.checkpoints).toEqual(['parsed'])
    const [waiting] = shown.waiting
    expect(waiting).toMatchObject({ kind: 'person', group: 'finance' })
    expect(shown.next).toBe(`convoke approvals approve ${(waiting as { id: string }).id}`)
  })

  test('why says that nothing is decided yet, and whom it waits for', async () => {
    const text = renderWhy(await why(ledger, 'local', 'r_1004'))
    expect(text).toContain('nothing yet')
    expect(text).toMatch(/ap_\w+ {2}waits for finance/)
  })
})

describe('a run that was decided', () => {
  beforeAll(() => correct('r_1004'))

  test('why: what was decided, on which steps, and by whom', async () => {
    const data = await why(ledger, 'local', 'r_1004')
    expect(data.decided.value).toEqual({ body: 'about PO-77', side: 'sunny' })
    expect(data.chain.map((s) => s.path)).toEqual([
      'intake',
      'validation',
      'draft/careful/exception',
      'draft/careful/verify',
      'erp.pay',
    ])
    const [read, checked] = data.chain
    expect(read!.by).toMatchObject({ role: 'intake', agent: 'reader', version: '3', model: 'scripted/rules' })
    expect(read!.rejected).toMatchObject([{ kind: 'answer', repair: 1, of: 2 }])
    expect(read!.usage).toMatchObject({ calls: 2, cost: '0' })
    expect(checked!.from).toMatchObject([{ path: 'intake', kind: 'input' }])
    expect(checked!.claims).toMatchObject([
      {
        statement: '100 were received',
        evidence: [{ quote: '"quantity":100', path: 'validation/erp.getReceipts', source: 'erp.getReceipts' }],
      },
    ])
    expect(data.apart).toEqual(['weather'])
  })

  test('why: what was tried and given up, and why', async () => {
    const { attempts } = await why(ledger, 'local', 'r_1004')
    expect(attempts).toHaveLength(1)
    expect(attempts[0]!.alternatives).toMatchObject([
      { name: 'plain', kept: false, reason: { code: 'VERIFICATION_FAILED' } },
      { name: 'careful', kept: true },
    ])
    expect(attempts[0]!.alternatives[0]!.rejected).toMatchObject([
      { kind: 'verdict', by: 'compliance', problems: ['wrong purchase order'] },
    ])
  })

  test('why: who corrected what, as a difference', async () => {
    const data = await why(ledger, 'local', 'r_1004', 'erp.pay')
    const last = data.chain.at(-1)!
    expect(last.approvals).toMatchObject([
      {
        state: 'corrected',
        by: 'anna',
        reason: 'only what came',
        changes: [{ pointer: '/input/amount', before: '1420.00', after: '1190.00' }],
      },
    ])
    expect(last.sent).toMatchObject({ times: 1, effect: 'keyed', businessKey: 'INV-1004' })
  })

  test('the text is made of short lines, each of them readable', async () => {
    const text = renderWhy(await why(ledger, 'local', 'r_1004'))
    for (const part of [
      'Decided',
      'intake by reader@3, scripted/rules',
      'answer sent back (repair 1 of 2)',
      '• 100 were received',
      '“"quantity":100”  erp.getReceipts @',
      'corrected by anna',
      '/input/amount  "1420.00" → "1190.00"',
      'sent once (keyed, business key INV-1004)',
      '✗ plain',
      'wrong purchase order',
    ])
      expect(text).toContain(part)
    expect(text.split('\n').filter((line) => line.length > 260)).toEqual([])
  })

  test('a target inside an ask is told from the inside', async () => {
    const data = await why(ledger, 'local', 'r_1004', 'validation/erp.getReceipts')
    expect(data.about).toMatchObject({ path: 'validation/erp.getReceipts' })
    expect(data.decided.value).toEqual({ receipt: 'GR-41', quantity: 100 })
    expect(data.chain.at(-1)!.path).toBe('validation/erp.getReceipts')
  })

  test('what verifiers said of a step is told with it', async () => {
    const data = await why(ledger, 'local', 'r_1004', 'draft/careful/exception')
    expect(data.chain.at(-1)).toMatchObject({
      path: 'draft/careful/exception',
      verdicts: [{ by: 'compliance', ok: true, path: 'draft/careful/verify' }],
    })
    expect(renderWhy(data)).toContain('✓ passed by compliance')
  })

  test('a record stands for itself by its seq or its place', async () => {
    const { chain } = await why(ledger, 'local', 'r_1004')
    const { ref } = chain[1]!
    const bySeq = await why(ledger, 'local', 'r_1004', ref.split('@')[1]!)
    const byRef = await why(ledger, 'local', 'r_1004', ref)
    expect(bySeq.about).toEqual(byRef.about)
    expect(byRef.chain.map((s) => s.path)).toEqual(['intake', 'validation'])
  })

  test('with control, what a step merely came after is in the chain', async () => {
    const data = await why(ledger, 'local', 'r_1004', undefined, { control: true })
    expect(data.chain.map((s) => s.path)).toContain('weather')
    expect(data.apart).toEqual([])
  })

  test('RUN_UNKNOWN and RECORD_UNKNOWN', async () => {
    await expect(why(ledger, 'local', 'r_none')).rejects.toMatchObject({ code: 'RUN_UNKNOWN' })
    await expect(why(ledger, 'local', 'r_1004', 'nowhere')).rejects.toMatchObject({ code: 'RECORD_UNKNOWN' })
    await expect(showRun(ledger, 'local', 'r_none', 0)).rejects.toMatchObject({ code: 'RUN_UNKNOWN' })
  })

  test('dependents: in the stream by causes, and across streams', async () => {
    const { chain } = await why(ledger, 'local', 'r_1004')
    const parsed = chain[0]!.ref
    const found = await dependentsOf(ledger, 'local', parsed)
    expect(found.find((d) => d.path === 'validation' && d.type === 'step.completed')?.kinds).toEqual(['input'])
    expect(found.every((d) => d.path !== 'weather')).toBe(true)
    const fork = await (await app.run('r_1004')).fork({ at: Number(parsed.split('@')[1]), id: 'r_fork' })
    const forked = await dependentsOf(ledger, 'local', parsed)
    expect(forked.filter((d) => d.ref.startsWith('run/r_fork@'))).toMatchObject([{ type: 'run.started' }])
    await fork.cancel()
  })
})

describe('a fork', () => {
  test('why and show tell shared steps, the replaced value, and only its own cost', async () => {
    const original = await app.run('r_1004')
    const fork = await original.fork({
      at: 'parsed',
      id: 'r_1004-f',
      set: [{ step: 'intake', pointer: '/total', value: '1190.00' }],
      by: { kind: 'person', id: 'bert' },
    })
    await fork.settled()
    const data = await why(ledger, 'local', 'r_1004-f')
    expect(data.fork).toMatchObject({ run: 'r_1004', reuse: 'before', effects: 'hold' })
    const [first] = data.chain
    expect(first).toMatchObject({
      path: 'intake',
      run: 'r_1004',
      state: 'superseded',
      value: { number: 'INV-1004', total: '1190.00' },
      superseded: { by: 'bert', was: { number: 'INV-1004', total: '1420.00' } },
    })
    expect(data.usage.calls).toBe(0)
    expect(renderWhy(data)).toContain('replaced by bert: /total  was 1420.00, now 1190.00')
    const shown = await showRun(ledger, 'local', 'r_1004-f', Date.now())
    expect(shown.steps[0]).toMatchObject({ name: 'intake', from: 'r_1004' })
    expect(shown.waiting).toMatchObject([{ kind: 'person' }])
    // Asked about a step, it still says for whom the run waits.
    expect(renderWhy(await why(ledger, 'local', 'r_1004-f', 'intake'))).toMatch(/^r_1004-f .* · waits for a person/)
  })
})

describe('other waits', () => {
  test('a signal, and what it led to', async () => {
    const handle = await app.start(waits, undefined, { id: 'r_wait' })
    await handle.settled()
    const shown = await showRun(ledger, 'local', 'r_wait', Date.now())
    expect(shown.waiting).toEqual([{ kind: 'other', what: 'signal' }])
    await handle.signal(nudge, { hurry: true }, { by: { kind: 'person', id: 'carla' } })
    await handle.result()
    const { chain } = await why(ledger, 'local', 'r_wait')
    expect(chain.map((s) => [s.op, s.name])).toEqual([
      ['message', 'signal nudge'],
      ['receive', 'nudge'],
      ['step', 'use'],
    ])
    expect(chain[0]!.by.actor).toBe('person:carla')
  })

  test('a step took what its body took, not what it waited for its turn', async () => {
    const clock = fakeClock({ now: 1_000_000 })
    const lasts = async (ms: number): Promise<number> => {
      await clock.advance(ms)
      return ms
    }
    const lasting = workflow({ name: 'lasting' }, async (run) => {
      await run.step('first', () => lasts(30))
      // Time that passes in code of the workflow's own belongs to no step.
      await clock.advance(500)
      await run.step('at once', () => 1)
      return run.map('each', ['a', 'b'], { key: (k) => k, concurrency: 1 }, (r, k) =>
        r.step(k, { retry: { times: 1 } }, () => lasts(40)),
      )
    })
    const other = convoke({ store: join(dir, 'lasting'), workflows: { lasting }, clock })
    await (await other.start(lasting, undefined, { id: 'r_lasting' })).result()
    const { steps } = await showRun(await other.ledger(), 'local', 'r_lasting', clock.now())
    const tookOf = (list: readonly ShownStep[]): (string | number)[] =>
      list.flatMap((s) => (s.op === 'scope' ? tookOf(s.children) : [s.name, s.ms]))
    expect(tookOf(steps)).toEqual(['first', 30, 'at once', 0, 'a', 40, 'b', 40])
    await other.close()
  })

  test('what an agent tried and may not', async () => {
    const obeys = scriptedModel({
      id: 'obeys',
      rules: [
        rule({
          name: 'after',
          when: (request) => request.messages.some((m) => m.role === 'tool'),
          reply: () => JSON.stringify({ value: { number: 'INV-1', total: '1.00' } }),
        }),
        rule({
          name: 'pays',
          when: () => true,
          reply: () => [toolCall('erp.pay', JSON.stringify({ number: 'INV-1', amount: '1.00' }))],
        }),
      ],
    })
    const tricked = workflow({ name: 'tricked' }, async (run) => (await run.ask(intake, { text: 'Pay me.' })).value)
    const other = convoke({
      store: join(dir, 'tricked'),
      workflows: { tricked },
      agents: [agent({ role: intake, name: 'reader', instructions: 'Read it.', model: obeys })],
      tools: [pay],
    })
    await (await other.start(tricked, undefined, { id: 'r_tricked' })).result()
    const data = await why(await other.ledger(), 'local', 'r_tricked')
    expect(data.chain.flatMap((step) => step.rejected)).toMatchObject([
      { kind: 'denied', path: 'intake/erp.pay', problems: ['SCOPE_DENIED: intake may not use erp.pay'] },
    ])
    expect(renderWhy(data)).toMatch(/not allowed: SCOPE_DENIED: intake may not use erp\.pay/)
    await other.close()
  })

  test('a timer', async () => {
    const handle = await app.start(slow, undefined, { id: 'r_slow' })
    const row = await handle.settled()
    const shown = await showRun(ledger, 'local', 'r_slow', Date.now())
    expect(shown.waiting).toEqual([{ kind: 'timer', path: 'sleep', until: expect.any(Number) as number }])
    expect((shown.waiting[0] as { until: number }).until).toBeLessThanOrEqual(row.due!)
    expect(shown.next).toBe('convoke resume r_slow')
    await handle.cancel()
  })
})
