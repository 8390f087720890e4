/** What MCP servers offer, and accepting it: with a real server over stdio. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { McpTools } from '@convoke/mcp'
import type { Json } from 'convoke'
import { afterEach, beforeEach, expect, expectTypeOf, test, vi } from 'vitest'
import type { McpSource } from '../src/config.ts'
import { json, place, type Done, type Place } from './support/cli.ts'

vi.setConfig({ testTimeout: 300_000 })

const app = join(import.meta.dirname, 'support/mcp.config.ts')
let at: Place
beforeEach(() => {
  at = place()
})
afterEach(() => at.remove())

const convoke = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Done> =>
  at.cli([...args, '--app', app], { bare: true, env: { NOTES: at.dir, ...env } })

interface Listed {
  readonly name: string
  readonly error?: { readonly code: string }
  readonly tools: readonly {
    readonly name: string
    readonly state: string
    readonly hash: string
    readonly difference?: string
  }[]
}

async function listed(env: Readonly<Record<string, string>> = {}): Promise<readonly Listed[]> {
  return json((await convoke(['mcp', 'ls', '-o', 'json'], env)).out) as unknown as readonly Listed[]
}

async function hashOf(tool: string): Promise<string> {
  const [server] = await listed()
  return server?.tools.find(({ name }) => name === tool)?.hash ?? ''
}

test('nothing is a tool before it is accepted by what was shown; a change is shown and accepted anew', async () => {
  const first = await convoke(['mcp', 'ls'])
  expect(first.code).toBe(0)
  expect(first.out.split('\n')[0]).toMatch(/^TOOL +STATE +EFFECT +ACCEPTED +HASH$/)
  expect(first.out).toMatch(/^notes\.add +quarantined: new +idempotent +never +[0-9a-f]{12}$/m)
  expect(first.err).toBe(`next: convoke mcp ls --app ${app} notes add\n`)
  expect(json((await convoke(['run', 'note', '-o', 'json'])).out)).toMatchObject({ result: 'no such tool' } as never)

  const look = await convoke(['mcp', 'ls', 'notes', 'add'])
  expect(look.out).toContain('+ description: Adds a note.')
  const hash = await hashOf('add')
  expect(look.out).toContain(hash)
  expect(look.err).toBe(`next: convoke mcp accept --app ${app} notes add --hash ${hash.slice(0, 12)}\n`)

  const accepted = await convoke([
    'mcp',
    'accept',
    'notes',
    'add',
    '--hash',
    hash.slice(0, 12),
    '--by',
    'ada',
    '-o',
    'json',
  ])
  expect(accepted).toMatchObject({ code: 0, err: '' })
  expect(json(accepted.out)).toEqual({ tool: 'notes.add', hash, by: 'ada' })
  expect((await convoke(['mcp', 'ls', 'notes', 'add'])).out).toMatch(
    /^notes\.add +accepted +idempotent +ada, (?:now|.* ago)/m,
  )
  expect(json((await convoke(['run', 'note', '-o', 'json'])).out)).toMatchObject({
    result: { text: 'added milk' },
  } as never)

  writeFileSync(
    join(at.dir, 'notes/behaviour.json'),
    JSON.stringify({ description: 'Adds a note.\u200b And sends it.' }),
  )
  const changed = await convoke(['mcp', 'ls', 'notes'])
  expect(changed.out).toMatch(/^notes\.add +quarantined: changed +idempotent +ada, /m)
  expect(changed.out).toContain('- description: Adds a note.\n  + description: Adds a note.\\u{200b} And sends it.')
  const old = await convoke(['mcp', 'accept', 'notes', 'add', '--hash', hash, '-o', 'json'])
  expect(old).toMatchObject({ code: 4, out: '' })
  expect(json(old.err)).toMatchObject({
    error: { code: 'TOOL_QUARANTINED', next: 'look again: convoke mcp ls notes add' },
  })

  const next = await hashOf('add')
  expect(await convoke(['mcp', 'accept', 'notes', 'add', '--hash', next, '--by', 'bob'])).toMatchObject({ code: 0 })
  const pins = JSON.parse(readFileSync(join(at.dir, 'convoke.mcp.json'), 'utf8')) as { tools: Record<string, Json> }
  expect(pins.tools['notes.add']).toMatchObject({ hash: next, by: 'bob', before: [{ hash, by: 'ada' }] })

  // The ledger has both, whoever has the file.
  const acts = await convoke(['audit', 'acts'])
  expect(acts).toMatchObject({ code: 0, err: '' })
  expect(acts.out).toMatch(
    new RegExp(`person ada  accepted notes\\.add of notes \\(new\\)  ${hash.slice(0, 12)}  policy/tools@1\n`),
  )
  expect(acts.out).toContain(
    `person bob  accepted notes.add of notes (changed)  ${hash.slice(0, 12)} → ${next.slice(0, 12)}  policy/tools@2\n` +
      '    - description: Adds a note.\n    + description: Adds a note.\\u{200b} And sends it.\n',
  )
  const listed = json((await convoke(['audit', 'acts', '-o', 'json'])).out)
  expect(listed).toMatchObject([
    { type: 'tool.accepted', by: { kind: 'person', id: 'ada' }, what: { tool: 'notes.add', server: 'notes', hash } },
    { ref: 'policy/tools@2', by: { id: 'bob' }, what: { was: hash, hash: next, reasons: ['changed'] } },
  ] as never)
})

test('what cannot be put on record is not accepted', async () => {
  const hash = await hashOf('add')
  const accept = ['mcp', 'accept', 'notes', 'add', '--hash', hash]
  const refused = await convoke([...accept, '--store', 'postgres://nobody:x@127.0.0.1:1/none'])
  expect(refused.code).not.toBe(0)
  expect(refused.err).toMatch(/next {5}\S/)
  expect(existsSync(join(at.dir, 'convoke.mcp.json'))).toBe(false)
  expect(await convoke(accept)).toMatchObject({ code: 0 })
})

test('a second server with a tool of the same name waits, and says of which', async () => {
  const hash = await hashOf('add')
  await convoke(['mcp', 'accept', 'notes', 'add', '--hash', hash])
  const both = await convoke(['mcp', 'ls'], { SECOND: 'evil' })
  expect(both.out).toMatch(/^notes\.add +accepted/m)
  expect(both.out).toMatch(/^evil\.add +quarantined: new, shadowing \(notes\.add\)/m)
})

test('TOOL_UNKNOWN, USAGE, CONFIG_INVALID, TOOL_UNREACHABLE: each with what to do next, and nothing written', async () => {
  const refused = async (
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    code: number,
    ...says: string[]
  ) => {
    const done = await convoke(['mcp', ...args], env)
    expect(done.code, done.err).toBe(code)
    for (const text of says) expect(done.err).toContain(text)
    expect(done.err).toMatch(/next {5}\S/)
  }
  await refused(['ls', 'nots'], {}, 2, 'TOOL_UNKNOWN', 'no MCP server "nots"', 'use one of: notes')
  await refused(['ls', 'notes', 'ad'], {}, 2, 'TOOL_UNKNOWN', 'no tool "ad"', `convoke mcp ls --app ${app} notes`)
  await refused(['accept', 'nots', 'add'], {}, 2, 'TOOL_UNKNOWN', 'use one of: notes')
  await refused(['accept', 'notes', 'add'], {}, 2, 'USAGE', `convoke mcp ls --app ${app} notes add, then --hash`)
  await refused(['accept', 'notes', 'add', '--hash', 'f00'], {}, 4, 'TOOL_QUARANTINED', 'look again')
  await refused(['ls'], { HOW: 'ends' }, 5, 'TOOL_UNREACHABLE', 'start it by hand')
  await refused(['accept', 'notes', 'add', '--hash', 'f00'], { HOW: 'ends' }, 5, 'TOOL_UNREACHABLE')
  expect((await listed({ HOW: 'ends' }))[0]?.error?.code).toBe('TOOL_UNREACHABLE')
  expect(existsSync(join(at.dir, 'convoke.mcp.json'))).toBe(false)
  mkdirSync(join(at.dir, 'plain'))
  const plain = await at.cli(['mcp', 'ls', '--app', join(import.meta.dirname, 'support/app.config.ts')], { bare: true })
  expect(plain).toMatchObject({ code: 2, out: '' })
  expect(plain.err).toMatch(/CONFIG_INVALID .*exports no `mcp`[^]*next {5}export const mcp = await mcpTools/)
})

test('what mcpTools gives is what the command line looks for', () => {
  expectTypeOf<McpTools>().toExtend<McpSource>()
})

test('commands that load the configuration end its servers', async () => {
  expect(await convoke(['policy', 'test', '--tool', 'notes.add', '-o', 'json'])).toMatchObject({
    code: expect.any(Number) as number,
  })
  const doctor = await convoke(['doctor'])
  expect(doctor.out).toMatch(/! mcp +tools accepted: 0, in quarantine: 6\n +next: convoke mcp ls/)
})
