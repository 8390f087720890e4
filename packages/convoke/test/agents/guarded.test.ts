import { afterEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { agent } from '../../src/agents/define.ts'
import { role } from '../../src/contracts/role.ts'
import type { Guardrail } from '../../src/gateway/guardrail.ts'
import type { TextRule } from '../../src/gateway/guard-text.ts'
import { modelJudge } from '../../src/gateway/model-judge.ts'
import type { Model, ModelRequest, Part } from '../../src/ports/model.ts'
import { scriptedModel, rule } from '../../src/testing/scripted-model.ts'
import { world, type Cast, type Code, type Ended, type World } from './world.ts'

// What models are shown, write and stream, with guardrails in the way.

const say = role({ name: 'say', input: z.string(), output: z.string() })

/** Streams its text in the given pieces, as a provider does, and keeps what it was asked. */
function speaker(pieces: readonly string[], more: readonly Part[] = []): Model & { readonly asked: ModelRequest[] } {
  const asked: ModelRequest[] = []
  return {
    id: 'scripted/speaker',
    provider: 'scripted',
    kind: 'scripted',
    asked,
    async generate(request, { signal, onText }) {
      asked.push(request)
      for (const piece of pieces) {
        await Promise.resolve()
        signal.throwIfAborted()
        onText?.(piece)
      }
      return {
        parts: [...more, { type: 'text', text: pieces.join('') }],
        finish: 'stop',
        tokens: { input: 1, output: 1 },
      }
    },
  }
}

const tokens = (act: TextRule['act'] = 'redact', at?: TextRule['at']): Guardrail => ({
  name: 'tokens',
  text: {
    find: (text) =>
      [...text.matchAll(/\btok_[a-z0-9]{8}\b/g)].map((m) => ({ start: m.index, end: m.index + 12, kind: 'token' })),
    reach: 24,
    act,
    ...(at === undefined ? {} : { at }),
  },
})

let w: World | undefined
afterEach(async () => {
  await w?.close()
  w = undefined
})
const code: Code = async (r) => (await r.ask(say, 'please')).value
async function open(model: Model, guardrails: readonly Guardrail[], cast: Partial<Cast> = {}): Promise<World> {
  w = await world({
    agents: [agent({ role: say, name: 'sayer', instructions: 'Say.' })],
    model,
    gateway: { guardrails },
    ...cast,
  })
  return w
}
const streamed = (ended: Ended): string =>
  ended.live
    .filter((e) => e.type === 'model.text')
    .map((e) => (e.data as { delta: string }).delta)
    .join('')
const answerOf = (ended: Ended): string => {
  const [record] = ended.entries.filter((e) => e.payload['op'] === 'model')
  return ((record?.payload['value'] ?? { parts: [] }) as unknown as { parts: Part[] }).parts
    .flatMap((p) => (p.type === 'text' ? [p.text] : []))
    .join('')
}

const said = `{"value":"${'some words before it, '.repeat(4)}tok_12345678 and the rest of it, which is longer than what is held back"}`

describe('a stream', () => {
  test('cut at every position of a secret: watchers and record have the same, and neither has the secret', async () => {
    const at = said.indexOf('tok_')
    const models: Record<string, Model> = {}
    for (let cut = at - 2; cut < at + 15; cut++)
      models[`m${cut}`] = speaker([
        said.slice(0, cut),
        said.slice(cut, cut + 3),
        ...(said.slice(cut + 3).match(/.{1,9}/g) ?? []),
      ])
    const agents = Object.keys(models).map((model) => agent({ role: say, name: model, model, instructions: 'Say.' }))
    const its = await open(models[`m${at}`] as Model, [tokens()], { agents, models })
    for (const name of Object.keys(models)) {
      const ended = await its.run(async (r) => (await r.ask(say, 'please', { agent: name })).value)
      expect(ended.error).toBeUndefined()
      expect(streamed(ended)).toBe(answerOf(ended))
      expect(streamed(ended)).toContain('[redacted:token] and the rest')
      expect(ended.value).toContain('[redacted:token]')
      expect(JSON.stringify([ended.entries, ended.live])).not.toContain('tok_')
      expect(ended.live.filter((e) => e.type === 'model.text').length).toBeGreaterThan(1)
    }
  })

  test('GUARDRAIL_DENIED: a denial ends the model call and the stream; the ask fails with the reason', async () => {
    const model = speaker([...(said.match(/.{1,5}/g) ?? []), ...Array.from({ length: 50 }, () => 'more ')])
    const its = await open(model, [tokens('deny')])
    const ended = await its.run(code)
    expect(ended.error?.code).toBe('GUARDRAIL_DENIED')
    expect(JSON.stringify(ended.error)).toContain('found token')
    expect(ended.live.some((e) => e.type === 'guardrail.denied')).toBe(true)
    expect(said.startsWith(streamed(ended))).toBe(true)
    expect(JSON.stringify([ended.entries, ended.live])).not.toMatch(/tok_|more more/)
  })

  test('a guardrail that has to see the whole holds all of it back; then the rest comes at once', async () => {
    const seen: string[] = []
    const whole: Guardrail = {
      name: 'whole',
      roles: 's*',
      answer: ({ text, role: whose, model }) => {
        seen.push(`${whose ?? ''} ${model}`)
        return { redact: text.replace('the rest', 'THE REST'), reason: 'louder' }
      },
    }
    const its = await open(speaker(said.match(/.{1,9}/g) ?? []), [tokens(), whole])
    const ended = await its.run(code)
    expect(seen).toEqual(['say scripted/speaker'])
    expect(ended.live.filter((e) => e.type === 'model.text')).toHaveLength(1)
    expect(streamed(ended)).toBe(answerOf(ended))
    expect(ended.value).toContain('[redacted:token] and THE REST')
  })
})

test('reasoning is cleaned too, and loses what the provider signed of it', async () => {
  const reasoning: Part = { type: 'reasoning', text: 'I know tok_12345678', providerData: { x: { signature: 's' } } }
  const its = await open(speaker(['{"value":"fine"}'], [reasoning]), [tokens()])
  const ended = await its.run(code)
  const [record] = ended.entries.filter((e) => e.payload['op'] === 'model')
  expect(record?.payload['value']).toMatchObject({
    parts: [{ type: 'reasoning', text: 'I know [redacted:token]' }, { type: 'text' }],
  })
  expect(JSON.stringify(record?.payload)).not.toContain('signature')
})

test('ask: the answer waits for a person, is shown to nobody before, and the model is not called again', async () => {
  const model = speaker(said.match(/.{1,9}/g) ?? [])
  const its = await open(model, [tokens('ask', ['answer'])])
  const held = await its.run(code)
  expect(held.status).toBe('parked')
  expect(JSON.stringify(held.live)).not.toContain('tok_')
  const [row] = await its.ledger.approvals({ tenant: 'acme', status: 'pending' })
  expect(row).toMatchObject({
    kind: 'answer',
    category: 'guardrail',
    action: { from: 'scripted/speaker', role: 'say' },
  })
  await its.decide(row!.id, { decision: 'approved' })
  const done = await its.go(code, held.id)
  expect([done.status, model.asked.length]).toEqual(['done', 1])
  expect(done.value).toContain('tok_12345678')
})

describe('what a model is shown', () => {
  test('is cleaned before it is sent, in a step of its own', async () => {
    const model = speaker(['{"value":"fine"}'])
    const its = await open(model, [tokens('redact', ['prompt'])])
    const ended = await its.run(async (r) => (await r.ask(say, 'use tok_12345678 for it')).value)
    expect(ended.value).toBe('fine')
    expect(JSON.stringify(model.asked)).toContain('use [redacted:token] for it')
    expect(JSON.stringify(model.asked)).not.toContain('tok_')
    expect(ended.at('say/prompt')?.payload).toMatchObject({
      op: 'guard',
      value: { 1: expect.stringContaining('[redacted:token]') },
    })
  })

  test('can be refused, and can need a person', async () => {
    const model = speaker(['{"value":"fine"}'])
    const its = await open(model, [tokens('deny', ['prompt'])])
    const asks: Code = async (r) => (await r.ask(say, 'use tok_12345678 for it')).value
    const ended = await its.run(asks)
    expect(JSON.stringify(ended.error)).toContain('GUARDRAIL_DENIED')
    expect(model.asked).toHaveLength(0)
    await its.close()
    const other = await open(model, [tokens('ask', ['prompt'])])
    const held = await other.run(asks)
    const [row] = await other.ledger.approvals({ tenant: 'acme', status: 'pending' })
    expect(row).toMatchObject({ kind: 'answer', title: 'showing scripted/speaker its instructions and briefing' })
    await other.decide(row!.id, { decision: 'approved' })
    expect((await other.go(asks, held.id)).status).toBe('done')
  })
})

test('a judge of answers costs what it costs: on the record of the call, of the ask, and on the budget', async () => {
  const judge = modelJudge({
    name: 'judge',
    rules: 'No tokens.',
    at: ['answer'],
    model: scriptedModel({
      id: 'judge',
      rules: [
        rule({
          name: 'all',
          when: (): boolean => true,
          reply: (): string => '{"verdict":"redact","reason":"a token","hide":["tok_12345678"]}',
        }),
      ],
    }),
  })
  const its = await open(speaker([said]), [judge])
  const ended = await its.run(code)
  expect(ended.value).toContain('[redacted:judged]')
  const [model] = ended.entries.filter((e) => e.payload['op'] === 'model')
  expect(model?.payload).toMatchObject({
    usage: { tokens: { input: 1 } },
    judging: { calls: 1 },
    redactedBy: ['judge'],
  })
  expect(ended.at('say')?.payload).toMatchObject({ usage: { calls: 2 } })
  await its.close()
  // The model alone would have used two tokens.
  const poor = await open(speaker([said]), [judge], { budget: { run: { maxTokens: 3 } } })
  const twice = await poor.run(async (r) => {
    await r.ask(say, 'please')
    return (await r.ask(say, 'again', { name: 'second' })).value
  })
  expect(twice.error?.code).toBe('BUDGET_EXCEEDED')
})
