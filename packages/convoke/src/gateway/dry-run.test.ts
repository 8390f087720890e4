/** A dry run says of guardrails what the gateway does with them: each case is asked dry and then made for real. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { person, world, type World } from '../../test/gateway/world.ts'
import { role } from '../contracts/role.ts'
import type { JsonObject } from '../core/json.ts'
import { policy, type Policy } from '../policy/policy.ts'
import { systemClock } from '../system/clock.ts'
import { rule, scriptedModel } from '../testing/scripted-model.ts'
import { dryRun, type PolicyAnswer, type PolicyCase } from './dry-run.ts'
import type { Guardrail } from './guardrail.ts'
import { modelJudge } from './model-judge.ts'
import { schemaGuard } from './schema-guard.ts'
import { tool } from './tool.ts'

const sent: string[] = []
const now: { guardrails: readonly Guardrail[]; policy: Policy | undefined } = { guardrails: [], policy: undefined }
const send = tool({
  name: 'mail.send',
  description: 'sends',
  inputSchema: z.object({ to: z.string(), body: z.string().max(60) }),
  outputSchema: z.object({ said: z.string() }),
  effect: 'unsafe',
  execute: ({ body }: { body: string }) => {
    sent.push(body)
    return { said: 'sent' }
  },
})

let w: World
let runs = 0
beforeAll(async () => {
  w = await world({
    get guardrails() {
      return now.guardrails
    },
    get policy() {
      return now.policy
    },
  })
})
afterAll(() => w.close())
beforeEach(() => {
  sent.length = 0
  Object.assign(now, { guardrails: [], policy: undefined })
})

const ask = (body: string, more: Partial<PolicyCase> = {}, askModels = false): Promise<PolicyAnswer> =>
  dryRun(
    { ...now, tools: [send], roles: [] },
    { tool: 'mail.send', input: { to: 'a@x.test', body }, ...more },
    askModels ? { askModels: { clock: systemClock } } : {},
  )

/** What becomes of the call when it is made. */
async function made(body: string): Promise<{ outcome: PolicyAnswer['outcome']; notes: JsonObject[] }> {
  const done = await w.run((r) => r.call(send, { to: 'a@x.test', body }), { id: `k${++runs}` })
  const [judged] = done.entries.filter((e) => e.record.type === 'guardrail.judged')
  return {
    outcome: done.result === 'parked' ? 'hold' : done.error === undefined ? 'allow' : 'deny',
    notes: ((judged?.payload['notes'] ?? []) as JsonObject[]).map((note) => {
      const { of: _, ...rest } = note
      return rest
    }),
  }
}

const tokens = (act: 'redact' | 'ask' | 'deny'): Guardrail => ({
  name: 'tokens',
  version: '1',
  text: {
    find: (text) =>
      [...text.matchAll(/\btok_[a-z0-9]{8}\b/g)].map((m) => ({ start: m.index, end: m.index + 12, kind: 'token' })),
    reach: 20,
    act,
  },
  asks: { category: 'privacy', group: 'dpo' },
})
const short = schemaGuard({
  name: 'short',
  input: { type: 'object', properties: { body: { type: 'string', maxLength: 20 } } },
})
const breaks: Guardrail = {
  name: 'breaks',
  before: () => {
    throw new Error('no list')
  },
}
const elsewhere: Guardrail = { name: 'elsewhere', tools: 'erp.*', before: () => ({ deny: 'not here' }) }
const grows: Guardrail = {
  name: 'grows',
  before: ({ input }) => ({ redact: { ...(input as JsonObject), body: 'x'.repeat(61) }, reason: 'made longer' }),
}

describe('what guardrails say dry is what they do', () => {
  test.each<[string, Guardrail[], string, PolicyAnswer['outcome'], string | undefined]>([
    ['nothing to say', [tokens('deny'), short], 'hello', 'allow', 'no rule speaks about it'],
    ['redact', [tokens('redact')], 'use tok_abcdefgh', 'allow', undefined],
    ['ask', [tokens('ask')], 'use tok_abcdefgh', 'hold', 'guardrail tokens: found 1 token'],
    ['deny', [tokens('deny')], 'use tok_abcdefgh', 'deny', 'guardrail tokens@1: found 1 token'],
    ['a schema', [short], 'longer than twenty characters', 'deny', undefined],
    ['each sees what the one before left', [tokens('redact'), tokens('deny')], 'a tok_abcdefgh b', 'allow', undefined],
    ['one that throws denies', [breaks], 'hello', 'deny', 'guardrail breaks: the guardrail itself failed: no list'],
    ['another tool', [elsewhere], 'hello', 'allow', 'no rule speaks about it'],
    ['the first that denies ends it', [tokens('ask'), breaks, short], 'tok_abcdefgh', 'deny', undefined],
    ['what is left does not fit the tool', [grows], 'hello', 'deny', undefined],
  ])('%s', async (_, guardrails, body, outcome, first) => {
    now.guardrails = guardrails
    const dry = await ask(body)
    expect(sent).toEqual([])
    const real = await made(body)
    expect([dry.outcome, real.outcome]).toEqual([outcome, outcome])
    if (first !== undefined) expect(dry.why[0]).toBe(first)
    // The gateway records what was said once anybody said more than yes.
    if (real.notes.length > 0) expect(dry.guardrails).toEqual(real.notes)
    else expect(dry.guardrails.every(({ verdict }) => verdict === 'allow')).toBe(true)
    expect(sent).toEqual(outcome !== 'allow' ? [] : [(dry.redacted as { body: string } | undefined)?.body ?? body])
  })

  test('what is redacted is told, and so is what would be sent', async () => {
    now.guardrails = [tokens('redact')]
    const { why, redacted } = await ask('use tok_abcdefgh')
    expect(redacted).toEqual({ to: 'a@x.test', body: 'use [redacted:token]' })
    expect(why).toEqual(['no rule speaks about it', 'guardrail tokens@1 redacts: found 1 token'])
  })

  test('who would be asked: the category of the policy, with its group and how many', async () => {
    now.guardrails = [tokens('ask')]
    now.policy = policy({
      version: '3',
      rules: [],
      categories: { privacy: { group: 'dpo', quorum: 2 } },
      groups: { dpo: [person.id, 'bob'] },
    })
    const { asks, outcome } = await ask('use tok_abcdefgh', { expect: 'hold' })
    expect([outcome, asks]).toEqual(['hold', ['privacy, asked of dpo (2 people)']])
    await made('use tok_abcdefgh')
    expect(await w.pending(`k${runs}`)).toMatchObject([{ category: 'privacy', group: 'dpo' }])
  })

  test('a role without the tool is refused before any guardrail looks, and its grants are held against what is left', async () => {
    now.guardrails = [tokens('redact')]
    const base = { input: z.object({}), output: z.object({}) }
    const none = role({ name: 'none', ...base, tools: [] })
    const some = role({
      name: 'some',
      ...base,
      grants: [{ tool: 'mail.send', args: [{ at: '/body', matches: 'use \\[redacted:token\\]' }] }],
    })
    const house = { ...now, tools: [send], roles: [none, some] }
    const its = { tool: 'mail.send', input: { to: 'a@x.test', body: 'use tok_abcdefgh' } }
    const refused = await dryRun(house, { ...its, role: 'none' })
    expect(refused).toMatchObject({ outcome: 'deny', guardrails: [], why: ['role none does not have mail.send'] })
    expect(await dryRun(house, { ...its, role: 'some' })).toMatchObject({ outcome: 'allow' })
    expect(await dryRun({ ...house, guardrails: [] }, { ...its, role: 'some' })).toMatchObject({ outcome: 'deny' })
  })
})

