import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4GenerateResult } from '@ai-sdk/provider'
import { afterEach, expect, test } from 'vitest'
import type { ModelRequest } from '../ports/model.ts'
import { fromAiSdk } from './from-ai-sdk.ts'
import { resolveModel } from './resolve.ts'

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
  server = undefined
})

async function serve(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  server = createServer(handle)
  await new Promise<void>((done) => void server?.listen(0, '127.0.0.1', done))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
}

const signal = new AbortController().signal
const hello: ModelRequest = { messages: [{ role: 'user', parts: [{ type: 'text', text: 'hello' }] }] }
const completion = (content: string): string =>
  JSON.stringify({
    id: 'c1',
    object: 'chat.completion',
    created: 1,
    model: 'qwen-served',
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 },
  })

test('a connection refused is unreachable, with the code of the system', async () => {
  const url = await serve(() => {})
  server?.close()
  const model = await resolveModel(`openai-compatible/qwen@${url}`, {})
  await expect(model.generate(hello, { signal })).rejects.toMatchObject({
    code: 'MODEL_UNREACHABLE',
    details: { reason: 'network', network: 'ECONNREFUSED', model: 'openai-compatible/qwen' },
  })
})

test('a connection that breaks within the answer is unreachable', async () => {
  const url = await serve((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
    response.write('{"id":')
    setTimeout(() => response.destroy(), 20)
  })
  const model = await resolveModel(`openai-compatible/qwen@${url}`, {})
  await expect(model.generate(hello, { signal })).rejects.toMatchObject({ code: 'MODEL_UNREACHABLE' })
})

test('a stream that falls silent half way is unreachable, and its connection is closed', async () => {
  let closed: () => void
  const connectionClosed = new Promise<void>((resolve) => (closed = resolve))
  const url = await serve((_, response) => {
    response.on('close', () => closed())
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(
      'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"half"}}]}\n\n',
    )
  })
  const model = await resolveModel(`openai-compatible/qwen@${url}`, {}, { idleTimeoutMs: 200 })
  let text = ''
  await expect(model.generate(hello, { signal, onText: (delta) => void (text += delta) })).rejects.toMatchObject({
    code: 'MODEL_UNREACHABLE',
    details: { reason: 'silent' },
  })
  expect(text).toBe('half')
  await connectionClosed
})

test.each([
  ['a rate limit', { error: { type: 'rate_limit_error', message: 'slow' } }, 'MODEL_RATE_LIMITED'],
  ['an overload', { error: { type: 'overloaded_error', message: 'Overloaded' } }, 'MODEL_UNREACHABLE'],
  ['a status in the text', { error: { code: 429, message: 'slow' } }, 'MODEL_RATE_LIMITED'],
  ['a bad request', { error: { type: 'invalid_request_error', message: 'too long' } }, 'MODEL_REFUSED'],
  ['something unknown', { error: { message: 'hm' } }, 'MODEL_UNREACHABLE'],
])('an error within a stream: %s', async (_, sent, code) => {
  const url = await serve((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(`data: ${JSON.stringify(sent)}\n\ndata: [DONE]\n\n`)
  })
  const model = await resolveModel(`openai-compatible/qwen@${url}`, {})
  await expect(model.generate(hello, { signal, onText: () => {} })).rejects.toMatchObject({
    code,
    details: { reason: 'stream-error' },
  })
})

test('an answer that is too large is cut off and refused, whole or as a stream', async () => {
  let sent = 0
  const url = await serve((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.write('{"choices":[{"message":{"content":"')
    const more = (): void => {
      sent += 65_536
      if (!response.destroyed && sent < 100_000_000) response.write('x'.repeat(65_536), () => setImmediate(more))
    }
    more()
  })
  const model = await resolveModel(`openai-compatible/qwen@${url}`, {}, { maxAnswerBytes: 1_000_000 })
  await expect(model.generate(hello, { signal })).rejects.toMatchObject({
    code: 'MODEL_REFUSED',
    details: { reason: 'answer-too-large', limit: 1_000_000 },
  })
  expect(sent).toBeLessThan(50_000_000)
})

