import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { afterEach, describe, expect, test } from 'vitest'
import type { Json, JsonObject } from '../../src/core/json.ts'
import { decode, canonicalize } from '../../src/core/canonical.ts'
import { fromAiSdk } from '../../src/models/from-ai-sdk.ts'
import type { Message, Model, ModelResponse } from '../../src/ports/model.ts'
import { apiOf } from './expected.ts'
import { readRecordings, replay, trafficFolder, type Exchange, type Server } from './replay-server.ts'

// Thinking signatures, encrypted reasoning and item ids must come back to the provider byte for byte, also after they
// lay in the ledger as canonical JSON.

const folder = trafficFolder()
if (folder === undefined) console.warn('recorded provider traffic is not here (CONVOKE_TEST_DATA): these tests skip')
const all = folder === undefined ? [] : readRecordings(folder)

let server: Server | undefined
afterEach(async () => {
  await server?.close()
  server = undefined
})

const ask: Message = { role: 'user', parts: [{ type: 'text', text: 'Hello' }] }

/** Takes the answer, stores it, and asks again with it in the history; returns what then went over the wire. */
async function secondRequest(model: Model, exchange: Exchange): Promise<Readonly<Record<string, unknown>>> {
  const stream = exchange.request['stream'] === true
  const signal = new AbortController().signal
  const options = stream ? { signal, onText: (): void => {} } : { signal }
  const first = await model.generate({ messages: [ask] }, options)
  const stored = decode(canonicalize(first)) as unknown as ModelResponse
  const results = stored.parts.flatMap((part) =>
    part.type === 'tool-call'
      ? [{ type: 'tool-result' as const, id: part.id, tool: part.tool, output: { ok: true } }]
      : [],
  )
  await model.generate(
    {
      messages: [
        ask,
        { role: 'assistant', parts: stored.parts },
        ...(results.length > 0 ? [{ role: 'tool' as const, parts: results }] : []),
        ask,
      ],
    },
    options,
  )
  return server!.requests[1]!
}

function found(value: Json, key: string): readonly Json[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]: [string, Json]) => [
    ...(name === key && inner !== null ? [inner] : []),
    ...found(inner, key),
  ])
}

function bodyOf(exchange: Exchange): Json {
  if (exchange.request['stream'] !== true) return JSON.parse(exchange.body) as Json
  const lines = exchange.body.split('\n').filter((line) => line.startsWith('data: {'))
  return lines.map((line) => JSON.parse(line.slice(6)) as JsonObject)
}

/** The encrypted reasoning of an answer of OpenAI's. */
function reasoningOf(exchange: Exchange): readonly Json[] {
  const { output } = JSON.parse(exchange.body) as { readonly output: readonly JsonObject[] }
  return found(output.filter((item) => item['type'] === 'reasoning') as Json, 'encrypted_content')
}

describe.skipIf(folder === undefined)('what the provider wants back', () => {
  const thinking = all.filter(
    (exchange) => apiOf(exchange) === 'anthropic' && /thinking_part/.test(exchange.file) && exchange.status === 200,
  )
  test('Anthropic: there are recordings', () => expect(thinking.length).toBeGreaterThanOrEqual(4))

  test.each(thinking.map((e) => [e.file, e] as const))('Anthropic signatures: %s', async (_, exchange) => {
    server = await replay([exchange, exchange])
    const model = fromAiSdk(
      createAnthropic({ baseURL: `${server.url}/v1`, apiKey: 'k' })(String(exchange.request['model'])),
    )
    const sent = (await secondRequest(model, exchange)) as JsonObject
    const received = bodyOf(exchange)
    const signatures = found(received, 'signature').filter((text) => text !== '')
    expect(found(sent['messages'] as Json, 'signature')).toEqual(signatures)
    const redacted = found(received, 'data').filter((text) => typeof text === 'string')
    expect(found(sent['messages'] as Json, 'data')).toEqual(redacted)
    expect(signatures.length + redacted.length).toBeGreaterThan(0)
  })

  const encrypted = all.filter(
    (exchange) =>
      apiOf(exchange) === 'responses' && exchange.request['stream'] !== true && reasoningOf(exchange).length > 0,
  )
  test('OpenAI: there are recordings', () => expect(encrypted.length).toBeGreaterThanOrEqual(3))

  test.each(encrypted.map((e) => [e.file, e] as const))('OpenAI encrypted reasoning: %s', async (_, exchange) => {
    server = await replay([exchange, exchange])
    const model = fromAiSdk(
      createOpenAI({ baseURL: server.url + exchange.path.replace('/responses', ''), apiKey: 'k' })(
        String(exchange.request['model']),
      ),
      { providerOptions: { openai: { store: false } } },
    )
    const sent = (await secondRequest(model, exchange)) as JsonObject
    expect(found(sent['input'] as Json, 'encrypted_content')).toEqual(reasoningOf(exchange))
    expect(found(sent['input'] as Json, 'type')).not.toContain('item_reference')
    expect(sent).toMatchObject({ store: false, include: ['reasoning.encrypted_content'] })
  })
})
