import { describe, expect, test } from 'vitest'
import type { Message, ModelRequest } from '../ports/model.ts'
import { fakeClock } from './clock.ts'
import { faults } from './faults.ts'
import { lastText, rule, scriptedModel, toolCall } from './scripted-model.ts'

const user = (text: string): Message => ({ role: 'user', parts: [{ type: 'text', text }] })
const ask = (text: string): ModelRequest => ({ messages: [user(text)] })
const signal = new AbortController().signal

const echo = rule({
  name: 'echo',
  when: (request) => /echo (.*)/.exec(lastText(request)),
  reply: (_, match) => match[1] ?? '',
})

test('the first rule that matches answers with what it found', async () => {
  const model = scriptedModel({
    id: 'demo',
    rules: [rule({ name: 'never', when: () => false, reply: () => 'no' }), echo, { ...echo, reply: () => 'late' }],
  })
  expect(model).toMatchObject({ id: 'scripted/demo', provider: 'scripted', kind: 'scripted' })
  const answer = await model.generate(ask('echo hi there'), { signal })
  expect(answer).toEqual({
    parts: [{ type: 'text', text: 'hi there' }],
    finish: 'stop',
    tokens: { input: 7, output: 2 },
    servedModel: 'demo',
    responseId: expect.stringMatching(/^scripted-[0-9a-f]{12}$/),
  })
})

test('the same request gets the same answer in every instance', async () => {
  const make = () => scriptedModel({ id: 'demo', rules: [echo] }).generate(ask('echo x'), { signal })
  expect(await make()).toEqual(await make())
})

test('nothing that matches is a refusal that names the rules', async () => {
  await expect(scriptedModel({ id: 'demo', rules: [echo] }).generate(ask('what?'), { signal })).rejects.toMatchObject({
    code: 'MODEL_REFUSED',
    details: { rules: ['echo'], asked: 'what?' },
  })
})

test('tool calls get ids that go on through the conversation', async () => {
  const model = scriptedModel({
    id: 'demo',
    rules: [
      rule({ name: 'calls', when: () => true, reply: () => [toolCall('a.b', { x: 1 }), toolCall('c', '{broken')] }),
    ],
  })
  const first = await model.generate(ask('go'), { signal })
  expect(first.finish).toBe('tool-calls')
  expect(first.parts).toEqual([
    { type: 'tool-call', id: 'call_1', tool: 'a.b', input: '{"x":1}' },
    { type: 'tool-call', id: 'call_2', tool: 'c', input: '{broken' },
  ])
  const second = await model.generate(
    { messages: [user('go'), { role: 'assistant', parts: first.parts }, user('on')] },
    { signal },
  )
  expect(second.parts).toMatchObject([{ id: 'call_3' }, { id: 'call_4' }])
})

test('text comes in pieces that add up', async () => {
  const pieces: string[] = []
  const text = 'one two three four five six seven eight nine ten eleven'
  await scriptedModel({ id: 'demo', rules: [echo] }).generate(ask(`echo ${text}`), {
    signal,
    onText: (delta) => void pieces.push(delta),
  })
  expect(pieces.length).toBe(3)
  expect(pieces.join('')).toBe(text)
})

test('more context costs more tokens', async () => {
  const model = scriptedModel({ id: 'demo', rules: [echo] })
  const plain = await model.generate(ask('echo x'), { signal })
  const tools = [{ name: 'erp.getOrder', description: 'Finds a purchase order', inputSchema: { type: 'object' } }]
  const rich = await model.generate({ ...ask('echo x'), tools, outputSchema: { type: 'object' } }, { signal })
  expect(rich.tokens.input).toBeGreaterThan(plain.tokens.input ?? 0)
})

describe('misbehaviour', () => {
  const clock = fakeClock()
  const model = scriptedModel({
    id: 'bad',
    clock,
    idleTimeoutMs: 5000,
    rules: [
      rule({
        name: '429 then ok',
        when: (request) => lastText(request) === 'busy',
        reply: (_request, _match, { attempt }) => (attempt === 1 ? faults.rateLimited(1500) : 'ok'),
      }),
      rule({ name: '500', when: (r) => lastText(r) === 'boom', reply: () => faults.serverError() }),
      rule({ name: 'silence', when: (r) => lastText(r) === 'quiet', reply: () => faults.silent() }),
      rule({ name: 'late', when: (r) => lastText(r) === 'late', reply: () => faults.delayed(300, 'here') }),
      rule({ name: 'cut', when: (r) => lastText(r) === 'cut', reply: () => faults.truncated('{"a":12345}') }),
      rule({ name: 'json', when: (r) => lastText(r) === 'json', reply: () => faults.malformedJson('{"a":[1]}') }),
    ],
  })

  test('429 first, then the answer; another request starts over', async () => {
    await expect(model.generate(ask('busy'), { signal })).rejects.toMatchObject({
      code: 'MODEL_RATE_LIMITED',
      details: { retryAfterMs: 1500 },
    })
    expect((await model.generate(ask('busy'), { signal })).parts).toEqual([{ type: 'text', text: 'ok' }])
    const other = { messages: [user('before'), user('busy')] }
    await expect(model.generate(other, { signal })).rejects.toMatchObject({ code: 'MODEL_RATE_LIMITED' })
  })

  test('500', async () => {
    await expect(model.generate(ask('boom'), { signal })).rejects.toMatchObject({ code: 'MODEL_UNREACHABLE' })
  })

  test('silence lasts until the idle time-out, or until the caller has enough', async () => {
    const quiet = model.generate(ask('quiet'), { signal }).catch((error: unknown) => error)
    await clock.advance(5000)
    expect(await quiet).toMatchObject({ code: 'MODEL_UNREACHABLE', details: { reason: 'silent' } })
    const controller = new AbortController()
    const given = model.generate(ask('quiet'), { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(given).rejects.toThrow('enough')
    expect(clock.sleeping).toBe(0)
  })

  test('a late answer is late by the clock', async () => {
    let came = false
    const late = model.generate(ask('late'), { signal }).then((answer) => ((came = true), answer))
    await clock.advance(299)
    expect(came).toBe(false)
    await clock.advance(1)
    expect((await late).parts).toEqual([{ type: 'text', text: 'here' }])
  })

  test('truncated and malformed answers are neither whole nor JSON', async () => {
    expect(await model.generate(ask('cut'), { signal })).toMatchObject({
      finish: 'length',
      parts: [{ type: 'text', text: '{"a":' }],
    })
    const [part] = (await model.generate(ask('json'), { signal })).parts
    expect(part).toMatchObject({ type: 'text', text: expect.stringContaining('"a":[1]') })
    expect(() => JSON.parse(part?.type === 'text' ? part.text : '') as unknown).toThrow(SyntaxError)
  })
})
