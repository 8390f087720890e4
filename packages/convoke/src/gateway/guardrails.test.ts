import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { world, type Code, type Driven, type World } from '../../test/gateway/world.ts'
import type { JsonObject } from '../core/json.ts'
import { policy, type Policy } from '../policy/policy.ts'
import { faults, type ScriptedReply } from '../testing/faults.ts'
import { rule, scriptedModel } from '../testing/scripted-model.ts'
import type { Caller } from './deps.ts'
import type { Guardrail } from './guardrail.ts'
import type { JudgeOptions } from './judge-verdict.ts'
import { modelJudge } from './model-judge.ts'
import { schemaGuard } from './schema-guard.ts'
import { tool, type Tool } from './tool.ts'

const sent: string[] = []
const spent: JsonObject[] = []
const now: { guardrails: readonly Guardrail[]; policy: Policy | undefined; caller: Caller } = {
  guardrails: [],
  policy: undefined,
  caller: {},
}
let w: World
let runs = 0
let budgetLeft = true

beforeAll(async () => {
  w = await world(
    {
      get guardrails() {
        return now.guardrails
      },
      get policy() {
        return now.policy
      },
      spend: () => ({
        assert: () => {
          if (!budgetLeft) throw new Error('the budget is used up')
        },
        used: (usage) => void spent.push(usage),
      }),
    },
    {
      get caller() {
        return now.caller
      },
    },
  )
})
afterAll(() => w.close())
beforeEach(() => {
  sent.length = 0
  spent.length = 0
  budgetLeft = true
  Object.assign(now, { guardrails: [], policy: undefined, caller: {} })
})

type Mail = Tool<{ to: string; body: string }, { said: string }>
function mailTool(effect: 'read' | 'unsafe' = 'unsafe', said = 'sent with tok_12345678'): Mail {
  return tool({
    name: 'mail.send',
    description: 'sends',
    inputSchema: z.object({ to: z.string(), body: z.string() }),
    outputSchema: z.object({ said: z.string() }),
    effect,
    execute: ({ body }: { body: string }) => {
      sent.push(body)
      return { said }
    },
  })
}
const send =
  (body: string, its: Mail = mailTool()): Code =>
  (r) =>
    r.call(its, { to: 'a@x.test', body })
const go = (code: Code): Promise<Driven> => w.run(code, { id: `k${++runs}` })
const payloads = (driven: Driven, type: string): JsonObject[] =>
  driven.entries.filter((e) => e.record.type === type).map((e) => e.payload)
const last = (driven: Driven): JsonObject =>
  driven.entries.findLast((e) => e.record.path === 'mail.send')?.payload as JsonObject

const tokens = (more: Partial<NonNullable<Guardrail['text']>> = {}): Guardrail => ({
  name: 'tokens',
  version: '1',
  text: {
    find: (text) =>
      [...text.matchAll(/\btok_[a-z0-9]{8}\b/g)].map((m) => ({ start: m.index, end: m.index + 12, kind: 'token' })),
    reach: 20,
    act: 'redact',
    ...more,
  },
})

