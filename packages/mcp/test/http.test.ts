import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { place, until, type Call, type Place } from './support/place.ts'

// Streamable HTTP against real servers of the official package, with sessions (2025-11-25) and without (2026-07-28).

vi.setConfig({ testTimeout: 180_000 })

const token = 'open-sesame-3141'

let at: Place
beforeEach(() => {
  at = place()
  process.env['CONVOKE_SECRET_NOTES'] = token
})
afterEach(async () => {
  delete process.env['CONVOKE_SECRET_NOTES']
  await at.close()
})

const add: Call = { tool: 'notes.add', input: { text: 'milk' } }
const app = { network: { inside: ['loopback'] } }

test.each(['sessions', 'stateless'] as const)('tools and resources of a server: %s', async (kind) => {
  const { server } = await at.http('notes', kind)
  const mcp = await at.accepted([{ ...server, resources: true }])
  expect(await at.ends(mcp, add, app)).toMatchObject({ status: 'done', value: { text: 'added milk' } })
  expect(await at.ends(mcp, { tool: 'notes.list_resources', input: {} }, app)).toMatchObject({
    value: { parts: [{ type: 'link', uri: 'notes://all', name: 'all', mediaType: 'text/plain' }] },
  })
  const read = await at.ends(mcp, { tool: 'notes.read_resource', input: { uri: 'notes://all' } }, app)
  expect(read).toMatchObject({ value: { parts: [{ type: 'resource', text: 'milk, bolts' }] } })
  expect(JSON.parse(read.records)).toContainEqual(
    expect.objectContaining({
      type: 'step.completed',
      labels: expect.objectContaining({ integrity: 'untrusted' }) as unknown,
    }),
  )
  await mcp.close()
  // 2025-11-25: whoever needs a session no longer says so.
  if (kind === 'sessions') expect(at.lines('notes', 'requests').at(-1)).toMatch(/^DELETE [0-9a-f-]{36}$/)
})

test('a lost session: the server did nothing, a new one is begun, and the unsafe call is made once', async () => {
  const first = await at.http('notes', 'sessions')
  const mcp = await at.accepted([first.server])
  first.child.kill('SIGKILL')
  await until(() => first.child.signalCode !== null, 'its end')
  await at.http('notes', 'sessions', { port: first.port })
  expect(await at.ends(mcp, add, app)).toMatchObject({ status: 'done', value: { text: 'added milk' } })
  expect(at.lines('notes')).toHaveLength(1)
  const requests = at.lines('notes', 'requests')
  expect(new Set(requests.filter((line) => /^POST [0-9a-f-]{36}$/.test(line))).size).toBeGreaterThan(1)
})

test('R5 a server that is killed in the middle of a call: unsafe waits for a person, a read is made again', async () => {
  const first = await at.http('notes', 'stateless')
  await (await at.accepted([first.server])).close()
  at.behave('notes', { dieOnce: true })
  const unsafe = await at.open([first.server])
  expect(await at.ends(unsafe, add, app)).toMatchObject({ status: 'parked', held: [{ kind: 'maybe-executed' }] })
  expect(at.lines('notes')).toHaveLength(1)
  await until(() => first.child.signalCode !== null, 'its end')

  const second = await at.http('other', 'stateless')
  const reads = [{ ...second.server, tools: { add: 'read' as const } }]
  const mcp = await at.accepted(reads)
  at.behave('other', { dieOnce: true })
  const ends = at.ends(mcp, { ...add, tool: 'other.add' }, app)
  await until(() => second.child.signalCode !== null, 'its end')
  await at.http('other', 'stateless', { port: second.port })
  expect(await ends).toMatchObject({ status: 'done', value: { text: 'added milk' } })
  expect(at.lines('other')).toHaveLength(2)
})

test('a token from the secret store is sent, and is in no answer, record, error or file', async () => {
  const { server } = await at.http('notes', 'stateless', { token })
  const mcp = await at.accepted([{ ...server, bearer: { $secret: 'notes' }, tools: { whoami: 'read' } }])
  const ended = await at.ends(mcp, { tool: 'notes.whoami', input: {} }, app)
  expect(ended).toMatchObject({ status: 'done', value: { text: 'you are Bearer [secret:notes]' } })
  const files = readdirSync(at.dir, { recursive: true, withFileTypes: true }).filter((one) => one.isFile())
  const found = files.filter((one) => readFileSync(join(one.parentPath, one.name)).includes(token))
  expect(found.map(({ name }) => name)).toEqual([])
})

test('TOOL_FAILED: a server that does not let us in; SECRET_MISSING', async () => {
  const { server } = await at.http('notes', 'stateless', { token: 'another' })
  const refused = await at.open([{ ...server, headers: { authorization: { $secret: 'notes' } } }])
  const [{ error } = {}] = refused.unreachable
  expect(error).toMatchObject({ code: 'TOOL_FAILED', details: { server: 'notes' } })
  expect(JSON.stringify([error?.toJSON(), String(error?.cause)])).not.toContain(token)
  const missing = await at.open([{ ...server, bearer: { $secret: 'nowhere' } }])
  expect(missing.unreachable[0]?.error).toMatchObject({ code: 'SECRET_MISSING', details: { secret: 'nowhere' } })
})

test('a token that is taken back in the middle: the call is refused, and the next one has the new token', async () => {
  const first = await at.http('notes', 'stateless', { token })
  const mcp = await at.accepted([{ ...first.server, bearer: { $secret: 'notes' } }])
  first.child.kill('SIGKILL')
  await until(() => first.child.signalCode !== null, 'its end')
  await at.http('notes', 'stateless', { port: first.port, token: 'renewed-token-1618' })
  const refused = await at.ends(mcp, add, app)
  expect(refused).toMatchObject({ status: 'failed', error: { code: 'TOOL_FAILED' } })
  // The server repeats what it was given.
  expect(refused.records).toContain('no: Bearer [secret:notes]')
  process.env['CONVOKE_SECRET_NOTES'] = 'renewed-token-1618'
  expect(await at.ends(mcp, add, app)).toMatchObject({ status: 'done' })
  expect(at.lines('notes')).toHaveLength(1)
})

test('NETWORK_DENIED: an address inside is out of reach unless the server is given it', async () => {
  const { server } = await at.http('notes', 'stateless')
  const mcp = await at.open([{ name: 'notes', url: server.url }])
  expect(mcp.unreachable[0]?.error).toMatchObject({ code: 'NETWORK_DENIED' })
  expect(at.lines('notes', 'requests')).toEqual([])
})