describe('models', () => {
  let asked = 0
  const judging = (verdict: string): Guardrail =>
    modelJudge({
      name: 'tone',
      model: scriptedModel({
        id: `judge-${verdict}`,
        rules: [
          rule({
            name: 'judges',
            when: () => true,
            reply: () => {
              asked++
              return JSON.stringify({ verdict, reason: 'it is rude' })
            },
          }),
        ],
      }),
      rules: 'Be polite.',
      asks: { category: 'tone', group: 'press' },
    })
  beforeEach(() => {
    asked = 0
  })

  test('a judge is not asked, and the answer says so; what the others say counts all the same', async () => {
    const tone = judging('deny')
    const name = `tone@${tone.version ?? ''}`
    now.guardrails = [tone, tokens('ask')]
    const dry = await ask('use tok_abcdefgh')
    expect(asked).toBe(0)
    expect(dry.guardrails).toMatchObject([
      { guardrail: name, verdict: 'not-asked' },
      { guardrail: 'tokens@1', verdict: 'ask', reason: 'found 1 token', category: 'privacy', group: 'dpo' },
    ])
    expect(dry).toMatchObject({ outcome: 'hold' })
    expect(dry.why.at(-1)).toBe(`guardrail ${name} was not asked: it asks a model`)
  })

  test.each(['allow', 'ask', 'deny'] as const)(
    'told to, it asks, and says what the gateway does: %s',
    async (verdict) => {
      now.guardrails = [judging(verdict)]
      const dry = await ask('hello', {}, true)
      expect(asked).toBe(1)
      const real = await made('hello')
      expect(dry.outcome).toBe(real.outcome)
      const [said] = dry.guardrails
      expect(said).toMatchObject({ verdict, usage: { calls: 1 } })
      expect(real.notes[0]).toMatchObject({ verdict })
      expect(Object.keys(said!)).not.toContain('of')
    },
  )

  test('a model that does not answer in time bounds a dry run as it does a call', async () => {
    const silent = modelJudge({
      name: 'silent',
      model: { id: 'none/silent', generate: () => new Promise(() => undefined) } as never,
      rules: 'Be polite.',
      timeoutMs: 20,
    })
    now.guardrails = [silent]
    const dry = await ask('hello', {}, true)
    expect(dry).toMatchObject({ outcome: 'hold', guardrails: [{ verdict: 'ask' }] })
    expect(dry.guardrails[0]?.reason).toContain('no verdict within 20 ms')
  })

  test('code that asks a model only about some calls is not asked about those, and hiding the failure does not help', async () => {
    const picky: Guardrail = {
      name: 'picky',
      before: async ({ input }, context) => {
        if (!JSON.stringify(input).includes('?')) return 'allow'
        return context.generate({} as never, { messages: [] }).then(
          () => 'allow' as const,
          () => ({ deny: 'the model is away' }),
        )
      },
    }
    now.guardrails = [picky]
    expect(await ask('hello')).toMatchObject({ outcome: 'allow', guardrails: [{ verdict: 'allow' }] })
    expect(await ask('hello?')).toMatchObject({ outcome: 'allow', guardrails: [{ verdict: 'not-asked' }] })
  })

  test('a rule about text is asked where the same guardrail also asks a model', async () => {
    const both: Guardrail = { ...judging('allow'), name: 'both', version: '1', ...{ text: tokens('redact').text! } }
    now.guardrails = [both]
    expect(await ask('use tok_abcdefgh')).toMatchObject({
      guardrails: [
        { guardrail: 'both@1', verdict: 'redact' },
        { guardrail: 'both@1', verdict: 'not-asked' },
      ],
      redacted: { body: 'use [redacted:token]' },
    })
    expect(asked).toBe(0)
  })
})
