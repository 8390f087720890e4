import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { agent, convoke, ConvokeError, decideApproval, policy, role, secret, tool, workflow } from '../../src/index.ts'
import type { App, ModelRequest, RunHandle, ToolContext } from '../../src/index.ts'
import { lastText, rule, scriptedModel, toolCall } from '../../src/testing.ts'
import { exportCheckpoint, newSigningKey, renderWhy, showRun, verifyLedger, why } from '../../src/views.ts'

// Canary secrets go through tools that do with them whatever careless code does, and through a server that sends them
// back in every writing. Then every channel is searched, byte by byte.

const plain = 'canary-4f1d9c27b8e6'
const odd = 'cänary/+"7b2e\\9 %&=ä'
const token = 'canary-token-55aa77cc99'
const values: Readonly<Record<string, string>> = { plain, odd, id: 'canary-client-31337' }

/** What must be found nowhere: the values, and what they become on their way. */
function writings(value: string): readonly string[] {
  const bytes = Buffer.from(value)
  return [
    value,
    JSON.stringify(value).slice(1, -1),
    encodeURIComponent(value),
    new URLSearchParams({ v: value }).toString().slice(2),
    bytes.toString('base64'),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    ...['', 'u', 'us', 'user:'].map((before) => Buffer.from(`${before}${value}:after`).toString('base64')),
  ]
}
const forbidden = [...Object.values(values), token].flatMap((value) => [
  ...writings(value).slice(0, 7),
  // Base64 of a text with the value in it: a good part of its middle is looked for.
  ...writings(value)
    .slice(7)
    .map((form) => form.slice(8, 20)),
])

function found(text: string): readonly string[] {
  return forbidden.filter((form) => text.includes(form))
}

let server: Server
let url: string
let dir: string
let app: App
const prompts: ModelRequest[] = []
const warnings: string[] = []
const events: unknown[] = []
const onWarning = (warning: Error): void => void warnings.push(inspect(warning, { depth: 20 }))

