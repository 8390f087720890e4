/**
 * What tools and models do to a run that uses them, through an app on SQLite: real requests to a real server that
 * misbehaves in each way at once, with healthy runs beside. Every run ends or waits with a code, nothing that was
 * acknowledged is lost, and the others go on. (What the store and the clock do stands in faults.test.ts.)
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { text as bodyOf } from 'node:stream/consumers'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { agent, type Agent } from '../../src/agents/define.ts'
import type { App } from '../../src/app/app.ts'
import { workflow } from '../../src/app/define.ts'
import type { RunHandle } from '../../src/app/handle.ts'
import { role } from '../../src/contracts/role.ts'
import { convoke, type ConvokeOptions } from '../../src/convoke.ts'
import type { RunRow } from '../../src/core/projections.ts'
import { tool, type AnyTool, type EffectClass } from '../../src/gateway/tool.ts'
import { resolveModel } from '../../src/models/resolve.ts'
import type { Model } from '../../src/ports/model.ts'
import { verifyLedger } from '../../src/query/audit.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

// ---- the server: what it does with a request is its path, or the model's name ------------------------------------------

type Answer = (response: ServerResponse, nth: number) => void

const json = (response: ServerResponse, status: number, value: unknown, headers: Record<string, string> = {}): void =>
  void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value))

function flood(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' }).write('{"pad":"')
  let sent = 0
  const more = (): void => {
    if (response.destroyed) return
    if ((sent += 65_536) > 100_000_000) response.end('"}')
    else response.write('x'.repeat(65_536), () => setImmediate(more))
  }
  more()
}

const answers: Record<string, Answer> = {
  well: (response) => json(response, 200, { ok: true }),
  flood,
  '500': (response) => json(response, 500, { error: 'down' }),
  '429-once': (response, nth) => json(response, nth === 1 ? 429 : 200, { ok: true }, { 'retry-after': '1' }),
  garbage: (response) => void response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok": tru'),
  silent: () => undefined,
  'breaks-off': (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' }).write('{"ok":')
    setTimeout(() => response.destroy(), 20)
  },
}

/** A model's text as a stream of server-sent events, or as far as it comes. */
function says(response: ServerResponse, text: string, how: 'whole' | 'silent' | 'breaks-off' = 'whole'): void {
  const chunk = (delta: object, finish: string | null): string =>
    `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(chunk({ role: 'assistant', content: text }, null))
  if (how === 'whole') response.end(`${chunk({}, 'stop')}data: [DONE]\n\n`)
  if (how === 'breaks-off') setTimeout(() => response.destroy(), 20)
}

const right = '{"value":{"sum":"7.00"}}'
const speeches: Record<string, Answer> = {
  'm-well': (response) => says(response, right),
  'm-garbage': (response) => void response.writeHead(200).end('<html>proxy</html>'),
  'm-truncated-once': (response, nth) => says(response, nth === 1 ? right.slice(0, 12) : right),
  'm-truncated': (response) => says(response, right.slice(0, 12)),
  'm-429-once': (response, nth) =>
    nth === 1 ? json(response, 429, { error: { message: 'slow' } }, { 'retry-after': '1' }) : says(response, right),
  'm-429': (response) => json(response, 429, { error: { message: 'slow' } }, { 'retry-after': '1' }),
  'm-500': (response) => json(response, 500, { error: { message: 'down' } }),
  'm-silent': (response) => says(response, right.slice(0, 5), 'silent'),
  'm-breaks-off': (response) => says(response, right.slice(0, 5), 'breaks-off'),
  'm-flood': (response) => flood(response),
}

const asked = new Map<string, number>()

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await bodyOf(request)
  const name = request.method === 'POST' ? (JSON.parse(body) as { model: string }).model : (request.url ?? '').slice(1)
  const nth = (asked.get(name) ?? 0) + 1
  asked.set(name, nth)
  const answer = (answers[name.split('?')[0] ?? ''] ?? speeches[name]) as Answer
  answer(response, nth)
}

// ---- the app ----------------------------------------------------------------------------------------------------------

/** Milliseconds; short only with those who never answer, so that a slow machine is no fault of the others. */
const patienceWith = (name: string): number => (/silent|ignores-abort/.test(name) ? 400 : 30_000)

const fetching = (name: string, effect: EffectClass, url: string): AnyTool =>
  tool({
    name: `${effect}.${name}`,
    description: 'asks the server',
    effect,
    inputSchema: z.object({ query: z.string().optional() }),
    timeoutMs: patienceWith(name),
    retry: { attempts: 2, delayMs: 10 },
    network: { inside: ['loopback'] },
    execute: ({ query }, context) => context.fetch(`${url}/${name}${query === undefined ? '' : `?${query}`}`),
  })
const local = (name: string, effect: EffectClass, execute: () => unknown): AnyTool =>
  tool({
    name: `${effect}.${name}`,
    description: 'code that misbehaves',
    effect,
    inputSchema: z.object({}),
    timeoutMs: patienceWith(name),
    retry: { attempts: 2, delayMs: 10 },
    execute,
  })

const using = workflow({ name: 'using', input: z.string() }, async (run, name) => {
  const before = await run.step('before', () => 'kept')
  const answer = await run.call(tools.get(name) as never, {} as never)
  return { before, answer: answer as boolean }
})
const sums = role({ name: 'sums', input: z.string(), output: z.object({ sum: z.string() }) })
const asking = workflow({ name: 'asking', input: z.string() }, async (run, name) => {
  const before = await run.step('before', () => 'kept')
  return { before, answer: (await run.ask(sums, 'add up', { agent: name })).value.sum }
})
const healthy = workflow({ name: 'healthy', input: z.string() }, async (run, id) => {
  for (let i = 0; i < 5; i++) await run.step('s', { input: i }, () => i)
  await run.call(tools.get('keyed.well') as never, { query: id } as never)
  return (await run.ask(sums, 'add up', { agent: 'm-well' })).value.sum
})

const tools = new Map<string, AnyTool>()
let dir: string
let server: Server
let options: ConvokeOptions
let app: App
const handles = new Map<string, RunHandle>()

interface Expected {
  readonly status: RunRow['status']
  readonly code?: string
  readonly parkedOn?: string
}
const done: Expected = { status: 'done' }
const failed = (code: string): Expected => ({ status: 'failed', code })
const person: Expected = { status: 'parked', parkedOn: 'person' }

const faults: Record<string, Expected> = {
  'read.flood': failed('TOOL_RESULT_TOO_LARGE'),
  'read.hundred-megabytes': failed('TOOL_RESULT_TOO_LARGE'),
  'read.500': failed('TOOL_UNREACHABLE'),
  'read.429-once': done,
  'read.garbage': failed('TOOL_OUTPUT_INVALID'),
  'read.silent': failed('TOOL_TIMEOUT'),
  'read.breaks-off': failed('TOOL_UNREACHABLE'),
  'read.ignores-abort': failed('TOOL_TIMEOUT'),
  // Every try of a keyed call has the same key: whoever sees to the failed run may repeat it.
  'keyed.silent': failed('TOOL_TIMEOUT'),
  'keyed.ignores-abort': failed('TOOL_TIMEOUT'),
  'unsafe.flood': person,
  'unsafe.silent': person,
  'unsafe.breaks-off': person,
  'unsafe.ignores-abort': person,
  'm-garbage': failed('MODEL_UNREACHABLE'),
  'm-truncated-once': done,
  'm-truncated': failed('OUTPUT_INVALID'),
  'm-429-once': done,
  'm-429': failed('MODEL_RATE_LIMITED'),
  'm-500': failed('MODEL_UNREACHABLE'),
  'm-silent': failed('MODEL_UNREACHABLE'),
  'm-breaks-off': failed('MODEL_UNREACHABLE'),
  'm-flood': failed('MODEL_REFUSED'),
}
const beside = Array.from({ length: 10 }, (_, i) => `healthy-${i}`)

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-faults-'))
  server = createServer((request, response) => void serve(request, response))
  await new Promise<void>((listening) => void server.listen(0, '127.0.0.1', listening))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const never = (): Promise<never> => new Promise(() => undefined)
  const hundred = { pad: ['x'.repeat(50_000_000), 'y'.repeat(50_000_000)] }
  for (const name of Object.keys(faults).filter((f) => !f.startsWith('m-'))) {
    const [effect, what] = name.split('.') as [EffectClass, string]
    if (what in answers) tools.set(name, fetching(what, effect, url))
  }
  for (const effect of ['read', 'keyed', 'unsafe'] as const)
    tools.set(`${effect}.ignores-abort`, local('ignores-abort', effect, never))
  tools.set(
    'read.hundred-megabytes',
    local('hundred-megabytes', 'read', () => hundred),
  )
  tools.set('keyed.well', fetching('well', 'keyed', url))
  const models: Record<string, Model> = {}
  const agents: Agent[] = []
  for (const name of Object.keys(speeches)) {
    models[name] = await resolveModel(`openai-compatible/${name}@${url}`, {}, { idleTimeoutMs: patienceWith(name) })
    agents.push(agent({ role: sums, name, model: name, instructions: 'Add.', repairs: 1, settings: { retries: 1 } }))
  }
  options = {
    store: dir,
    workflows: { using, asking, healthy },
    agents,
    models,
    tools: [...tools.values()],
    network: { inside: ['loopback'] },
  }
  app = convoke(options)
  for (const name of Object.keys(faults))
    handles.set(name, await app.start(name.startsWith('m-') ? asking : using, name, { id: name }))
  for (const id of beside) handles.set(id, await app.start(healthy, id, { id }))
})
afterAll(async () => {
  await app.close()
  server.closeAllConnections()
  server.close()
  rmSync(dir, { recursive: true, force: true })
})

/** How a run ends or for whom it waits; a wait before another try is neither. */
async function settled(handle: RunHandle): Promise<RunRow> {
  for (let tries = 0; ; tries++) {
    const row = await handle.settled()
    if (row.parkedOn !== 'timer' || tries > 1_000) return row
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

test.each(beside)('%s, beside all of them, goes on and calls once', async (id) => {
  expect(await handles.get(id)?.result()).toBe('7.00')
  expect(asked.get(`well?${id}`)).toBe(1)
})

test.each(Object.entries(faults))('%s', async (name, expected) => {
  const row = await settled(handles.get(name) as RunHandle)
  expect({ status: row.status, code: row.error, parkedOn: row.parkedOn }).toEqual({
    code: undefined,
    parkedOn: undefined,
    ...expected,
  })
  if (expected.status === 'done') expect(await handles.get(name)?.result()).toMatchObject({ before: 'kept' })
})

test('nothing that was acknowledged is lost: the next process finds every run as this one left it', async () => {
  const rows = async (): Promise<RunRow[]> => (await app.runs({ limit: 100 })).sort((a, b) => (a.run < b.run ? -1 : 1))
  const before = await rows()
  expect(before).toHaveLength(handles.size)
  await app.close()
  app = convoke({ ...options, drives: false })
  expect(await rows()).toEqual(before)
  const ledger = await app.ledger()
  expect(await verifyLedger(ledger, 'local')).toMatchObject({ findings: [], more: 0 })
  for (const { run } of before.filter((r) => r.workflow !== 'healthy')) {
    const records = await ledger.read({ tenant: 'local', stream: `run/${run}` })
    expect(records.find((r) => r.path === 'before')).toMatchObject({ payload: { value: 'kept' } })
  }
})