test('garbage with status 200 is unreachable, not the end of a run', async () => {
  const url = await serve((_, response) => response.writeHead(200).end('<html>proxy</html>'))
  const model = await resolveModel(`openai-compatible/qwen@${url}`, {})
  await expect(model.generate(hello, { signal })).rejects.toMatchObject({
    code: 'MODEL_UNREACHABLE',
    details: { reason: 'answer-unreadable', status: 200 },
  })
})

test('an OpenAI-compatible server gets the schema, our own key and never the OpenAI key', async () => {
  const bodies: string[] = []
  const keys: (string | undefined)[] = []
  const url = await serve((request, response) => {
    let body = ''
    keys.push(request.headers.authorization)
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      bodies.push(body)
      response.writeHead(200, { 'content-type': 'application/json' }).end(completion('{"a":1}'))
    })
  })
  const spec = `openai-compatible/meta/llama@8b@${url}`
  const outputSchema = {
    type: 'object',
    properties: { a: { type: 'number' } },
    required: ['a'],
    additionalProperties: false,
  }
  const model = await resolveModel(spec, { OPENAI_API_KEY: 'sk-secret' })
  expect(model.id).toBe('openai-compatible/meta/llama@8b')
  const answer = await model.generate({ ...hello, outputSchema }, { signal })
  expect(answer).toMatchObject({ servedModel: 'qwen-served', tokens: { input: 5, output: 2 }, finish: 'stop' })
  const format = (JSON.parse(bodies[0]!) as { response_format: { json_schema: unknown } }).response_format
  expect(format.json_schema).toMatchObject({ schema: outputSchema, strict: true })
  await (
    await resolveModel(spec, { CONVOKE_MODEL_API_KEY: 'own' })
  ).generate({ ...hello, outputSchema: {} }, { signal })
  expect(keys).toEqual([undefined, 'Bearer own'])
})

test('a schema that strict mode would refuse goes out without it', async () => {
  let body = ''
  const url = await serve((request, response) => {
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => response.writeHead(200).end(completion('{}')))
  })
  const model = await resolveModel(`openai-compatible/qwen@${url}`, {})
  const outputSchema = { type: 'object', properties: { a: { type: 'string' } } }
  await model.generate({ ...hello, outputSchema }, { signal })
  expect(JSON.parse(body)).toMatchObject({ response_format: { json_schema: { strict: false, schema: outputSchema } } })
})

// What no provider package lets a test produce over the wire: an in-memory model of the interface itself.
function memory(result: Partial<LanguageModelV4GenerateResult>, version: 'v3' | 'v4' = 'v4'): LanguageModelV4 {
  return {
    specificationVersion: version,
    provider: 'lab.chat',
    modelId: 'm1',
    supportedUrls: {},
    doGenerate: () =>
      Promise.resolve({
        content: [],
        finishReason: { unified: 'stop', raw: 'stop' },
        usage: { inputTokens: {}, outputTokens: {} },
        warnings: [],
        ...result,
      } as unknown as LanguageModelV4GenerateResult),
    doStream: () => Promise.reject(new Error('no stream')),
  } as LanguageModelV4
}

test('kinds and reasons that do not exist yet are other, with a warning, never an error', async () => {
  const model = fromAiSdk(
    memory({
      content: [{ type: 'hologram' }, { type: 'text', text: 'ok' }] as never,
      finishReason: { unified: 'exhausted' as never, raw: 'x' },
    }),
  )
  expect(model).toMatchObject({ id: 'lab/m1', provider: 'lab', kind: 'provider' })
  expect(await model.generate({ ...hello, settings: { wings: 2 } }, { signal })).toEqual({
    parts: [{ type: 'text', text: 'ok' }],
    finish: 'other',
    tokens: {},
    warnings: ['setting "wings" is not known and was not sent', 'a hologram part of the provider was left out'],
  })
})

