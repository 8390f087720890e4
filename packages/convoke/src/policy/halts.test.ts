import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { convoke } from '../convoke.ts'
import { agent } from '../agents/define.ts'
import type { App } from '../app/app.ts'
import { workflow } from '../app/define.ts'
import { role } from '../contracts/role.ts'
import { openSqliteLedger } from '../ledger-sqlite/index.ts'
import { tool } from '../gateway/tool.ts'
import type { Ledger } from '../ports/ledger.ts'
import { rule, scriptedModel } from '../testing/scripted-model.ts'
import { liftHalt, orderHalt, standingHalts, type Halt, type HaltTarget } from './halts.ts'

// Orders come from another opening of the store, as another process would give them.

let dir: string
let office: Ledger
let app: App
const done: string[] = []
const by = { kind: 'person', id: 'ada' } as const
const salt = (): string => randomBytes(16).toString('hex')
const order = (target: HaltTarget): Promise<Halt> =>
  orderHalt(office, { tenant: 'local', target, by, reason: 'enough', at: Date.now(), salt: salt() })
const lift = (halt: Halt): Promise<unknown> =>
  liftHalt(office, { tenant: 'local', id: halt.id, by, at: Date.now(), salt: salt() })

const act = tool({
  name: 'act',
  description: 'acts',
  inputSchema: z.object({ run: z.string(), n: z.number() }),
  effect: 'unsafe',
  execute: ({ run, n }) => void done.push(`${run}:${n}`),
})
const clerk = role({
  name: 'clerk',
  input: z.object({ run: z.string() }),
  output: z.object({ ok: z.boolean() }),
  tools: [act],
})
const plain = role({
  name: 'plain',
  input: z.object({ run: z.string() }),
  output: z.object({ ok: z.boolean() }),
  tools: [act],
})
const acting = (its: typeof clerk) =>
  agent({
    name: its.name,
    role: its,
    run: async (ctx, { run }) => {
      await ctx.call(act, { run, n: 1 })
      return { ok: true }
    },
  })
const loop = workflow({ name: 'loop' }, async (run) => {
  for (let n = 1; n <= 2_000; n++) {
    await run.call(act, { run: run.id, n }, { name: `act${n}` })
    await run.step(`rest${n}`, async () => new Promise((resolve) => setTimeout(resolve, 20)))
  }
})
const asked: string[] = []
const talker = role({ name: 'talker', input: z.object({}), output: z.object({ said: z.string() }) })
const voice = scriptedModel({
  id: 'voice',
  rules: [
    rule({
      name: 'any',
      when: () => true,
      reply: () => {
        asked.push('talker')
        return JSON.stringify({ value: { said: 'hello' } })
      },
    }),
  ],
})
const talks = workflow({ name: 'talks' }, async (run) => {
  await run.ask(talker, {})
})
const sides = workflow({ name: 'sides' }, async (run) => {
  await run.all('sides', {
    clerk: (r) => r.ask(clerk, { run: run.id }),
    plain: async (r) => {
      await r.ask(plain, { run: run.id })
    },
  })
  await run.ask(talker, {})
  await run.call(act, { run: run.id, n: 2 })
})
const recordsOf = (run: string) => office.read({ tenant: 'local', stream: `run/${run}` })
const parkings = async (run: string): Promise<number> =>
  (await recordsOf(run)).filter((r) => r.type === 'run.parked').length

beforeEach(async () => {
  done.length = 0
  asked.length = 0
  dir = await mkdtemp(join(tmpdir(), 'convoke-halts-'))
  office = await openSqliteLedger({ dir, durability: 'process-crash-only' })
  app = convoke({
    store: dir,
    durability: 'process-crash-only',
    workflows: { loop, sides, talks },
    agents: [
      acting(clerk),
      acting(plain),
      agent({ role: talker, name: 'talker', instructions: 'Talk.', model: voice }),
    ],
    tools: [act],
    onTrouble: () => undefined,
  })
})
afterEach(async () => {
  await app.close()
  await office.close()
  await rm(dir, { recursive: true, force: true })
})

