import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { begin, flow, newWorld } from '../../test/durable/world.ts'

// Most of a run object's methods are made when the first of them is asked for; whoever has one need not know.

test('has its methods however they are asked for, the same each time', async () => {
  const app = newWorld().app([
    flow('asks', async (run) => {
      const { step, all, now } = run
      const derived = Object.create(run) as typeof run
      expect([run.all === all, derived.all === all, run.now === now, derived.step === step]).toEqual(
        Array.from({ length: 4 }, () => true),
      )
      expect([run.id, derived.id, run.tenant, run.signal.aborted]).toEqual(['r', 'r', 'local', false])
      expect((run as { readonly nothing?: unknown }).nothing).toBeUndefined()
      const both = await all('both', {
        one: async (inner) => inner.step('a', () => inner.id),
        two: async ({ step: its, uuid }) => its('a', () => typeof uuid()),
      })
      return { both, kept: await step('kept', () => 1) }
    }),
  ])
  expect(await (await begin(app, 'asks', null)).result()).toEqual({ both: { one: 'r', two: 'string' }, kept: 1 })
})

test('can be awaited, printed and looked into as any object', async () => {
  const app = newWorld().app([
    flow('shown', async (run) => {
      expect(await Promise.resolve(run)).toBe(run)
      expect(inspect(run)).toContain("id: 'r'")
      expect(inspect(Object.getPrototypeOf(run))).toBe('{}')
      return run.step('a', () => 1)
    }),
  ])
  expect(await (await begin(app, 'shown', null)).result()).toBe(1)
})