describe('rules about text', () => {
  test('redact: what is sent, bound and recorded is what was left; the reason names kinds, nothing else', async () => {
    now.guardrails = [tokens()]
    const done = await go(send('use tok_abcdefgh'))
    expect(sent).toEqual(['use [redacted:token]'])
    expect(done.value).toEqual({ said: 'sent with [redacted:token]' })
    expect(payloads(done, 'guardrail.judged')[0]).toMatchObject({
      at: 'input',
      notes: [{ guardrail: 'tokens@1', verdict: 'redact', reason: 'found 1 token' }],
    })
    expect(payloads(done, 'tool.dispatched')[0]).toMatchObject({
      action: { input: { body: 'use [redacted:token]' } },
      guardrails: ['tokens@1'],
    })
    expect(last(done)).toMatchObject({ redactedBy: ['tokens'], guarded: [{ verdict: 'redact' }] })
    expect(JSON.stringify(done.entries)).not.toMatch(/tok_/)
  })

  test('deny, before and after: nothing is sent; what came back is not seen, and the effect is on record', async () => {
    now.guardrails = [tokens({ act: 'deny', at: ['input'] })]
    const before = await go(send('use tok_abcdefgh'))
    expect([before.error?.code, sent]).toEqual(['GUARDRAIL_DENIED', []])
    now.guardrails = [tokens({ act: 'deny', at: ['output'] })]
    const after = await go(send('hello'))
    expect(after.error).toMatchObject({ code: 'GUARDRAIL_DENIED', details: { reason: 'found 1 token' } })
    expect([sent, last(after)['effect']]).toEqual([['hello'], 'done'])
    expect(JSON.stringify(after.entries)).not.toMatch(/tok_/)
  })

  test('what a tool says of its failure passes the same rules', async () => {
    now.guardrails = [tokens({ act: 'deny', at: ['output'] })]
    const failing: Mail = tool({
      ...mailTool('read'),
      name: 'mail.send',
      execute: () => {
        throw new Error('401 for tok_12345678')
      },
      retry: { attempts: 1 },
    } as never) as never
    const failed = await go(send('x', failing))
    expect(failed.error).toMatchObject({ code: 'TOOL_FAILED', message: '401 for [redacted:token]' })
  })

  test('ask, before: the person sees the action; ask, after: the answer, once, and nothing is called twice', async () => {
    now.guardrails = [tokens({ act: 'ask' })]
    now.policy = policy({
      version: '1',
      rules: [],
      categories: { guardrail: { group: 'security' } },
      groups: { security: ['ada'] },
    })
    const code = send('use tok_abcdefgh')
    const held = await go(code)
    const [first] = await w.pending(held.id)
    expect(first).toMatchObject({
      kind: 'call',
      category: 'guardrail',
      action: { input: { body: 'use tok_abcdefgh' } },
    })
    await w.decide(first!.id, { decision: 'approved' })
    const answered = await w.go(code, held.id)
    const [second] = await w.pending(held.id)
    expect(second).toMatchObject({
      kind: 'answer',
      title: 'what mail.send answered',
      group: 'security',
      action: { from: 'mail.send', answer: { said: 'sent with tok_12345678' } },
    })
    expect([answered.result, sent.length]).toEqual(['parked', 1])
    await w.decide(second!.id, { decision: 'approved' })
    const done = await w.go(code, held.id)
    expect([done.value, sent.length]).toEqual([{ said: 'sent with tok_12345678' }, 1])
    expect(done.types('mail.send')).toEqual([
      'guardrail.judged',
      'approval.requested',
      'approval.decided',
      'tool.dispatched',
      'guardrail.judged',
      'answer.held',
      'approval.requested',
      'approval.decided',
      'step.completed',
    ])
  })

  test('an answer that nobody lets pass: the caller gets the refusal, the effect stays on record', async () => {
    now.guardrails = [tokens({ act: 'ask', at: ['output'] })]
    const code = send('hello')
    const held = await go(code)
    const [asked] = await w.pending(held.id)
    await w.decide(asked!.id, { decision: 'corrected', action: { input: { said: 'nothing' } } })
    const again = await w.go(code, held.id)
    const [second] = await w.pending(held.id)
    expect(payloads(again, 'approval.requested').at(-1)!['problem']).toContain('not corrected')
    await w.decide(second!.id, { decision: 'rejected', reason: 'not for agents' })
    const done = await w.go(code, held.id)
    expect(done.error).toMatchObject({ code: 'GUARDRAIL_DENIED', details: { by: 'ada', reason: 'not for agents' } })
    expect([sent.length, last(done)['effect']]).toEqual([1, 'done'])
  })
})

