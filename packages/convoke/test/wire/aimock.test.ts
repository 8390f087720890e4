import { LLMock } from '@copilotkit/aimock'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { resolveModel } from '../../src/models/resolve.ts'
import type { Message, Model, ModelRequest, ModelResponse } from '../../src/ports/model.ts'

// The three wire formats that resolveModel speaks, served by aimock from one loopback port.

const mock = new LLMock({ port: 0, host: '127.0.0.1', logLevel: 'silent' })
beforeAll(async () => void (await mock.start()))
afterAll(() => {
  speak({ content: 'too late' })
  return mock.stop()
})
beforeEach(() => void mock.reset())

/** What a silent server answers with; it comes when the tests are over, so that the server can stop. */
let speak: (response: { content: string }) => void
const silence = new Promise<{ content: string }>((resolve) => void (speak = resolve))

const apis = ['openai', 'anthropic', 'openai-compatible'] as const

function modelFor(api: (typeof apis)[number], idleTimeoutMs = 5000): Promise<Model> {
  const env = {
    OPENAI_API_KEY: 'sk-test-openai-0001',
    ANTHROPIC_API_KEY: 'sk-ant-test-0001',
    OPENAI_BASE_URL: `${mock.url}/v1`,
    ANTHROPIC_BASE_URL: `${mock.url}/v1`,
  }
  const spec = {
    openai: 'openai/gpt-5.4-mini',
    anthropic: 'anthropic/claude-sonnet-5',
    'openai-compatible': `openai-compatible/qwen@${mock.url}/v1`,
  }[api]
  return resolveModel(spec, env, { idleTimeoutMs })
}

const user = (text: string): Message => ({ role: 'user', parts: [{ type: 'text', text }] })
const signal = new AbortController().signal
const textOf = (answer: ModelResponse): string =>
  answer.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')

const orderTool = {
  name: 'erp.getOrder',
  description: 'Finds a purchase order',
  inputSchema: { type: 'object', properties: { id: { type: 'string' } }, required: ['id'] },
}

describe.each(apis)('%s', (api) => {
  test('a tool loop, with names that the wire does not allow', async () => {
    mock.on(
      { userMessage: 'order', hasToolResult: false },
      { toolCalls: [{ name: 'erp_getOrder', arguments: '{"id": "PO-77"}' }] },
    )
    mock.on({ userMessage: 'order', hasToolResult: true }, { content: 'PO-77 has 3 lines.' })
    const model = await modelFor(api)
    const request: ModelRequest = { messages: [user('Which order?')], tools: [orderTool] }
    const first = await model.generate(request, { signal })
    const call = first.parts.find((part) => part.type === 'tool-call')
    expect(first.finish).toBe('tool-calls')
    expect(call).toMatchObject({ tool: 'erp.getOrder' })
    expect(JSON.parse(call!.input)).toEqual({ id: 'PO-77' })
    const second = await model.generate(
      {
        ...request,
        messages: [
          ...request.messages,
          { role: 'assistant', parts: first.parts },
          { role: 'tool', parts: [{ type: 'tool-result', id: call!.id, tool: 'erp.getOrder', output: { lines: 3 } }] },
        ],
      },
      { signal },
    )
    expect(second).toMatchObject({ finish: 'stop' })
    expect(textOf(second)).toBe('PO-77 has 3 lines.')
  })

  test('a stream says its text as it comes', async () => {
    const text = 'one two three four five six seven eight nine ten '.repeat(5)
    mock.onMessage('count', { content: text }, { chunkSize: 10 })
    const deltas: string[] = []
    const answer = await (
      await modelFor(api)
    ).generate({ messages: [user('count')] }, { signal, onText: (delta) => void deltas.push(delta) })
    expect(deltas.length).toBeGreaterThan(3)
    expect(deltas.join('')).toBe(text)
    expect(textOf(answer)).toBe(text)
  })

  test('a schema goes along, strict or not, and JSON comes back as text', async () => {
    mock.onMessage('json', { content: '{"total":"10.00"}' })
    const schema = { type: 'object', properties: { total: { type: 'string' } } }
    const answer = await (
      await modelFor(api)
    ).generate({ messages: [user('json please')], outputSchema: schema }, { signal })
    // For models without native support the Anthropic package asks through a tool of its own; aimock answers in text.
    expect(JSON.parse(textOf(answer))).toEqual({ total: '10.00' })
  })

  test('429 gives how long to wait; the next call succeeds', async () => {
    mock.on(
      { userMessage: 'busy', sequenceIndex: 0 },
      { error: { message: 'Slow down', type: 'rate_limit_error' }, status: 429, retryAfter: 3 },
    )
    mock.on({ userMessage: 'busy', sequenceIndex: 1 }, { content: 'fine' })
    const model = await modelFor(api)
    const request = { messages: [user('busy?')] }
    await expect(model.generate(request, { signal })).rejects.toMatchObject({
      code: 'MODEL_RATE_LIMITED',
      details: { status: 429, retryAfterMs: 3000 },
    })
    expect(textOf(await model.generate(request, { signal }))).toBe('fine')
  })

  test('500 is unreachable, 401 is refused and shows no key', async () => {
    const model = await modelFor(api)
    mock.nextRequestError(500, { message: 'boom', type: 'server_error' })
    await expect(model.generate({ messages: [user('a')] }, { signal })).rejects.toMatchObject({
      code: 'MODEL_UNREACHABLE',
      details: { status: 500 },
    })
    mock.nextRequestError(401, { message: 'Incorrect API key provided: sk-test-openai-0001 or sk-ant-test-0001' })
    const error: unknown = await model.generate({ messages: [user('a')] }, { signal }).catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'MODEL_REFUSED', details: { status: 401 } })
    expect(`${String(error)} ${JSON.stringify(error)}`).not.toContain('0001')
  })

  test.each(['whole', 'stream'])('a silent server is unreachable: %s', async (how) => {
    mock.onMessage('quiet', () => silence)
    const model = await modelFor(api, 150)
    await expect(
      model.generate({ messages: [user('quiet')] }, { signal, ...(how === 'stream' ? { onText: () => {} } : {}) }),
    ).rejects.toMatchObject({ code: 'MODEL_UNREACHABLE', details: { reason: 'silent', idleTimeoutMs: 150 } })
  })

  test('an abort rejects with its own reason', async () => {
    mock.onMessage('quiet', () => silence)
    const model = await modelFor(api)
    const controller = new AbortController()
    const reason = new Error('the run was cancelled')
    const call = model.generate({ messages: [user('quiet')] }, { signal: controller.signal })
    setTimeout(() => controller.abort(reason), 50)
    await expect(call).rejects.toBe(reason)
    await expect(model.generate({ messages: [user('x')] }, { signal: controller.signal })).rejects.toBe(reason)
  })

  test('a stream that breaks off is unreachable', async () => {
    mock.onMessage('cut', { content: 'a b c d e f g h '.repeat(20) }, { chunkSize: 5, truncateAfterChunks: 3 })
    const model = await modelFor(api)
    await expect(model.generate({ messages: [user('cut')] }, { signal, onText: () => {} })).rejects.toMatchObject({
      code: 'MODEL_UNREACHABLE',
    })
  })
})
