import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { counterpart, type Counterpart } from '../../test/gateway/counterpart.ts'
import { payTool } from '../../test/gateway/tools.ts'
import { world, type Code, type World } from '../../test/gateway/world.ts'
import { secret, type SecretRef } from '../core/redact.ts'
import type { Caller, GatewayDeps } from './deps.ts'
import type { Guardrail } from './guardrail.ts'
import { envSecrets } from './secrets.ts'
import { tool } from './tool.ts'

let erp: Counterpart
let w: World
let guardrails: Guardrail[] = []
let caller: Caller = {}
const env: Record<string, string | undefined> = {}

beforeAll(async () => {
  const deps: Partial<GatewayDeps> = {
    get guardrails() {
      return guardrails
    },
    secrets: envSecrets(env),
  }
  w = await world(deps, {
    get caller() {
      return caller
    },
  })
})
afterAll(() => w.close())
beforeEach(async () => {
  guardrails = []
  caller = {}
  erp = await counterpart({ honoursKeys: true })
})
afterEach(() => erp.close())

const paying =
  (amount: unknown, options: object = {}): Code =>
  (run) =>
    run.call(payTool(erp.url, 'keyed'), { amount: amount as string }, options)

describe('rules before anything is sent', () => {
  test('TOOL_INPUT_INVALID says where, and not even an intent is recorded', async () => {
    const run = await w.run(paying(5))
    expect(run.error).toMatchObject({ code: 'TOOL_INPUT_INVALID', details: { issues: [{ pointer: '/amount' }] } })
    expect(run.types('erp.pay')).toEqual(['step.failed'])
    expect(erp.requests).toHaveLength(0)
  })

  test('SCOPE_DENIED for a tool that the role does not have', async () => {
    caller = { role: 'intake', actor: { kind: 'agent', id: 'reader' }, tools: ['files.*'] }
    const denied = await w.run(paying('1'))
    expect(denied.error).toMatchObject({ code: 'SCOPE_DENIED', details: { role: 'intake', tool: 'erp.pay' } })
    expect(denied.entries.find((e) => e.record.path === 'erp.pay')?.record.actor.id).toBe('reader')
    expect(erp.requests).toHaveLength(0)
    caller = { ...caller, tools: ['files.*', 'erp.p*y'] }
    expect((await w.run(paying('1'))).value).toEqual({ id: 1 })
  })

  test('GUARDRAIL_DENIED names the rule; a guardrail that throws denies', async () => {
    guardrails = [{ name: 'no-friday', before: () => ({ deny: 'it is Friday' }) }]
    const denied = await w.run(paying('1'))
    expect(denied.error).toMatchObject({
      code: 'GUARDRAIL_DENIED',
      details: { guardrail: 'no-friday', reason: 'it is Friday' },
    })
    guardrails = [
      {
        name: 'buggy',
        before: () => {
          throw new TypeError('oops')
        },
      },
    ]
    expect((await w.run(paying('1'))).error?.code).toBe('GUARDRAIL_DENIED')
    expect(erp.requests).toHaveLength(0)
  })

  test('a guardrail changes the input, asks a person, and hides output', async () => {
    guardrails = [
      { name: 'cap', before: () => ({ redact: { amount: '10' }, reason: 'capped' }) },
      { name: 'second-look', tools: 'erp.*', before: () => ({ ask: 'first payment', category: 'new-vendor' }) },
      { name: 'hide', after: () => ({ redact: { id: 0 }, reason: 'ids are private' }) },
    ]
    const code = paying('5000')
    const held = await w.run(code)
    const [row] = await w.pending(held.id)
    expect(row).toMatchObject({ category: 'new-vendor', action: { input: { amount: '10' } } })
    await w.decide(row!.id, { decision: 'approved' })
    const done = await w.go(code, held.id)
    expect(done.value).toEqual({ id: 0 })
    expect(erp.effects[0]?.body).toEqual({ amount: '10' })
    expect(done.entries.findLast((e) => e.record.path === 'erp.pay')?.payload).toMatchObject({ redactedBy: ['hide'] })
  })
})