test('a schema narrows what a tool takes and gives: JSON Schema or Standard Schema; deny or ask', async () => {
  now.guardrails = [
    schemaGuard({
      name: 'short',
      tools: 'mail.*',
      input: { type: 'object', properties: { body: { type: 'string', maxLength: 5 } } },
    }),
    schemaGuard({
      name: 'polite',
      output: z.object({ said: z.string().startsWith('thanks') }),
      otherwise: { ask: { category: 'tone' } },
    }),
  ]
  const denied = await go(send('too long a body'))
  expect(denied.error).toMatchObject({
    code: 'GUARDRAIL_DENIED',
    details: { reason: expect.stringContaining('/body') },
  })
  const held = await go(send('ok'))
  expect((await w.pending(held.id))[0]).toMatchObject({ kind: 'answer', category: 'tone' })
  expect(() => schemaGuard({ name: 'bad', input: { type: 'nothing' } })).toThrow(/cannot be used/)
})

describe('a second model as a judge', () => {
  let asked = 0
  const judgeSays = (reply: () => ScriptedReply, more: Partial<JudgeOptions> = {}): Guardrail =>
    modelJudge({
      name: 'judge',
      rules: 'No harsh words.',
      model: scriptedModel({
        id: 'judge',
        rules: [
          rule({
            name: 'all',
            when: (): boolean => true,
            reply: (): ScriptedReply => {
              asked++
              return reply()
            },
          }),
        ],
      }),
      ...more,
    })
  beforeEach(() => {
    asked = 0
  })

  test('allows, denies and takes out, with its reason; each is recorded with what it cost', async () => {
    now.guardrails = [judgeSays(() => '{"verdict":"allow","reason":"fine"}')]
    const done = await go(send('hello'))
    expect(sent).toEqual(['hello'])
    expect(payloads(done, 'guardrail.judged')[0]).toMatchObject({
      notes: [
        { guardrail: expect.stringMatching(/^judge@[0-9a-f]{8}$/), verdict: 'allow', usage: { calls: 1, cost: '0' } },
      ],
    })
    expect(last(done)['judging']).toMatchObject({ calls: 1, tokens: { input: expect.any(Number) } })
    expect(spent).toEqual([last(done)['judging']])
    now.guardrails = [judgeSays(() => '{"verdict":"deny","reason":"harsh"}')]
    expect((await go(send('you fool'))).error).toMatchObject({ code: 'GUARDRAIL_DENIED', details: { reason: 'harsh' } })
    now.guardrails = [judgeSays(() => '{"verdict":"redact","reason":"harsh","hide":["fool"]}')]
    await go(send('you fool'))
    expect(sent).toEqual(['hello', 'you [redacted:judged]'])
  })

  test('asks; over the park, the crash and the decision it is asked once, and what it left is what is sent', async () => {
    let said = 0
    now.guardrails = [
      judgeSays(() =>
        ++said === 1
          ? '{"verdict":"redact","reason":"harsh","hide":["fool"]}'
          : '{"verdict":"deny","reason":"changed its mind"}',
      ),
      { name: 'person', before: () => ({ ask: 'always', category: 'mail' }) },
    ]
    const code = send('you fool')
    const held = await go(code)
    const [row] = await w.pending(held.id)
    expect(row).toMatchObject({ action: { input: { body: 'you [redacted:judged]' } } })
    await w.decide(row!.id, { decision: 'approved' })
    const done = await w.go(code, held.id)
    expect([done.status, sent, asked]).toEqual(['done', ['you [redacted:judged]'], 1])
    expect(last(done)['judging']).toMatchObject({ calls: 1 })
  })

  test.each([
    ['no verdict', (): ScriptedReply => 'I think that is fine!'],
    ['another verdict', (): ScriptedReply => '{"verdict":"sure","reason":"x"}'],
    ['an error', (): ScriptedReply => faults.serverError()],
    ['nothing to take out', (): ScriptedReply => '{"verdict":"redact","reason":"x","hide":["not there"]}'],
    ['silence', (): ScriptedReply => faults.silent()],
  ] as const)('%s never allows: a person is asked, or it denies, as configured', async (_, reply) => {
    now.guardrails = [judgeSays(reply, { timeoutMs: 300 })]
    const held = await go(send('hello'))
    expect((await w.pending(held.id))[0]).toMatchObject({ category: 'guardrail' })
    now.guardrails = [judgeSays(reply, { otherwise: 'deny', timeoutMs: 300 })]
    expect((await go(send('hello'))).error).toMatchObject({
      code: 'GUARDRAIL_DENIED',
      details: { reason: expect.stringContaining('gave no verdict') },
    })
    expect(sent).toEqual([])
  })

  test('a budget that is used up, and too much to judge, fall under the same', async () => {
    budgetLeft = false
    now.guardrails = [judgeSays(() => '{"verdict":"allow","reason":"x"}', { otherwise: 'deny' })]
    expect((await go(send('hello'))).error?.code).toBe('GUARDRAIL_DENIED')
    budgetLeft = true
    now.guardrails = [judgeSays(() => '{"verdict":"allow","reason":"x"}', { otherwise: 'deny', maxChars: 100 })]
    expect((await go(send('x'.repeat(100)))).error?.code).toBe('GUARDRAIL_DENIED')
    expect([asked, sent]).toEqual([0, []])
    expect(() => judgeSays(() => '', { otherwise: 'allow' as never })).toThrow(/asks or denies/)
  })

  test('judges what a tool answered', async () => {
    now.guardrails = [judgeSays(() => '{"verdict":"redact","reason":"x","hide":["tok_12345678"]}', { at: ['output'] })]
    const done = await go(send('hello'))
    expect(done.value).toEqual({ said: 'sent with [redacted:judged]' })
    expect(last(done)).toMatchObject({ judging: { calls: 1 }, guarded: [{ verdict: 'redact', reason: 'x' }] })
  })
})

