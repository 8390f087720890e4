import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { agent } from '../../src/agents/define.ts'
import { role } from '../../src/contracts/role.ts'
import { mapBounded, mapBoundedSettled, sequence } from '../../src/patterns/sequence.ts'
import { world, type World } from '../agents/world.ts'

const count = role({ name: 'count', input: z.object({ text: z.string() }), output: z.object({ length: z.number() }) })
const double = role({
  name: 'double',
  input: z.object({ length: z.number() }),
  output: z.object({ twice: z.number() }),
})

let w: World
beforeAll(async () => {
  w = await world({
    agents: [
      agent({
        role: count,
        run: async (_, { text }) => {
          if (text === '') throw new Error('nothing to count')
          return { length: text.length }
        },
      }),
      agent({ role: double, run: async (_, { length }) => ({ twice: length * 2 }) }),
    ],
  })
})
afterAll(() => w.close())

test('stages hand on what they give; asks know which outcome they build on', async () => {
  const flow = sequence(count, double, async (run, { twice }) => run.step('add', () => twice + 1))
  const run = await w.run((r) => flow(r, { text: 'abc' }))
  expect(run.value).toBe(7)
  const counted = `run/${run.id}@${run.at('count')!.record.seq}`
  expect(run.at('double')!.record.causes.map((c) => c.ref)).toContain(counted)
})

test('a bounded map keys by item, keeps the order, and gives the others up when one fails', async () => {
  const items = ['aaa', 'b', 'cc'].map((text) => ({ text }))
  const flow = mapBounded(count, { key: (item) => item.text, concurrency: 2 })
  const run = await w.run((r) => flow(r, items))
  expect(run.value).toEqual([{ length: 3 }, { length: 1 }, { length: 2 }])
  expect(run.at('each/cc/count')).toBeDefined()
  const failing = await w.run((r) => mapBounded(count, { key: (item) => `k${item.text}` })(r, [...items, { text: '' }]))
  expect(failing.error).toMatchObject({ code: 'STEP_FAILED', message: 'nothing to count' })
})

test('settled: a failed item is a result', async () => {
  const flow = mapBoundedSettled(sequence(count, double), { key: (item) => `k${item.text}` })
  const run = await w.run(async (r) => (await flow(r, [{ text: 'a' }, { text: '' }])).map((one) => one.status))
  expect(run.value).toEqual(['fulfilled', 'rejected'])
})
