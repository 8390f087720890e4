import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { counterpart, type Counterpart } from '../../test/gateway/counterpart.ts'
import { payTool } from '../../test/gateway/tools.ts'
import { world, type Code, type World } from '../../test/gateway/world.ts'
import type { Lease } from '../ports/ledger.ts'
import type { EffectClass } from './tool.ts'

const child = fileURLToPath(new URL('../../test/gateway/child.ts', import.meta.url))

let erp: Counterpart
let w: World
let n = 0

beforeAll(async () => {
  w = await world()
})
afterAll(() => w.close())
beforeEach(async () => {
  erp = await counterpart({ honoursKeys: true })
})
afterEach(() => erp.close())

/** Runs a call in a process of its own that dies at the point. */
async function killedAt(point: string, effect: EffectClass, code: Code, timeoutMs = 1_500): Promise<string> {
  const id = `k${++n}`
  await w.start(code, id)
  const process_ = spawn(
    process.execPath,
    ['--conditions=convoke-source', child, w.dir, id, erp.url, effect, point, String(timeoutMs)],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  )
  const signal = await new Promise<NodeJS.Signals | null>((resolve) => process_.on('exit', (_code, s) => resolve(s)))
  expect(signal).toBe('SIGKILL')
  return id
}

const paying =
  (effect: EffectClass, timeoutMs = 300): Code =>
  (run) =>
    run.call(payTool(erp.url, effect, { timeoutMs }), { amount: '5.00' })

describe('R5 a worker that dies between intent and result', () => {
  const rows: readonly (readonly [EffectClass, string, number])[] = [
    ['read', 'tool.before:erp.pay', 0],
    ['keyed', 'tool.before:erp.pay', 1],
    ['keyed', 'tool.after:erp.pay', 1],
    ['idempotent', 'tool.after:erp.pay', 1],
    ['reconcilable', 'tool.before:erp.pay', 1],
    ['reconcilable', 'tool.after:erp.pay', 1],
  ]
  test.each(rows)('%s, killed at %s: goes on by itself, %i effects', async (effect, point, effects) => {
    const code = paying(effect)
    const id = await killedAt(point, effect, code)
    const done = await w.go(code, id)
    expect(done.error).toBeUndefined()
    expect(done.value).toEqual({ id: effects })
    expect(erp.effects).toHaveLength(effects)
  })

  test('R4 a keyed call is repeated with the same idempotency key; a reconciled "no" raises the generation', async () => {
    const keyed = await killedAt('tool.after:erp.pay', 'keyed', paying('keyed'))
    await w.go(paying('keyed'), keyed)
    expect(new Set(erp.requests.map((r) => r.key)).size).toBe(1)
    expect(erp.requests).toHaveLength(2)

    const code = paying('reconcilable')
    const id = await killedAt('tool.before:erp.pay', 'reconcilable', code)
    const done = await w.go(code, id)
    const sent = done.entries.filter((e) => e.record.type === 'tool.dispatched').map((e) => e.payload)
    expect(sent.map((p) => p['generation'])).toEqual([0, 1])
    expect(sent[0]!['idempotencyKey']).not.toBe(sent[1]!['idempotencyKey'])
    expect(done.types('erp.pay')).toContain('tool.not-executed')
  })

  test('MAYBE_EXECUTED: an unsafe call goes to a person, who may give it up', async () => {
    const code = paying('unsafe')
    const id = await killedAt('tool.after:erp.pay', 'unsafe', code)
    expect((await w.go(code, id)).status).toBe('parked')
    const [row] = await w.pending(id)
    expect(row).toMatchObject({ kind: 'maybe-executed', action: { tool: 'erp.pay', input: { amount: '5.00' } } })
    await w.decide(row!.id, { decision: 'rejected', reason: 'the bank will tell' })
    const done = await w.go(code, id)
    expect(done.error).toMatchObject({ code: 'MAYBE_EXECUTED' })
    expect(done.error?.message).toMatch(/the bank will tell/)
    expect(erp.effects).toHaveLength(1)
  })

  test('a person says that it happened; what it gave must fit the schema', async () => {
    const code = paying('unsafe')
    const id = await killedAt('tool.after:erp.pay', 'unsafe', code)
    await w.go(code, id)
    const [first] = await w.pending(id)
    await w.decide(first!.id, { decision: 'approved', value: { number: 1 } })
    expect((await w.go(code, id)).status).toBe('parked')
    const [second] = await w.pending(id)
    await w.decide(second!.id, { decision: 'approved', answer: 'happened', value: { id: 77 } })
    const done = await w.go(code, id)
    expect(done.value).toEqual({ id: 77 })
    expect(done.entries.find((e) => e.record.type === 'step.completed')?.payload).toMatchObject({ saidBy: 'ada' })
    expect(erp.effects).toHaveLength(1)
  })

  test('a repeat that a person orders waits until the old try is over, and is a new generation', async () => {
    const timeout = 1_500
    const code = paying('unsafe', timeout)
    const id = await killedAt('tool.before:erp.pay', 'unsafe', code, timeout)
    await w.go(code, id)
    const [row] = await w.pending(id)
    await w.decide(row!.id, { decision: 'corrected', answer: 'repeat', reason: 'not in the books' })
    const done = await w.go(code, id)
    expect(done.value).toEqual({ id: 1 })
    const at = (type: string): number[] => done.entries.filter((e) => e.record.type === type).map((e) => e.record.at)
    const [sent, again] = at('tool.dispatched')
    expect(again! - sent!).toBeGreaterThanOrEqual(timeout)
    expect(erp.effects).toHaveLength(1)
  })

  test('"correct" is no answer to whether it happened', async () => {
    const code = paying('unsafe')
    const id = await killedAt('tool.after:erp.pay', 'unsafe', code)
    await w.go(code, id)
    const [row] = await w.pending(id)
    await w.decide(row!.id, { decision: 'corrected', action: { input: { amount: '1' } } })
    const again = await w.go(code, id)
    expect(again.status).toBe('parked')
    expect(erp.effects).toHaveLength(1)
    expect(again.entries.findLast((e) => e.record.type === 'approval.requested')?.payload['problem']).toMatch(
      /whether it happened/,
    )
  })
})

