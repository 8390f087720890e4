import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { place, until, type Call, type Place } from './support/place.ts'

// Servers over stdio that die, hang, flood, or never answer. What they did is counted at the server.

vi.setConfig({ testTimeout: 180_000 })

let at: Place
beforeEach(() => {
  at = place()
})
afterEach(() => at.close())

const add: Call = { tool: 'notes.add', input: { text: 'milk' } }

test('R5 killed in the middle of an unsafe call: it may have happened, a person is asked, nobody repeats it', async () => {
  await (await at.accepted([at.stdio('notes')])).close()
  at.behave('notes', { dieOnce: true })
  const mcp = await at.open([at.stdio('notes')])
  expect(await at.ends(mcp, add)).toMatchObject({
    status: 'parked',
    held: [{ kind: 'maybe-executed', path: 'notes.add' }],
  })
  expect(at.lines('notes')).toHaveLength(1)
})

test('killed in the middle of a read: the server is started again, and the call with it', async () => {
  await (await at.accepted([at.stdio('notes')])).close()
  at.behave('notes', { dieOnce: true })
  const mcp = await at.open([at.stdio('notes', { tools: { add: 'read' } })])
  const before = at.lines('notes', 'starts').length
  expect(await at.ends(mcp, add)).toMatchObject({ status: 'done', value: { text: 'added milk' } })
  expect(at.lines('notes')).toHaveLength(2)
  expect(at.lines('notes', 'starts').length).toBeGreaterThan(before)
})

test('TOOL_UNREACHABLE: a server that cannot start is told with its last words, without its secrets, and not started at once again', async () => {
  process.env['CONVOKE_SECRET_NOTES'] = 'open-sesame-2718'
  try {
    const servers = [at.stdio('notes', { how: 'ends', env: { NOTES_TOKEN: { $secret: 'notes' } } })]
    const mcp = await at.open(servers)
    const [{ error } = {}] = mcp.unreachable
    expect(error).toMatchObject({ code: 'TOOL_UNREACHABLE', details: { server: 'notes', sent: false } })
    expect(error?.details?.['stderr']).toContain('cannot open the notes of [secret]')
    expect(JSON.stringify([error?.toJSON(), String(error?.cause)])).not.toContain('open-sesame-2718')
    expect(mcp.servers).toEqual([{ name: 'notes', tools: [], error }])
  } finally {
    delete process.env['CONVOKE_SECRET_NOTES']
  }
})

test('a server that keeps dying is started again after longer and longer times, and calls say so', async () => {
  await (await at.accepted([at.stdio('notes')])).close()
  const mcp = await at.open([at.stdio('notes', { how: 'ends', tools: { add: 'read' } })])
  expect(mcp.tools.map(({ name }) => name)).toContain('notes.add')
  const before = at.lines('notes', 'starts').length
  const { status, error, records } = await at.ends(mcp, add)
  expect({ status, error }).toMatchObject({ status: 'failed', error: { code: 'TOOL_UNREACHABLE' } })
  expect(records).toContain('cannot open the notes of nobody')
  // The probe of the newer protocol has a process of its own; four tries in all, of which some came too early.
  expect(at.lines('notes', 'starts').length - before).toBeLessThanOrEqual(8)
  expect(at.lines('notes')).toEqual([])
})

test.each(['silent', 'listless', 'endless', 'flood'])('TOOL_UNREACHABLE within the time for it: %s', async (how) => {
  const mcp = await at.open([at.stdio('notes', { how, connectMs: 3_000 })])
  expect(mcp.unreachable.map(({ server, error }) => [server, error.code])).toEqual([['notes', 'TOOL_UNREACHABLE']])
  expect(mcp.quarantined).toEqual([])
  await mcp.close()
  await until(
    () =>
      at.lines('notes', 'starts').every((pid) => {
        try {
          return !process.kill(Number(pid), 0)
        } catch {
          return true
        }
      }),
    'the end of its processes',
  )
})

test('TOOL_TIMEOUT: a read that hangs; the server that still answers stays', async () => {
  const servers = [at.stdio('notes', { tools: { hang: 'read', add: 'read' }, timeoutMs: 1_500 })]
  const mcp = await at.accepted(servers)
  const starts = at.lines('notes', 'starts').length
  expect(await at.ends(mcp, { tool: 'notes.hang', input: {} })).toMatchObject({
    status: 'failed',
    error: { code: 'TOOL_TIMEOUT' },
  })
  expect(await at.ends(mcp, add)).toMatchObject({ status: 'done' })
  expect(at.lines('notes', 'starts')).toHaveLength(starts)
})

test('a server that hangs as a whole is ended, and another one works', async () => {
  const servers = [at.stdio('notes', { tools: { block: 'unsafe', add: 'read' }, timeoutMs: 15_000, connectMs: 4_000 })]
  const mcp = await at.accepted(servers)
  const starts = at.lines('notes', 'starts').length
  const hurried = { ...mcp, tools: mcp.tools.map((tool) => ({ ...tool, timeoutMs: 1_500 })) }
  expect(await at.ends(hurried, { tool: 'notes.block', input: {} })).toMatchObject({
    status: 'parked',
    held: [{ kind: 'maybe-executed' }],
  })
  expect(await at.ends(mcp, add)).toMatchObject({ status: 'done' })
  expect(at.lines('notes', 'starts').length).toBeGreaterThan(starts)
})

test('a server that talks much before it answers stops nobody else', async () => {
  const mcp = await at.accepted([at.stdio('notes', { tools: { chatter: 'read' } })])
  const { app, one } = at.caller(mcp)
  let turns = 0
  const turning = setInterval(() => turns++, 20)
  const handle = await app.start(one, { tool: 'notes.chatter', input: { messages: 20_000 } })
  expect(await handle.result()).toEqual({ text: 'at last' })
  clearInterval(turning)
  expect(turns).toBeGreaterThan(2)
})