describe('an outside address in BCC', () => {
  const mail = (): Tool<{ to: string; bcc: string[]; body: string }, unknown> =>
    tool({
      name: 'mail.send',
      description: 'sends',
      inputSchema: z.object({ to: z.string(), bcc: z.array(z.string()), body: z.string() }),
      effect: 'unsafe',
      ...(labels ? { accepts: { confidentiality: ['public'], otherwise: 'deny' as const } } : {}),
      execute: ({ bcc }: { bcc: string[] }) => {
        sent.push(...bcc)
        return {}
      },
    })
  const ledgerOf = tool({
    name: 'erp.read',
    description: 'reads',
    inputSchema: z.object({}),
    effect: 'read',
    labels: { integrity: 'trusted', confidentiality: ['finance'] },
    execute: () => ({ body: 'margins: 41 %' }),
  })
  let labels = true
  const code: Code = async (r) => {
    const { body } = (await r.call(ledgerOf, {})) as { body: string }
    return r.call(mail(), { to: 'eve@acme.test', bcc: ['mallory@evil.test'], body })
  }
  const grants = (domains: string[]): Caller => ({
    role: 'clerk',
    grants: {
      from: 'role:clerk',
      grants: [{ tool: 'erp.*' }, { tool: 'mail.send', args: ['/to', '/bcc/*'].map((at) => ({ at, domains })) }],
    },
  })
  const outside: Guardrail = {
    name: 'outside',
    tools: 'mail.*',
    text: {
      find: (text) =>
        [...text.matchAll(/[\w.]+@(?!acme\.test)[\w.]+/g)].map((m) => ({
          start: m.index,
          end: m.index + m[0].length,
          kind: 'outside address',
        })),
      reach: 320,
      act: 'deny',
    },
  }

  test('is stopped by scope; with the scope widened, by labels; with both off, by a pattern', async () => {
    now.caller = grants(['acme.test'])
    labels = true
    expect((await go(code)).error).toMatchObject({ code: 'SCOPE_DENIED', details: { pointer: '/bcc/0' } })
    now.caller = grants(['acme.test', 'evil.test'])
    expect((await go(code)).error).toMatchObject({ code: 'FLOW_DENIED' })
    labels = false
    now.guardrails = [outside]
    expect((await go(code)).error).toMatchObject({
      code: 'GUARDRAIL_DENIED',
      details: { reason: 'found 1 outside address' },
    })
    expect(sent).toEqual([])
    now.guardrails = []
    expect((await go(code)).status).toBe('done')
    expect(sent, 'nothing else was in its way').toEqual(['mallory@evil.test'])
  })
})
