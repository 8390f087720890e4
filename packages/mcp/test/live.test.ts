import { cpSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { agent, role, tool, workflow, type AnyTool } from 'convoke'
import { rule, scriptedModel } from 'convoke/testing'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { z } from 'zod'
import { place, until, type Call, type Place } from './support/place.ts'

// What a person accepts while workers run: they take it up by themselves, from the file, and nothing before it is accepted.

vi.setConfig({ testTimeout: 180_000 })

let at: Place
beforeEach(() => {
  at = place()
})
afterEach(() => at.close())

const add: Call = { tool: 'notes.add', input: { text: 'milk' } }
const named = (tools: readonly AnyTool[], name: string): AnyTool | undefined => tools.find((t) => t.name === name)

/** As another process would: it looks, shows, and writes the file. */
async function acceptsElsewhere(ref: string, pins?: string): Promise<void> {
  const other = await at.open([at.stdio('notes')], pins === undefined ? {} : { pins })
  const held = other.quarantined.find(({ tool: its }) => its === ref)
  await other.accept({ tool: ref, hash: held?.hash ?? '', by: 'bob' })
  await other.close()
}

test('a tool that changed is refused until it is accepted, and then called by the app that was running all along', async () => {
  const mcp = await at.accepted([at.stdio('notes')])
  const before = named(mcp.tools, 'notes.add')
  const { app, one } = at.caller(mcp, { tools: mcp.tools })
  const call = async (): Promise<string> => (await (await app.start(one, add)).settled()).status
  at.behave('notes', { description: 'Adds a note, quickly.' })
  // The server finds out while it answers; what it said it was does not hold from then on.
  expect(await call()).toBe('done')
  expect(await call()).toBe('failed')
  expect(named(mcp.tools, 'notes.add')).toBe(before)
  await acceptsElsewhere('notes.add')
  await until(() => named(mcp.tools, 'notes.add')?.description === 'Adds a note, quickly.', 'the new tool')
  expect(await call()).toBe('done')
  expect(at.lines('notes')).toHaveLength(2)
  // Nothing of the others changed: they are what they were.
  expect(mcp.quarantined).toEqual([])
})

test('a tool that nobody knew when the app started reaches its models once it is accepted, beside tools of its own', async () => {
  const mcp = await at.open([at.stdio('notes')])
  expect(mcp.tools).toEqual([])
  const own = tool({ name: 'own', description: 'Ours.', effect: 'read', inputSchema: z.object({}), execute: () => 1 })
  const tools = mcp.toolsWith([own])
  const seen: string[][] = []
  const model = scriptedModel({
    id: 'script',
    rules: [
      rule({
        name: 'looks',
        when: () => true,
        reply: (request) => {
          seen.push((request.tools ?? []).map(({ name }) => name))
          return JSON.stringify({ value: { done: true } })
        },
      }),
    ],
  })
  const clerk = role({
    name: 'clerk',
    input: z.object({}),
    output: z.object({ done: z.boolean() }),
    tools: ['own', 'notes.*'],
  })
  const flow = workflow({ name: 'flow' }, async (run) => (await run.ask(clerk, {})).value)
  const { app } = at.caller(mcp, {
    workflows: { flow },
    agents: [agent({ role: clerk, instructions: 'Work.' })],
    tools,
    model,
  })
  await (await app.start(flow, {})).result()
  await acceptsElsewhere('notes.add')
  await until(() => named(mcp.tools, 'notes.add') !== undefined, 'the new tool')
  await (await app.start(flow, {})).result()
  expect(seen).toEqual([['own'], ['own', 'notes.add']])
  expect(tools.map(({ name }) => name)).toEqual(['own', 'notes.add'])
})

test('an acceptance that is taken back is taken back in running apps', async () => {
  const mcp = await at.accepted([at.stdio('notes')])
  const file = join(at.dir, 'pins.json')
  const pins = JSON.parse(readFileSync(file, 'utf8')) as { tools: Record<string, unknown> }
  delete pins.tools['notes.add']
  writeFileSync(file, JSON.stringify(pins))
  await until(() => named(mcp.tools, 'notes.add') === undefined, 'its end')
  expect(mcp.quarantined.map(({ tool: ref }) => ref)).toEqual(['notes.add'])
})

test('a file that is no file of pins changes nothing', async () => {
  const mcp = await at.accepted([at.stdio('notes')])
  const before = [...mcp.tools]
  const file = join(at.dir, 'pins.json')
  const good = readFileSync(file, 'utf8')
  writeFileSync(file, good.slice(0, 100))
  await expect(mcp.refresh()).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  expect([...mcp.tools]).toEqual(before)
  writeFileSync(file, good)
  await mcp.refresh()
  expect([...mcp.tools]).toEqual(before)
})

test('TOOL_QUARANTINED: a call meant for the tool as it was is refused, also where it was accepted since, and says so', async () => {
  const mcp = await at.accepted([at.stdio('notes')])
  const old = named(mcp.tools, 'notes.add') as AnyTool
  const flow = workflow({ name: 'flow' }, (run) => run.call(old, { text: 'milk' } as never))
  at.behave('notes', { description: 'Adds a note, quickly.' })
  await at.ends(mcp, add)
  await acceptsElsewhere('notes.add')
  await until(() => named(mcp.tools, 'notes.add') !== old, 'the new tool')
  // Whoever holds the old one, such as an approval that was given for it, does not get the new one in its place.
  const { app } = at.caller(mcp, { store: join(at.dir, 'held'), workflows: { flow }, tools: mcp.tools })
  const error = await (await app.start(flow, {})).result().catch((e: unknown) => e)
  expect(error).toMatchObject({
    details: {
      error: {
        code: 'TOOL_QUARANTINED',
        details: { accepted: true },
        next: expect.stringContaining('again') as string,
      },
    },
  })
  expect(at.lines('notes')).toHaveLength(1)
})

test('where a file system tells nothing, the pins are read when a tool that does not fit them is called', async () => {
  const folder = join(at.dir, 'pins')
  const pins = join(folder, 'convoke.mcp.json')
  mkdirSync(folder)
  const mcp = await at.accepted([at.stdio('notes')], { pins })
  const before = named(mcp.tools, 'notes.add')
  const { app, one } = at.caller(mcp, { tools: mcp.tools })
  const call = async () => (await app.start(one, add)).result().catch((error: unknown) => error)
  at.behave('notes', { description: 'Adds a note, quickly.' })
  await call()
  // The folder that is watched is another one from here on.
  renameSync(folder, join(at.dir, 'gone'))
  cpSync(join(at.dir, 'gone'), folder, { recursive: true })
  await acceptsElsewhere('notes.add', pins)
  expect(named(mcp.tools, 'notes.add')).toBe(before)
  expect(await call()).toMatchObject({ details: { error: { code: 'TOOL_QUARANTINED', details: { accepted: true } } } })
  expect(await call()).toMatchObject({ text: 'added milk' })
  expect(at.lines('notes')).toHaveLength(2)
})

test('what is closed while it looks again says nothing of its servers', async () => {
  const mcp = await at.open([at.stdio('notes')])
  const [held] = mcp.quarantined
  await mcp.accept({ tool: held?.tool ?? '', hash: held?.hash ?? '', by: 'ann' })
  const looking = mcp.refresh()
  await mcp.close()
  await looking
  expect(mcp.unreachable).toEqual([])
})
