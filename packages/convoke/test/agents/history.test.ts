import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { z } from 'zod'
import { agent } from '../../src/agents/define.ts'
import { role } from '../../src/contracts/role.ts'
import { runStream } from '../../src/core/projections.ts'
import type { Message, Model } from '../../src/ports/model.ts'
import { rule, scriptedModel } from '../../src/testing/scripted-model.ts'
import { tenant, world, type Cast, type World } from './world.ts'

let open: World | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})
async function setting(cast: Cast): Promise<World> {
  return (open = await world(cast))
}

const talk = role({ name: 'talk', input: z.object({ turns: z.number() }), output: z.object({ turns: z.number() }) })
const size = 2048
const line = (who: string, i: number): string => `${who} ${i} `.padEnd(size, `${who}${i};`)

/** Talks to a model for as many turns as it is told; each message 2 KB, none like another. */
const talker = agent({
  role: talk,
  run: async (ctx, { turns }) => {
    const messages: Message[] = []
    for (let i = 1; i <= turns; i++) {
      messages.push({ role: 'user', parts: [{ type: 'text', text: line('user', i) }] })
      const { message } = await ctx.generate({ messages })
      messages.push(message)
    }
    return { turns: messages.length / 2 }
  },
})
/** A model that does not look at what it is asked, so that the time is ours. */
const model: Model = {
  id: 'scripted/talk',
  provider: 'scripted',
  kind: 'scripted',
  generate: async ({ messages }) => ({
    parts: [{ type: 'text', text: line('model', (messages.length + 1) / 2) }],
    finish: 'stop',
    tokens: {},
  }),
}

test('a conversation of 500 turns costs what its messages weigh, not their square', async () => {
  const w = await setting({ agents: [talker], model })
  const turns = 500
  const run = await w.run(async (r) => (await r.ask(talk, { turns })).value)
  expect(run.value).toEqual({ turns })
  const calls = run.entries.filter((e) => e.payload['op'] === 'model')
  const bytes = (from: number, to: number): number =>
    calls.slice(from, to).reduce((sum, e) => sum + JSON.stringify(e.record).length, 0)
  // The last hundred records weigh what the first hundred do, but for digits and the base of the very first.
  expect(bytes(400, 500) / bytes(0, 100)).toBeLessThan(1.05)
  const blobs = new Set(run.entries.flatMap((e) => e.record.blobs ?? []))
  expect(blobs.size).toBe(turns)
  const content = turns * 2 * size
  const stored = calls.reduce((sum, e) => sum + JSON.stringify(e.record).length, 0) + turns * (size + 100)
  expect(stored / content).toBeLessThan(2)
  await w.ledger.close().catch(() => undefined)
  const disk = (await stat(join(w.dir, 'ledger.db')).catch(() => undefined))?.size
  // Pages of 4 KB that hold one row of 2 KB and a bit each: about twice the content, whatever the number of turns.
  if (disk !== undefined) expect(disk / content).toBeLessThan(2.2)
}, 120_000)

test('R6: the inner records of a finished ask are not loaded again', async () => {
  const w = await setting({ agents: [talker], model })
  const run = await w.run(async (r) => {
    await r.ask(talk, { turns: 40 })
    await r.sleep(30)
    return (await r.ask(talk, { turns: 1 }, { name: 'again' })).value
  })
  expect(run.value).toEqual({ turns: 1 })
  const outline = await w.ledger.read({ tenant, stream: runStream(run.id) }, { outline: true })
  const inside = outline.filter((record) => record.path?.startsWith('talk/'))
  expect(inside).toEqual([])
  expect(outline.some((record) => record.path === 'talk')).toBe(true)
  expect(run.entries.filter((e) => e.record.path?.startsWith('talk/')).length).toBeGreaterThan(40)
})

test('nothing secret is stored: what redaction hides never reaches a blob, a record or the model', async () => {
  const seen: string[] = []
  const spy = scriptedModel({
    id: 'spy',
    rules: [
      rule({
        name: 'spy',
        when: () => true,
        reply: (request) => {
          seen.push(JSON.stringify(request))
          return JSON.stringify({ value: { turns: 1 } })
        },
      }),
    ],
  })
  const hide = (value: unknown): unknown =>
    typeof value === 'string'
      ? value.replaceAll('hunter2', '[hidden]')
      : Array.isArray(value)
        ? value.map(hide)
        : typeof value === 'object' && value !== null
          ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, hide(item)]))
          : value
  const briefed = agent({
    role: talk,
    instructions: 'The password is hunter2.',
    brief: () => [{ content: 'hunter2 again', from: 'policy' }],
  })
  const w = await setting({ agents: [briefed], model: spy, redact: (value) => hide(value) as never })
  const run = await w.run((r) => r.ask(talk, { turns: 1 }))
  expect(run.error).toBeUndefined()
  expect(seen.join()).not.toContain('hunter2')
  const stored = [JSON.stringify(run.entries)]
  for (const hash of new Set(run.entries.flatMap((e) => e.record.blobs ?? [])))
    stored.push(Buffer.from((await w.ledger.getBlob(tenant, hash)) ?? []).toString('utf8'))
  expect(stored.join()).toContain('[hidden] again')
  expect(stored.join()).not.toContain('hunter2')
})