describe('R4 business keys', () => {
  test('BUSINESS_KEY_TAKEN: two runs for one key, at once: one effect, and the other is told whose it is', async () => {
    const code = paying('1', { businessKey: 'INV-7' })
    const runs = await Promise.all([w.run(code), w.run(code)])
    expect(erp.effects).toHaveLength(1)
    const refused = runs.find((r) => r.error !== undefined)!
    const other = runs.find((r) => r.error === undefined)!
    expect(refused.error).toMatchObject({
      code: 'BUSINESS_KEY_TAKEN',
      details: { run: other.id, path: 'erp.pay', businessKey: 'INV-7' },
    })
  })

  test('a key is free again when its call certainly did nothing, but not when nobody knows', async () => {
    erp.plan('400')
    const code = paying('1', { businessKey: 'INV-8' })
    expect((await w.run(code)).error?.code).toBe('TOOL_FAILED')
    expect((await w.run(code)).value).toEqual({ id: 1 })
    expect((await w.run(code)).error?.code).toBe('BUSINESS_KEY_TAKEN')

    const other = paying('1', { businessKey: 'INV-9' })
    erp.plan('500', '500', '500', '500')
    const failed = await w.run(other)
    expect(failed.error?.code).toBe('TOOL_UNREACHABLE')
    expect(failed.entries.find((e) => e.record.type === 'step.failed')?.payload['effect']).toBe('unknown')
    expect((await w.run(other)).error?.code).toBe('BUSINESS_KEY_TAKEN')
    expect(erp.effects).toHaveLength(1)
  })

  test('an effect that was taken back frees its key for the next alternative', async () => {
    const reverse = tool({
      name: 'erp.reverse',
      description: 'takes a payment back',
      inputSchema: z.object({ id: z.number() }),
      outputSchema: z.object({ id: z.number() }),
      effect: 'keyed',
      execute: async (input, ctx) => {
        const response = await ctx.fetch(`${erp.url}/do`, {
          method: 'POST',
          headers: { 'idempotency-key': ctx.idempotencyKey },
          body: JSON.stringify({ reverse: input.id }),
        })
        return response.json()
      },
    })
    const run = await w.run((r) =>
      r.attempt(
        'pay',
        {
          plain: (b: typeof r) =>
            b.call(payTool(erp.url, 'keyed'), { amount: '1' }, { businessKey: 'INV-10', undo: reverse }),
          careful: (b: typeof r) =>
            b.call(payTool(erp.url, 'keyed'), { amount: '2' }, { businessKey: 'INV-10', undo: reverse }),
        },
        { verify: async (paid) => ({ ok: paid.id > 1 }) },
      ),
    )
    expect(run.error).toBeUndefined()
    expect(erp.effects.map((e) => e.body)).toEqual([{ amount: '1' }, { reverse: 1 }, { amount: '2' }])
    expect(run.types('pay/plain/erp.pay~undo')).toEqual(['tool.dispatched', 'step.completed'])
  })
})

describe('secrets', () => {
  const leaky = tool({
    name: 'leaky',
    description: 'says everything',
    inputSchema: z.object({ token: z.custom<SecretRef>(), fail: z.boolean() }),
    outputSchema: z.object({ said: z.string(), url: z.string() }),
    effect: 'read',
    execute: async (input, ctx) => {
      const token = await ctx.secret(input.token)
      if (input.fail) throw new Error(`401 for ${token}`)
      return { said: `Bearer ${token}`, url: `?t=${encodeURIComponent(token)}` }
    },
  })

  test('SECRET_MISSING says what to set', async () => {
    const run = await w.run((r) => r.call(leaky, { token: secret('erp-token'), fail: false }))
    expect(run.error).toMatchObject({ code: 'SECRET_MISSING', next: 'set CONVOKE_SECRET_ERP_TOKEN' })
  })

  test('a resolved secret is in no record, neither of a result nor of an error', async () => {
    env['CONVOKE_SECRET_ERP_TOKEN'] = 's3cr3t t0ken/1'
    const said = await w.run((r) => r.call(leaky, { token: secret('erp-token'), fail: false }))
    expect(said.value).toEqual({ said: 'Bearer [secret:erp-token]', url: '?t=[secret:erp-token]' })
    const failed = await w.run((r) => r.call(leaky, { token: secret('erp-token'), fail: true }))
    expect(failed.error).toMatchObject({ code: 'TOOL_FAILED', message: '401 for [secret:erp-token]' })
    for (const entry of [...said.entries, ...failed.entries]) expect(JSON.stringify(entry)).not.toMatch(/s3cr3t/)
  })
})

