import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { agent, convoke, role, workflow, type App } from 'convoke'
import { rule, scriptedModel, toolCall } from 'convoke/testing'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { mcpTools, type McpOptions, type McpServer, type McpTools } from './index.ts'

// Real servers over stdio, offline: a scripted model uses them through the gateway.

const require = createRequire(import.meta.url)
const entry = (name: string): string =>
  join(dirname(require.resolve(`@modelcontextprotocol/${name}/package.json`)), 'dist/index.js')

let dir: string
let app: App | undefined
let opened: McpTools[] = []

beforeEach(async () => {
  dir = await realpath(await mkdtemp(join(tmpdir(), 'convoke-mcp-')))
})
afterEach(async () => {
  await app?.close()
  app = undefined
  for (const mcp of opened) await mcp.close()
  opened = []
  await rm(dir, { recursive: true, force: true })
})

const node = process.execPath
const everything = (more: Partial<McpServer> = {}): McpServer =>
  ({ name: 'every', command: node, args: [entry('server-everything')], ...more }) as McpServer
const files = (more: Partial<McpServer> = {}): McpServer =>
  ({ name: 'files', command: node, args: [entry('server-filesystem'), dir], ...more }) as McpServer
const memory = (): McpServer => ({
  name: 'memory',
  command: node,
  args: [entry('server-memory')],
  env: { MEMORY_FILE_PATH: join(dir, 'memory.jsonl') },
  tools: { read_graph: 'read', create_entities: 'idempotent' },
})

async function open(servers: readonly McpServer[], more: Partial<McpOptions> = {}): Promise<McpTools> {
  const mcp = await mcpTools({ servers, pins: join(dir, 'pins.json'), ...more })
  opened.push(mcp)
  return mcp
}

/** A person looks at everything and accepts it. */
async function accepted(servers: readonly McpServer[], more: Partial<McpOptions> = {}): Promise<McpTools> {
  const first = await open(servers, more)
  for (const { tool, hash } of first.quarantined) await first.accept({ tool, hash, by: 'ada' })
  await first.close()
  return open(servers, more)
}

const named = (mcp: McpTools, name: string) => mcp.tools.find((tool) => tool.name === name)!

test('a model uses three servers in its loop; nothing is a tool before a person accepted it', async () => {
  await writeFile(join(dir, 'note.txt'), 'Bolts: 40 boxes')
  const servers = [
    everything({ tools: { 'get-sum': 'read' } }),
    files({ tools: { read_text_file: 'read', write_file: 'idempotent' } }),
    memory(),
  ]
  const before = await open(servers)
  expect(before.unreachable).toEqual([])
  expect(before.tools).toEqual([])
  expect(before.quarantined.find(({ tool }) => tool === 'files.read_text_file')?.reasons).toEqual(['new'])
  const mcp = await accepted(servers)
  const use = ['every.get-sum', 'files.read_text_file', 'files.write_file', 'memory.create_entities'].map((n) =>
    named(mcp, n),
  )
  expect(use.map(({ effect }) => effect)).toEqual(['read', 'read', 'idempotent', 'idempotent'])
  expect(named(mcp, 'files.move_file').effect).toBe('unsafe')

  const calls = [
    toolCall('every.get-sum', { a: 40, b: 2 }),
    toolCall('files.read_text_file', { path: join(dir, 'note.txt') }),
    toolCall('files.read_text_file', { path: '/etc/passwd' }),
    toolCall('files.write_file', { path: join(dir, 'out.txt'), content: 'done' }),
    toolCall('memory.create_entities', {
      entities: [{ name: 'bolt', entityType: 'part', observations: ['40 boxes'] }],
    }),
  ]
  const seen: string[] = []
  let turn = 0
  const model = scriptedModel({
    id: 'script',
    rules: [
      rule({
        name: 'next',
        when: () => true,
        reply: (request) => {
          seen.push(JSON.stringify(request.messages.at(-1)))
          const call = calls[turn++]
          return call === undefined ? JSON.stringify({ value: { done: true } }) : [call]
        },
      }),
    ],
  })
  const clerk = role({ name: 'clerk', input: z.object({}), output: z.object({ done: z.boolean() }), tools: use })
  const flow = workflow({ name: 'flow', input: z.object({}), output: z.unknown() }, async (run) => {
    const { value } = await run.ask(clerk, {})
    return value
  })
  app = convoke({
    store: join(dir, 'store'),
    workflows: { flow },
    agents: [agent({ role: clerk, instructions: 'Work.' })],
    tools: mcp.tools,
    model,
  })
  const handle = await app.start(flow, {})
  expect(await handle.result()).toEqual({ done: true })
  expect(seen[1]).toContain('42')
  expect(seen[2]).toContain('40 boxes')
  expect(seen[3]).toMatch(/denied|outside/i)
  expect(await readFile(join(dir, 'out.txt'), 'utf8')).toBe('done')
  expect(await readFile(join(dir, 'memory.jsonl'), 'utf8')).toContain('bolt')
}, 120_000)

test('a child sees nothing of the environment but what it was given; results keep their parts; a secret comes back as none', async () => {
  process.env['CONVOKE_CANARY'] = 'canary-in-the-parent'
  process.env['CONVOKE_SECRET_MCP_TEST_TOKEN'] = 'sesame-open-3141'
  const mcp = await accepted([
    everything({
      tools: {
        'get-env': 'read',
        'get-tiny-image': 'read',
        'get-structured-content': 'read',
        'get-resource-links': 'read',
      },
      env: { TOKEN: { $secret: 'MCP_TEST_TOKEN' } },
      resources: true,
    }),
  ])
  const flow = workflow({ name: 'flow', input: z.object({}), output: z.any() }, async (run) => {
    const resources = await run.call(named(mcp, 'every.list_resources'), {})
    return {
      env: await run.call(named(mcp, 'every.get-env'), {}),
      image: await run.call(named(mcp, 'every.get-tiny-image'), {}),
      links: await run.call(named(mcp, 'every.get-resource-links'), { count: 2 }),
      structured: await run.call(named(mcp, 'every.get-structured-content'), { location: 'Chicago' }),
      read: await run.call(named(mcp, 'every.read_resource'), {
        uri: String((resources.parts?.[0] as { uri?: string } | undefined)?.uri),
      }),
    } as never
  })
  app = convoke({ store: join(dir, 'store'), workflows: { flow } })
  try {
    const got = (await (await app.start(flow, {})).result()) as Record<
      string,
      { text?: string; structured?: unknown; parts?: { type: string }[] }
    >
    expect(got['env']?.text).toContain('PATH')
    expect(got['env']?.text).not.toContain('canary-in-the-parent')
    expect(got['env']?.text).not.toContain('sesame-open-3141')
    expect(got['image']?.parts?.map(({ type }) => type)).toEqual(['image'])
    expect(got['links']?.parts?.map(({ type }) => type)).toEqual(['link', 'link'])
    expect(got['structured']).toEqual({
      structured: { temperature: 36, conditions: 'Light rain / drizzle', humidity: 82 },
    })
    expect(got['read']?.parts?.[0]?.type).toBe('resource')
  } finally {
    delete process.env['CONVOKE_CANARY']
    delete process.env['CONVOKE_SECRET_MCP_TEST_TOKEN']
  }
}, 120_000)