test('strange values become data that the ledger takes', async () => {
  const answer = await fromAiSdk(
    memory({
      content: [
        {
          type: 'text',
          text: 'half \ud83d',
          providerMetadata: { lab: { big: 2 ** 60, no: Number.NaN, gone: undefined } },
        },
        { type: 'tool-call', toolCallId: '1', toolName: 't', input: '{"a": 12345678901234567890' },
        { type: 'file', mediaType: 'image/png', data: { type: 'data', data: new Uint8Array([1, 2]) } },
      ] as never,
    }),
  ).generate(hello, { signal })
  expect(answer.parts).toEqual([
    { type: 'text', text: 'half \ufffd', providerData: { lab: { big: String(2 ** 60), no: 'NaN' } } },
    // A call that is not even JSON stays as it was written: the agent must see it.
    { type: 'tool-call', id: '1', tool: 't', input: '{"a": 12345678901234567890' },
    { type: 'file', mediaType: 'image/png', data: 'AQI=' },
  ])
  expect(answer.finish).toBe('tool-calls')
})

test('a text that the provider marks as the answer replaces its drafts', async () => {
  const answer = await fromAiSdk(
    memory({
      content: [
        { type: 'text', text: 'draft' },
        { type: 'text', text: 'more' },
      ],
      structuredOutputText: '{}',
    }),
  ).generate(hello, { signal })
  expect(answer.parts).toEqual([{ type: 'text', text: '{}' }])
})

test('models of version 3 work, files included', async () => {
  let seen: unknown
  const v3 = memory({ content: [{ type: 'file', mediaType: 'image/png', data: 'AQI=' }] as never }, 'v3')
  const inner = v3.doGenerate.bind(v3)
  const model = fromAiSdk({
    ...v3,
    doGenerate: (options: LanguageModelV4CallOptions) => ((seen = options.prompt), inner(options)),
  })
  const file = { type: 'file' as const, mediaType: 'application/pdf', data: 'AAAA' }
  const answer = await model.generate({ messages: [{ role: 'user', parts: [file] }] }, { signal })
  expect(seen).toEqual([{ role: 'user', content: [file] }])
  expect(answer.parts).toEqual([{ type: 'file', mediaType: 'image/png', data: 'AQI=' }])
})

test('a file whose bytes were not loaded, and a part in the wrong place, are the mistake of the caller', async () => {
  const model = fromAiSdk(memory({}))
  const blob = { type: 'file' as const, mediaType: 'application/pdf', blob: 'ab12' }
  await expect(model.generate({ messages: [{ role: 'user', parts: [blob] }] }, { signal })).rejects.toMatchObject({
    code: 'BLOB_MISSING',
    details: { blob: 'ab12' },
  })
  const reasoning = { type: 'reasoning' as const, text: 'x' }
  await expect(model.generate({ messages: [{ role: 'user', parts: [reasoning] }] }, { signal })).rejects.toMatchObject({
    code: 'INPUT_INVALID',
  })
})

test('names that collide once they are made safe stay apart', async () => {
  let seen: readonly { name: string }[] = []
  const base = memory({})
  const model = fromAiSdk({
    ...base,
    doGenerate: async (options: LanguageModelV4CallOptions) => {
      seen = options.tools as readonly { name: string }[]
      const content = seen.map(({ name }, i) => ({
        type: 'tool-call',
        toolCallId: String(i),
        toolName: name,
        input: '',
      }))
      return { ...(await base.doGenerate(options)), content: content as never }
    },
  })
  const names = ['erp.get', 'erp/get', 'erp_get', '発注', 'x'.repeat(80)]
  const tools = names.map((name) => ({ name, description: '', inputSchema: {} }))
  const answer = await model.generate({ ...hello, tools }, { signal })
  expect(new Set(seen.map((tool) => tool.name)).size).toBe(names.length)
  for (const tool of seen) expect(tool.name).toMatch(/^[A-Za-z0-9_-]{1,64}$/)
  expect(answer.parts.map((part) => part.type === 'tool-call' && part.tool)).toEqual(names)
})