describe('what comes back', () => {
  test('digits survive, labels say where it came from', async () => {
    erp.plan('digits')
    const exact = tool({
      name: 'erp.balance',
      description: 'reads',
      inputSchema: z.object({}),
      outputSchema: z.object({ amount: z.string() }),
      effect: 'read',
      labels: { confidentiality: ['finance'] },
      execute: (_input, ctx) => ctx.fetch(`${erp.url}/do`),
    })
    const run = await w.run((r) => r.call(exact, {}))
    expect(run.value).toEqual({ amount: '12345678901234567890.10' })
    const [done] = run.entries.filter((e) => e.record.path === 'erp.balance')
    expect(done?.record.labels).toEqual({
      integrity: 'untrusted',
      confidentiality: ['finance'],
      sources: ['tool:erp.balance'],
    })
    expect(done?.payload['notes']).toHaveLength(1)
  })

  test('TOOL_RESULT_TOO_LARGE: a hundred megabytes are cut off while they come', async () => {
    const big = tool({
      name: 'big',
      description: 'too much',
      inputSchema: z.object({}),
      effect: 'read',
      execute: () => ({ pad: ['x'.repeat(50_000_000), 'y'.repeat(50_000_000)] }),
    })
    const run = await w.run((r) => r.call(big, {}))
    expect(run.error).toMatchObject({ code: 'TOOL_RESULT_TOO_LARGE', details: { maxResultBytes: 8_388_608 } })
  })

  test('TOOL_OUTPUT_INVALID for what has no JSON form', async () => {
    const dated = tool({
      name: 'dated',
      description: 'answers with a date',
      inputSchema: z.object({}),
      effect: 'read',
      execute: () => ({ at: new Date(0) }),
    })
    expect((await w.run((r) => r.call(dated, {}))).error).toMatchObject({
      code: 'TOOL_OUTPUT_INVALID',
      details: { issues: [{ pointer: '/at' }] },
    })
  })

  test('TOOL_TIMEOUT for a tool that ignores its abort, after every try', async () => {
    let tries = 0
    const stuck = tool({
      name: 'stuck',
      description: 'never comes back',
      inputSchema: z.object({}),
      effect: 'read',
      timeoutMs: 20,
      retry: { attempts: 2, delayMs: 1 },
      execute: () => {
        tries++
        return new Promise<number>(() => undefined)
      },
    })
    expect((await w.run((r) => r.call(stuck, {}))).error?.code).toBe('TOOL_TIMEOUT')
    expect(tries).toBe(2)
  })

  test('TOOL_UNREACHABLE: nobody listens; an unsafe call may be tried again, since no byte left', async () => {
    const { url } = erp
    await erp.close()
    const run = await w.run((r) =>
      r.call(payTool(url, 'unsafe', { attempts: 3 }), { amount: '1' }, { businessKey: 'U' }),
    )
    expect(run.error?.code).toBe('TOOL_UNREACHABLE')
    expect(run.types('erp.pay').filter((t) => t === 'tool.dispatched')).toHaveLength(3)
    expect(run.entries.findLast((e) => e.record.path === 'erp.pay')?.payload['effect']).toBe('none')
    erp = await counterpart()
  })
})

describe('R9 forks', () => {
  const code: Code = async (run) => {
    await run.checkpoint('parsed')
    return run.call(payTool(erp.url, 'keyed'), { amount: '5' }, { businessKey: 'F' })
  }
  const forked = (run: string, effects: string): NonNullable<Parameters<World['run']>[1]>['fork'] => ({
    run,
    at: 3,
    reuse: 'before',
    effects,
    use: {},
  })

  test('EFFECT_HELD: a fork holds what its ancestor did, both shown; a person may refuse or release it', async () => {
    const first = await w.run(code)
    expect(first.value).toEqual({ id: 1 })
    const refused = await w.run(code, { fork: forked(first.id, 'hold') })
    const [row] = await w.pending(refused.id)
    expect(row).toMatchObject({
      kind: 'held-effect',
      action: {
        input: { amount: '5' },
        ancestor: { run: first.id, action: { input: { amount: '5' } }, result: { id: 1 } },
      },
    })
    await w.decide(row!.id, { decision: 'rejected' })
    expect((await w.go(code, refused.id)).error?.code).toBe('EFFECT_HELD')
    expect(erp.requests).toHaveLength(1)

    const released = await w.run(code, { fork: forked(first.id, 'hold') })
    await w.decide((await w.pending(released.id))[0]!.id, { decision: 'approved' })
    expect((await w.go(code, released.id)).value).toEqual({ id: 2 })
    expect(new Set(erp.requests.map((r) => r.key)).size).toBe(2)

    const again = await w.run(code, { fork: forked(released.id, 'live') })
    expect(again.value).toEqual({ id: 3 })
  })

  test('dry takes the ancestor’s result, live performs', async () => {
    const other: Code = async (run) => {
      await run.checkpoint('parsed')
      return run.call(payTool(erp.url, 'keyed'), { amount: '6' })
    }
    const first = await w.run(other)
    expect((await w.run(other, { fork: forked(first.id, 'dry') })).value).toEqual({ id: 1 })
    expect(erp.requests).toHaveLength(1)
    expect((await w.run(other, { fork: forked(first.id, 'live') })).value).toEqual({ id: 2 })
  })
})
