import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { afterEach, describe, expect, test } from 'vitest'
import { isConvokeError } from '../../src/core/errors.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { canonicalize } from '../../src/core/canonical.ts'
import { fromAiSdk } from '../../src/models/from-ai-sdk.ts'
import type { Model, ModelRequest, ModelTool } from '../../src/ports/model.ts'
import { apiOf, expected, isStream, type Api } from './expected.ts'
import { readRecordings, replay, trafficFolder, type Exchange, type Server } from './replay-server.ts'

// Real traffic of OpenAI (chat, responses), Anthropic and OpenAI-compatible servers, replayed from loopback through the
// provider packages and our adapter.

const folder = trafficFolder()
if (folder === undefined) console.warn('recorded provider traffic is not here (CONVOKE_TEST_DATA): these tests skip')
const all = folder === undefined ? [] : readRecordings(folder)

let server: Server | undefined
afterEach(async () => {
  await server?.close()
  server = undefined
})

function modelFor(api: Api, exchange: Exchange, url: string): Model {
  const name = String(exchange.request['model'])
  const own = exchange.path.slice(0, exchange.path.lastIndexOf(api === 'chat' ? '/chat/' : '/'))
  const settings = { baseURL: url + own, apiKey: 'test-key' }
  if (api === 'anthropic') return fromAiSdk(createAnthropic(settings)(name))
  if (api === 'responses') return fromAiSdk(createOpenAI(settings)(name))
  return name.startsWith('gpt') || name.startsWith('o')
    ? fromAiSdk(createOpenAI(settings).chat(name))
    : fromAiSdk(createOpenAICompatible({ ...settings, name: 'compatible', supportsStructuredOutputs: true })(name))
}

/** The function tools that the recorded request offered, as ours. */
function toolsOf(exchange: Exchange): readonly ModelTool[] {
  const tools = (exchange.request['tools'] ?? []) as readonly Record<string, JsonObject>[]
  return tools.flatMap((tool) => {
    const named = (tool['function'] ?? tool) as JsonObject
    const schema = named['parameters'] ?? named['input_schema']
    return typeof named['name'] === 'string' && schema !== undefined
      ? [{ name: named['name'], description: '', inputSchema: schema as JsonObject }]
      : []
  })
}

function requestFor(exchange: Exchange): ModelRequest {
  return {
    messages: [{ role: 'user', parts: [{ type: 'text', text: 'Hello' }] }],
    tools: toolsOf(exchange),
    maxOutputTokens: 1000,
  }
}

/** One recording is of a server that answers 200 with something that is no completion. */
function isGarbage(exchange: Exchange): boolean {
  return exchange.file.includes('invalid_response')
}

const usable = all.flatMap((exchange) => {
  const api = apiOf(exchange)
  return api === undefined || exchange.file.includes('google') || exchange.request['background'] === true
    ? []
    : [{ api, exchange }]
})

function titled(list: typeof usable): readonly (readonly [string, (typeof usable)[number]])[] {
  return list.map((one) => [`${one.api}${isStream(one.exchange) ? ' stream' : ''}: ${one.exchange.file}`, one])
}

describe.skipIf(folder === undefined)('recorded answers', () => {
  test('there are enough of each kind', () => {
    const files = (api: Api): number => new Set(usable.filter((u) => u.api === api).map((u) => u.exchange.file)).size
    expect(files('chat')).toBeGreaterThanOrEqual(20)
    expect(files('responses')).toBeGreaterThanOrEqual(15)
    expect(files('anthropic')).toBeGreaterThanOrEqual(20)
  })

  const answered = usable.filter(({ exchange }) => exchange.status === 200 && !isGarbage(exchange))
  test.each(titled(answered))('%s', async (_, { api, exchange }) => {
    server = await replay([exchange])
    const said = expected(api, exchange)
    let streamed = ''
    const answer = await modelFor(api, exchange, server.url).generate(requestFor(exchange), {
      signal: new AbortController().signal,
      ...(isStream(exchange) ? { onText: (delta: string) => void (streamed += delta) } : {}),
    })
    const text = answer.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')
    expect(text).toBe(said.text)
    if (isStream(exchange)) expect(streamed).toBe(said.text)
    const calls = answer.parts.flatMap((part) => (part.type === 'tool-call' ? [part] : []))
    expect(calls.map((call) => [call.tool, JSON.parse(call.input)])).toEqual(said.calls.map((c) => [c.tool, c.input]))
    for (const [i, call] of said.calls.entries()) if (call.id) expect(calls[i]?.id).toBe(call.id)
    expect(answer.tokens).toMatchObject({ input: said.input, output: said.output })
    expect(answer.servedModel).toBe(said.model)
    expect(answer.responseId).toBe(said.id)
    if (calls.length > 0) expect(answer.finish).toBe('tool-calls')
    // Whatever came can be written into the ledger.
    expect(() => canonicalize(answer)).not.toThrow()
  })
})

describe.skipIf(folder === undefined)('recorded garbage', () => {
  test.each(titled(usable.filter(({ exchange }) => isGarbage(exchange))))('%s', async (_, { api, exchange }) => {
    server = await replay([exchange])
    const error: unknown = await modelFor(api, exchange, server.url)
      .generate(requestFor(exchange), { signal: new AbortController().signal })
      .catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'MODEL_UNREACHABLE', details: { reason: 'answer-unreadable', status: 200 } })
  })
})

describe.skipIf(folder === undefined)('recorded refusals', () => {
  const refused = usable.filter(({ exchange }) => exchange.status >= 400)
  test('there are some', () => expect(refused.length).toBeGreaterThanOrEqual(4))

  test.each(titled(refused))('%s', async (_, { api, exchange }) => {
    server = await replay([exchange])
    const error: unknown = await modelFor(api, exchange, server.url)
      .generate(requestFor(exchange), { signal: new AbortController().signal })
      .catch((caught: unknown) => caught)
    const { message } = (JSON.parse(exchange.body) as { error: { message: string } }).error
    expect(isConvokeError(error, 'MODEL_REFUSED')).toBe(true)
    expect(error).toMatchObject({ details: { status: exchange.status } })
    expect(String(error)).toContain(message.slice(0, 100))
  })
})
