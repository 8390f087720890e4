import { expect, test } from 'vitest'
import { isConvokeError } from '../core/errors.ts'
import { begin, endOf, entriesOf, flow, goOn, lines, newWorld, recordOf } from '../../test/durable/world.ts'

test('R1: a finished step is not run again, at whichever record the process died', async () => {
  const ran: string[] = []
  const two = flow('two', async (run, input: { n: number }) => {
    const a = await run.step('a', () => (ran.push('a'), { n: input.n + 1 }))
    const b = await run.step('b', { input: a }, () => (ran.push('b'), a.n * 2))
    return { a, b }
  })
  const app = newWorld().app([two])
  const handle = await begin(app, 'two', { n: 1 })
  expect(await handle.result()).toEqual({ a: { n: 2 }, b: 4 })
  const recorded = await recordOf(app)
  expect(lines(recorded.entries)).toEqual([
    'run.started',
    'run.input',
    'step.completed a',
    'step.completed b',
    'run.completed',
  ])
  for (let cut = 2; cut <= 5; cut++) {
    ran.length = 0
    const again = await goOn(recorded, cut, [two])
    expect(await again.handle.result()).toEqual({ a: { n: 2 }, b: 4 })
    expect(ran).toEqual([[], [], ['a', 'b'], ['b'], [], []][cut])
  }
})
