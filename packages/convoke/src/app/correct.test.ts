/** A fork's corrections: where a pointer begins, and what a value must fit. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { agent } from '../agents/define.ts'
import { role } from '../contracts/role.ts'
import { convoke } from '../convoke.ts'
import { tool } from '../gateway/tool.ts'
import type { App } from './app.ts'
import { workflow } from './define.ts'
import type { ForkOptions } from './fork.ts'

const lines = z.array(z.object({ price: z.string() }))
const intake = role({
  name: 'intake',
  input: z.string(),
  output: z.object({ total: z.string().regex(/^\d+\.\d{2}$/), po: z.string().optional(), lines }),
})
const rates = tool({
  name: 'rates',
  description: 'exchange rates',
  effect: 'read',
  inputSchema: z.object({}),
  outputSchema: z.object({ usd: z.string() }),
  execute: async () => ({ usd: '1.10' }),
})
/** Takes text and gives a number: what it gives does not fit it again. */
const turning = role({ name: 'turning', input: z.string(), output: z.object({ n: z.string().transform(Number) }) })

const flow = workflow({ name: 'flow', input: z.string() }, async (run, text) => {
  const { value } = await run.ask(intake, text)
  const { usd } = await run.call(rates, {})
  const { n } = (await run.ask(turning, text)).value
  const words = await run.step('words', () => ({ value: text.split(' ').length }))
  const broken = await run
    .step('broken', (): string => {
      throw new Error('broken')
    })
    .catch(() => 'caught')
  return [value.total, value.po ?? '', value.lines.map((l) => l.price).join(), usd, n, words.value, broken]
})

let dir: string
let app: App
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-correct-'))
  app = convoke({
    store: dir,
    workflows: { flow },
    tools: [rates],
    agents: [
      agent({ role: intake, run: async () => ({ total: '7.00', lines: [{ price: '3.00' }, { price: '4.00' }] }) }),
      agent({ role: turning, run: async () => ({ n: '5' }) as never }),
    ],
  })
  await (await app.start(flow, 'a b c', { id: 'r' })).result()
})
afterAll(async () => {
  await app.close()
  rmSync(dir, { recursive: true, force: true })
})

type Set = NonNullable<ForkOptions['set']>
const forked = async (...set: Set): Promise<unknown> =>
  (await (await app.run('r')).fork({ at: 'words', set, effects: 'live' })).result()

test('a pointer begins at what the step gave: for an ask at the value of its outcome', async () => {
  expect(await forked()).toEqual(['7.00', '', '3.00,4.00', '1.10', 5, 3, 'caught'])
  expect(await forked({ step: 'intake', pointer: '/total', value: '8.00' })).toMatchObject({ 0: '8.00' })
  expect(await forked({ step: 'words', pointer: '/value', value: 4 })).toMatchObject({ 5: 4 })
  expect(await forked({ step: 'rates', pointer: '/usd', value: '1.20' })).toMatchObject({ 3: '1.20' })
})

test('several corrections of one step stand together; members and items may be added', async () => {
  const set: Set = [
    { step: 'intake', pointer: '/total', value: '8.00' },
    { step: 'intake', pointer: '/po', value: 'PO-1' },
    { step: 'intake', pointer: '/lines/-', value: { price: '1.00' } },
  ]
  expect(await forked(...set)).toMatchObject({ 0: '8.00', 1: 'PO-1', 2: '3.00,4.00,1.00' })
})

test.each<[string, Set[number], object]>([
  ['a value of another shape', { step: 'intake', pointer: '/total', value: 8 }, { pointer: '/total' }],
  ['an item of another shape', { step: 'intake', pointer: '/lines/0/price', value: 1 }, { pointer: '/lines/0/price' }],
  [
    'a field that the schema does not know',
    { step: 'intake', pointer: '/totla', value: '8.00' },
    { pointer: '/totla' },
  ],
  ['the outcome’s own member', { step: 'intake', pointer: '/value', value: {} }, { pointer: '/value' }],
  ['a whole value of another shape', { step: 'intake', pointer: '', value: {} }, { pointer: '/total' }],
  ['what a tool never answers', { step: 'rates', pointer: '/usd', value: null }, { pointer: '/usd' }],
])('INPUT_INVALID: %s', async (_, change, issue) => {
  await expect(forked(change)).rejects.toMatchObject({
    code: 'INPUT_INVALID',
    details: { step: change.step, issues: expect.arrayContaining([expect.objectContaining(issue)]) as unknown },
  })
})

test('an id is one fork’s: asked for again it is found, and RUN_EXISTS for any other', async () => {
  const handle = await app.run('r')
  const fork = (value: string, id = 'r-once'): Promise<{ readonly id: string }> =>
    handle.fork({ at: 'words', set: [{ step: 'intake', pointer: '/total', value }], id })
  expect((await fork('8.00')).id).toBe('r-once')
  expect((await fork('8.00')).id).toBe('r-once')
  await expect(fork('9.00')).rejects.toMatchObject({ code: 'RUN_EXISTS', details: { run: 'r-once' } })
  await expect(fork('9.00', 'r')).rejects.toMatchObject({ code: 'RUN_EXISTS' })
})

test('a schema that turns what it takes into something else is no judge of what it gave', async () => {
  expect(await forked({ step: 'turning', pointer: '/n', value: 6 })).toMatchObject({ 4: 6 })
})

test('INPUT_INVALID for a step that failed, RECORD_UNKNOWN for one that is not there or a pointer to nowhere', async () => {
  const set = (step: string, pointer: string): Promise<unknown> => forked({ step, pointer, value: 1 })
  await expect(set('broken', '')).rejects.toMatchObject({ code: 'INPUT_INVALID', details: { error: 'STEP_FAILED' } })
  await expect(set('nowhere', '')).rejects.toMatchObject({ code: 'RECORD_UNKNOWN' })
  await expect(set('words', 'value')).rejects.toMatchObject({ code: 'RECORD_UNKNOWN' })
  await expect(set('intake', '/lines/7/price')).rejects.toMatchObject({ code: 'RECORD_UNKNOWN' })
})