async function until(what: string, enough: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 3_000; i++) {
    if (await enough()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const rows = (await office.runs({ tenant: 'local' })).map((r) => [r.run, r.status, r.error, r.due])
  throw new Error(
    `waited in vain for ${what}: ${JSON.stringify(rows)}, done ${done.length}, ${done.slice(-3).join(' ')}`,
  )
}
const statusOf = async (run: string): Promise<unknown> => {
  const row = await office.run({ tenant: 'local', stream: `run/${run}` })
  return [row?.status, row?.error]
}
const stopped = async (run: string): Promise<boolean> => ((await statusOf(run)) as string[])[0] === 'stopped'

test(
  'RUN_HALTED: one run is stopped from elsewhere, another goes on; lifted, it goes on where it was',
  { timeout: 120_000 },
  async () => {
    await app.start(loop, undefined, { id: 'a' })
    await app.start(loop, undefined, { id: 'b' })
    await until('both to act', async () => done.includes('a:2') && done.includes('b:2'))
    const halt = await order({ run: 'a' })
    await until('a to stop', () => stopped('a'))
    const mine = done.filter((d) => d.startsWith('a:')).length
    const theirs = done.filter((d) => d.startsWith('b:')).length
    await until('b to act on', async () => done.filter((d) => d.startsWith('b:')).length > theirs + 2)
    expect(await statusOf('a')).toEqual(['stopped', 'RUN_HALTED'])
    expect(done.filter((d) => d.startsWith('a:'))).toHaveLength(mine)
    expect(await standingHalts(office, 'local')).toMatchObject([{ id: halt.id, by: 'ada', reason: 'enough' }])
    await lift(halt)
    await until('a to act again', async () => done.includes(`a:${mine + 1}`))
    expect(done.filter((d) => d === `a:${mine}`)).toHaveLength(1)
    await order({ all: true })
    await until('all to stop', async () => (await stopped('a')) && stopped('b'))
  },
)

test('everything: what runs is stopped, and what starts later does not begin', { timeout: 120_000 }, async () => {
  await app.start(loop, undefined, { id: 'a' })
  await until('a to act', async () => done.includes('a:1'))
  const halt = await order({ all: true })
  await until('a to stop', () => stopped('a'))
  done.length = 0
  await app.start(loop, undefined, { id: 'late' })
  await until('late to stop', () => stopped('late'))
  expect(done).toEqual([])
  await lift(halt)
  await until('late to act', async () => done.includes('late:1'))
  await order({ all: true })
  await until('all to stop', async () => (await stopped('a')) && stopped('late'))
})

test(
  'a role: what it would do waits, other branches and roles act on; lifted, it goes on by itself',
  { timeout: 120_000 },
  async () => {
    const halt = await order({ role: 'clerk' })
    await app.start(sides, undefined, { id: 'r' })
    const waits = async (): Promise<boolean> => {
      const row = await office.run({ tenant: 'local', stream: 'run/r' })
      return row?.status === 'parked' && row.parkedOn === 'breaker'
    }
    await until('r to wait', waits)
    expect(done).toEqual(['r:1'])
    expect(asked).toEqual([])
    // Also for whoever takes the run over: it still waits, and has asked no model.
    await office.post(
      { tenant: 'local', stream: 'inbox/r' },
      { id: 'nudge', type: 'signal', at: Date.now(), actor: by, payload: { name: 'nudge' } },
    )
    await until('r to have been woken', async () => (await parkings('r')) > 1 && waits())
    expect([done, asked]).toEqual([['r:1'], []])
    expect(await lift(halt)).toMatchObject({ woken: ['r'] })
    await until('r to end', async () => ((await statusOf('r')) as string[])[0] === 'done')
    expect([done.toSorted(), asked]).toEqual([['r:1', 'r:1', 'r:2'], ['talker']])
    const noted = (await recordsOf('r')).filter((r) => r.type === 'role.halted')
    expect(noted.map((r) => [r.path, (r.payload as { role: string }).role])).toEqual(
      expect.arrayContaining([['sides/clerk/clerk/act', 'clerk']]),
    )
  },
)

test('a model of a role that is stopped is not asked', { timeout: 120_000 }, async () => {
  const halt = await order({ role: 'talker' })
  await app.start(talks, undefined, { id: 't' })
  await until('t to wait', async () => (await office.run({ tenant: 'local', stream: 'run/t' }))?.parkedOn === 'breaker')
  expect(asked).toEqual([])
  await lift(halt)
  await until('t to end', async () => ((await statusOf('t')) as string[])[0] === 'done')
  expect(asked).toEqual(['talker'])
})

test('lifted while runs are about to stop: none of them is left lying', { timeout: 120_000 }, async () => {
  const runs = ['a', 'b', 'c', 'd']
  for (const id of runs) await app.start(loop, undefined, { id })
  await until('all to act', async () => runs.every((id) => done.includes(`${id}:1`)))
  for (let i = 0; i < 6; i++) {
    const halt = await order({ all: true })
    // From not yet read to long obeyed.
    await new Promise((resolve) => setTimeout(resolve, i * 40))
    await lift(halt)
    const before = done.length
    const since = (id: string): boolean => done.slice(before).some((d) => d.startsWith(`${id}:`))
    await until(`all to act on after order ${i}`, async () => runs.every(since))
  }
  expect(new Set(done).size).toBe(done.length)
  await order({ all: true })
  await until('all to stop', async () => (await Promise.all(runs.map(stopped))).every(Boolean))
})

test('INPUT_INVALID for no target or an order that does not stand; RUN_UNKNOWN for no such run', async () => {
  await expect(order({} as HaltTarget)).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  await expect(order({ run: 'nobody' })).rejects.toMatchObject({ code: 'RUN_UNKNOWN' })
  await expect(lift({ id: 'halt_x' } as Halt)).rejects.toMatchObject({ code: 'INPUT_INVALID' })
})