beforeAll(async () => {
  process.on('warning', onWarning)
  dir = await mkdtemp(join(tmpdir(), 'convoke-canary-'))
  server = createServer((request, response) => {
    const said = String(request.headers['x-secret'] ?? request.headers.authorization ?? '')
    const raw = /%(?![0-9A-F]{2})/.test(said) ? said : decodeURIComponent(said)
    const forms = Object.fromEntries(writings(raw).map((form, i) => [`form${i}`, `see ${form}!`]))
    const status = Number(new URL(request.url ?? '/', 'http://x').searchParams.get('status') ?? 200)
    response.writeHead(
      status,
      status === 302 ? { location: `http://${plain}.test/?${said}` } : { 'content-type': 'application/json' },
    )
    response.end(JSON.stringify({ ...forms, [raw]: 'a member named by it', token, nested: [[raw]] }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterAll(async () => {
  process.off('warning', onWarning)
  await app?.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await rm(dir, { recursive: true, force: true })
})

const any = z.record(z.string(), z.unknown())
const network = { inside: ['loopback'] }
const fast = { attempts: 2, delayMs: 1 }

/** Tools that leak, each in its own way. */
const ways: Readonly<Record<string, (context: ToolContext, value: string) => unknown>> = {
  returns: (_, value) => ({ value, [value]: [value, { deep: `x${value}y` }] }),
  returnsText: (_, value) => `Bearer ${value}`,
  throwsText: (_, value) => {
    throw value as unknown as Error
  },
  throws: (_, value) => {
    throw new Error(`refused: ${value}`, { cause: new Error(value) })
  },
  throwsOurs: (_, value) => {
    throw new ConvokeError('TOOL_FAILED', value, { details: { value, [value]: 1 }, next: `try ${value}` })
  },
  throwsCode: (_, value) => {
    throw Object.assign(new Error('x'), { code: value.toUpperCase(), value })
  },
  throwsName: (_, value) => {
    const error = new Error('x')
    error.name = value
    throw error
  },
  badHeader: (context, value) => context.fetch(url, { headers: { 'x-secret': `${value}\nx` } }),
  badUrl: (context, value) => context.fetch(`http://${value}`),
  userinfo: (context, value) => context.fetch(`http://user:${encodeURIComponent(value)}@example.com/`),
  host: (context, value) => context.fetch(`http://${encodeURIComponent(value)}.test/`),
  query: (context, value) => context.fetch(`http://127.0.0.1:1/?key=${encodeURIComponent(value)}`),
  progress: (context, value) => {
    context.progress({ value, [value]: `half ${value}` })
    return 'done'
  },
  conceals: (context) => {
    context.conceal(token, 'token')
    context.progress(token)
    return { token: `it is ${token}` }
  },
  echoed: (context, value) => context.fetch(url, { headers: { 'x-secret': encodeURIComponent(value) } }),
  echoed400: (context, value) =>
    context.fetch(`${url}?status=400`, { headers: { authorization: encodeURIComponent(value) } }),
  echoed500: (context, value) =>
    context.fetch(`${url}?status=500`, { headers: { authorization: encodeURIComponent(value) } }),
  redirected: (context, value) =>
    context.fetch(`${url}?status=302`, { headers: { 'x-secret': encodeURIComponent(value) } }),
  notJson: (_, value) => new Response(`<html>${value}`),
  bytes: (_, value) => Buffer.from(`{"value":"${value.replaceAll(/["\\]/g, '')}"`),
}

const tools = Object.entries(ways).flatMap(([way, leak]) =>
  (['plain', 'odd'] as const).map((name) =>
    tool({
      name: `${way}.${name}`,
      description: 'leaks',
      effect: 'read',
      network,
      retry: fast,
      inputSchema: any,
      execute: async (_, context) => {
        context.conceal(token, 'token')
        return leak(context, await context.secret(name))
      },
    }),
  ),
)
const held = tool({
  name: 'held',
  description: 'Takes a reference to a secret as its argument.',
  effect: 'unsafe',
  network,
  inputSchema: z.object({ key: z.object({ $secret: z.string() }) }),
  execute: async ({ key }, context) => ({ sent: await context.secret(key) }),
})
const broken = tool({
  name: 'broken',
  description: 'Nobody knows what became of it.',
  effect: 'unsafe',
  network,
  inputSchema: any,
  execute: async (_, context) => {
    throw new Error(`lost after ${await context.secret('plain')}`)
  },
})

const reader = role({
  name: 'reader',
  input: z.object({ task: z.string() }),
  output: z.object({ said: z.string() }),
  tools: ['echoed.plain', 'throws.odd', 'progress.plain'],
})

const model = scriptedModel({
  id: 'parrot',
  rules: [
    rule({
      name: 'uses its tools, then says all it has heard',
      when: (request) => request,
      reply: (request) => {
        prompts.push(structuredClone(request))
        const used = request.messages.some((message) => message.role === 'tool')
        return used
          ? JSON.stringify({ said: `${lastText(request)} ${JSON.stringify(request.messages).slice(0, 2_000)}` })
          : { parts: [toolCall('echoed.plain', {}), toolCall('throws.odd', {}), toolCall('progress.plain', {})] }
      },
    }),
  ],
})

const leaks = workflow({ name: 'leaks', input: z.string(), output: z.unknown() }, async (run, name) => {
  const leaky = tools.find((t) => t.name === name)
  if (leaky === undefined) throw new Error(`no ${name}`)
  const value = await run.call(leaky, {})
  run.log('heard', value as never)
  return value
})
const asks = workflow({ name: 'asks', input: z.string(), output: z.unknown() }, async (run, task) => {
  return (await run.ask(reader, { task })).value
})
const approves = workflow({ name: 'approves', input: z.string(), output: z.unknown() }, (run) =>
  run.call(held, { key: secret('plain') }, { businessKey: 'b-1' }),
)
const doubts = workflow({ name: 'doubts', input: z.string(), output: z.unknown() }, (run) => run.call(broken, {}))
/** Code of the app's own that got hold of a value by itself: the second net. */
const careless = workflow({ name: 'careless', input: z.string(), output: z.unknown() }, async (run) => {
  await run.step('reads it', () => ({ mine: plain, list: [odd, `${token}!`] }))
  run.log('and says it', { mine: plain })
  throw new Error(`and throws ${plain} and ${token}`)
})

async function watch(handle: RunHandle<unknown>): Promise<void> {
  for await (const event of handle.events()) events.push(event)
}

test('a canary secret is found in no channel but its store', { timeout: 60_000 }, async () => {
  app = convoke({
    store: join(dir, 'store'),
    workflows: { leaks, asks, approves, doubts, careless },
    agents: [agent({ name: 'parrot', role: reader, instructions: 'Repeat everything.' })],
    tools,
    model,
    secrets: { get: (name) => values[name], hint: (name) => `set ${name}` },
    policy: policy({ version: 'p1', rules: [{ tool: 'held', hold: { category: 'keys' } }] }),
  })
  const outcomes: unknown[] = []
  const watching: Promise<void>[] = []
  const drive = async (name: string, input: string): Promise<RunHandle<unknown>> => {
    const handle = await app.start(name, input)
    watching.push(watch(handle).catch((error: unknown) => void events.push(inspect(error, { depth: 20 }))))
    const row = await handle.settled()
    if (row.status === 'done' || row.status === 'failed')
      outcomes.push(await handle.result().catch((error: unknown) => error))
    outcomes.push(row)
    return handle
  }
  const runs: string[] = []
  for (const { name } of tools) runs.push((await drive('leaks', name)).id)
  runs.push((await drive('asks', 'say it')).id)
  const waiting = await drive('approves', '')
  const doubt = await drive('doubts', '')
  runs.push(waiting.id, doubt.id, (await drive('careless', '')).id)

  const ledger = await app.ledger()
  const pending = await ledger.approvals({ tenant: 'local', status: 'pending' })
  expect(pending.map((row) => row.run).sort()).toEqual([waiting.id, doubt.id].sort())
  outcomes.push(pending)
  for (const row of pending)
    await decideApproval(ledger, {
      tenant: 'local',
      id: row.id,
      by: { kind: 'person', id: 'ada' },
      at: Date.now(),
      decision: row.run === waiting.id ? 'approved' : 'rejected',
    })
  await waiting.result().then(
    (value) => outcomes.push(value),
    (error: unknown) => outcomes.push(error),
  )

  const channels: Record<string, string> = {}
  channels['results and errors'] = inspect(outcomes, {
    depth: 50,
    maxArrayLength: null,
    maxStringLength: null,
    showHidden: true,
  })
  channels['events and streamed pieces'] = inspect(events, { depth: 50, maxArrayLength: null, maxStringLength: null })
  channels['prompts'] = JSON.stringify(prompts)
  channels['warnings'] = warnings.join('\n')
  for (const run of runs) {
    const shown = await showRun(ledger, 'local', run, Date.now())
    const reason = await why(ledger, 'local', run)
    channels['show'] = (channels['show'] ?? '') + JSON.stringify(shown)
    channels['why'] = (channels['why'] ?? '') + JSON.stringify(reason) + renderWhy(reason)
  }
  channels['exports'] = JSON.stringify([
    await exportCheckpoint(ledger, 'local', newSigningKey(), 1),
    await verifyLedger(ledger, 'local'),
  ])
  await app.close()
  await Promise.all(watching)
  channels['records, as they lie on disk'] = readdirSync(join(dir, 'store'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)).toString('latin1'))
    .join('\n')
  const onDisk = forbidden.map((form) => Buffer.from(form).toString('latin1'))
  const hits = Object.entries(channels).flatMap(([channel, text]) => [
    ...found(text).map((form) => [channel, form]),
    ...(channel.includes('disk') ? onDisk.filter((form) => text.includes(form)).map((form) => [channel, form]) : []),
  ])
  expect(hits).toEqual([])
  // The channels carry something: what stands in the secrets' place.
  for (const channel of [
    'results and errors',
    'events and streamed pieces',
    'prompts',
    'show',
    'why',
    'records, as they lie on disk',
  ])
    expect([channel, channels[channel]?.includes('[secret:')]).toEqual([channel, true])
})
