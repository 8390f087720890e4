import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Message, ModelRequest, Part } from 'convoke'
import { startMain } from './child.ts'
import { inboxOf } from './crash-matrix.ts'
import { scriptedSquadModel } from './squad/rules/index.ts'

// A provider on loopback that speaks the OpenAI chat protocol, streamed, and answers by the squad's rules: everything between the
// agents and the wire is what a real provider would meet.

interface WireMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
  readonly content: string | readonly { readonly type: string; readonly text?: string }[] | null
  readonly tool_calls?: readonly {
    readonly id: string
    readonly function: { readonly name: string; readonly arguments: string }
  }[]
  readonly tool_call_id?: string
}

let folder: string
let inbox: string
let server: Server
let url: string
let asked: { model: string; authorization: string | undefined }[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'convoke-provider-'))
  inbox = await inboxOf(fileURLToPath(new URL('../inbox', import.meta.url)), ['inv-1001.pdf', 'inv-1005.pdf'])
  asked = []
  const model = scriptedSquadModel()
  server = createServer((request, response) => {
    void (async () => {
      let body = ''
      for await (const chunk of request) body += String(chunk)
      const wire = JSON.parse(body) as { model: string; messages: readonly WireMessage[] }
      asked.push({ model: wire.model, authorization: request.headers.authorization })
      const answer = await model.generate(toRequest(wire.messages), { signal: new AbortController().signal })
      const calls = answer.parts.flatMap((part) => (part.type === 'tool-call' ? [part] : []))
      const text = answer.parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('')
      const chunk = (delta: object, finish: string | null): string =>
        `data: ${JSON.stringify({
          id: `chat-${asked.length}`,
          object: 'chat.completion.chunk',
          created: 0,
          model: wire.model,
          choices: [{ index: 0, delta, finish_reason: finish }],
          ...(finish === null ? {} : { usage: { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 } }),
        })}\n\n`
      response.setHeader('content-type', 'text/event-stream')
      if (text !== '') response.write(chunk({ role: 'assistant', content: text }, null))
      for (const [index, call] of calls.entries())
        response.write(
          chunk(
            {
              role: 'assistant',
              tool_calls: [
                { index, id: call.id, type: 'function', function: { name: call.tool, arguments: call.input } },
              ],
            },
            null,
          ),
        )
      response.end(`${chunk({}, calls.length > 0 ? 'tool_calls' : 'stop')}data: [DONE]\n\n`)
    })().catch((error: unknown) => response.writeHead(400).end(JSON.stringify({ error: { message: String(error) } })))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as { port: number }).port}/v1`
})

afterEach(async () => {
  await new Promise((resolve) => server.close(resolve))
  await rm(folder, { recursive: true, force: true })
  await rm(inbox, { recursive: true, force: true })
})

function toRequest(messages: readonly WireMessage[]): ModelRequest {
  return { messages: messages.map(toMessage) }
}

function toMessage(message: WireMessage): Message {
  const text =
    typeof message.content === 'string'
      ? message.content
      : (message.content ?? []).map((part) => part.text ?? '').join('')
  const parts: Part[] = text === '' ? [] : [{ type: 'text', text }]
  for (const call of message.tool_calls ?? [])
    parts.push({ type: 'tool-call', id: call.id, tool: call.function.name, input: call.function.arguments })
  if (message.role === 'tool')
    return { role: 'tool', parts: [{ type: 'tool-result', id: message.tool_call_id ?? '', tool: '', output: text }] }
  return { role: message.role, parts }
}

describe('a real provider package', () => {
  it('drives the squad over the wire when it is asked for', { timeout: 180_000 }, async () => {
    const args = [
      '--inbox',
      inbox,
      '--store',
      join(folder, 'store'),
      '--erp-data',
      join(folder, 'erp'),
      '--model',
      `openai-compatible/rules@${url}`,
    ]
    const ended = await startMain(args, { env: { CONVOKE_MODEL_API_KEY: 'key-for-the-test' } }).ended
    expect([ended.code, ended.stderr], ended.stdout).toEqual([0, ''])
    expect(ended.stdout).toMatch(/model: openai-compatible\/rules/)
    expect(ended.stdout).toMatch(/RE-1001 +erp +paid 1190\.00 EUR/)
    expect(ended.stdout).toMatch(/HF-1005 +compliance +wrong PO: PO-82 instead of PO-81 → rolled back/)
    expect(asked.length).toBeGreaterThan(5)
    expect(new Set(asked.map((a) => `${a.model} ${a.authorization ?? ''}`))).toEqual(
      new Set(['rules Bearer key-for-the-test']),
    )
  })

  it(
    'is never called for a key that only lies in the environment: that earns one hint',
    { timeout: 180_000 },
    async () => {
      const args = ['--inbox', inbox, '--store', join(folder, 'store'), '--erp-data', join(folder, 'erp')]
      const ended = await startMain(args, {
        env: {
          OPENAI_API_KEY: 'lies-here',
          OPENAI_BASE_URL: url,
          ANTHROPIC_API_KEY: 'lies-here',
          ANTHROPIC_BASE_URL: url,
        },
      }).ended
      expect(ended.code).toBe(0)
      expect(ended.stdout).toMatch(/model: scripted \(rules, not AI\)/)
      expect(ended.stdout.split('\n').filter((line) => /--model auto/.test(line))).toHaveLength(1)
      expect(ended.stdout).not.toMatch(/lies-here/)
      expect(asked).toEqual([])
    },
  )
})