describe('R7 a worker without its lease', () => {
  test('LEASE_EXPIRED: sends nothing and records nothing', async () => {
    const lease: Lease = { worker: w.lease.worker, remaining: () => (asleep ? 0 : 1_000), release: async () => {} }
    let asleep = false
    const code = paying('keyed')
    await w.start(code, 'zombie')
    const lost = await w.go(code, 'zombie', {
      lease,
      // Paused right after the intent was written, until the lease had passed.
      probe: (point) => {
        if (point === 'append.after:tool.dispatched') asleep = true
      },
    })
    expect(lost.result).toBe('lost')
    expect(lost.error?.code).toBe('LEASE_EXPIRED')
    expect(erp.requests).toHaveLength(0)
    expect(lost.types('erp.pay')).toEqual(['tool.dispatched'])
    const done = await w.go(code, 'zombie')
    expect(done.value).toEqual({ id: 1 })
    expect(erp.effects).toHaveLength(1)
  })
})

describe('when the scope of a call is given up', () => {
  test('R11 an effect under way is settled before the run ends', async () => {
    erp.plan('ok')
    const slow = payTool(erp.url, 'keyed', { timeoutMs: 2_000 })
    const run = await w.run((r) =>
      r.race('first', {
        pay: (b: typeof r) => b.call(slow, { amount: '5.00' }),
        quick: async (b: typeof r) => {
          await erp.called(1)
          await b.sleep(0)
          return 'quick'
        },
      }),
    )
    expect(run.status).toBe('done')
    const ends = run.entries.filter((e) => e.record.path === 'first/pay/erp.pay').map((e) => e.record.type)
    expect(ends).toEqual(['tool.dispatched', 'step.completed'])
    expect(erp.effects).toHaveLength(1)
  })

  test('a call that was not sent yet is not sent', async () => {
    const run = await w.run((r) =>
      r.race('first', {
        pay: (b: typeof r) => b.call(payTool(erp.url, 'keyed'), { amount: '5.00' }, { approval: 'payment' }),
        quick: (b: typeof r) => b.sleep(20).then(() => 'quick'),
      }),
    )
    expect(run.status).toBe('done')
    expect(run.entries.find((e) => e.record.type === 'step.failed')?.payload).toMatchObject({
      error: { code: 'SCOPE_CANCELLED' },
      effect: 'none',
    })
    expect(erp.requests).toHaveLength(0)
  })
})
