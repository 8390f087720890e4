import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { begin, entriesOf, flow, lines, newWorld } from '../../test/durable/world.ts'
import { ConvokeError } from '../core/errors.ts'

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

test('what the process cannot make stops the run, whatever its code does with the error; it goes on when it can', async () => {
  const broken = { now: true }
  const app = newWorld().app(
    [
      flow('asks', async (run) => {
        await run.step('before', () => 1)
        try {
          await run.sleep(1)
        } catch {
          // Code that goes on whatever happens.
        }
        return run.step('after', () => 2)
      }),
    ],
    {
      extend: async () => () => {
        if (broken.now) throw new ConvokeError('DEFINITION_INVALID', 'a tool says nothing of where it calls')
        return []
      },
    },
  )
  const handle = await begin(app, 'asks', null)
  expect((await handle.settled()).status).toBe('stopped')
  expect(lines(await entriesOf(app))).not.toContain('step.completed after')
  await expect(handle.result()).rejects.toMatchObject({ code: 'DEFINITION_INVALID' })
  broken.now = false
  const again = {
    id: 'm',
    type: 'signal',
    at: 1,
    actor: { kind: 'person', id: 'ann' },
    payload: { name: 'again' },
  } as const
  await (await app.ledger()).post({ tenant: 'local', stream: 'inbox/r' }, again)
  expect(await handle.result()).toBe(2)
})
