import { expect, test } from 'vitest'
import { begin, flow, goOn, lines, newWorld, recordOf } from '../../test/durable/world.ts'
import { runStream } from '../core/projections.ts'

test('R6: a finished scope that folds does not load what is inside it, and its code does not run again', async () => {
  const ran: string[] = []
  const folded = flow('folded', async (run) => {
    const both = await run.all('both', {
      a: (r) =>
        r.inside('ask', 1, async (inner) => {
          ran.push('ask')
          const one = await inner.step('one', () => (ran.push('one'), 1))
          return one + (await inner.inside('deeper', 2, (d) => d.step('two', () => (ran.push('two'), 2))))
        }),
      b: (r) => r.step('s', () => (ran.push('s'), 10)),
    })
    return both.a + both.b + (await run.step('end', () => 100))
  })
  const app = newWorld().app([folded])
  expect(await (await begin(app, 'folded', null)).result()).toBe(113)
  const recorded = await recordOf(app)
  const close = recorded.entries.findIndex((e) => e.record.path === 'both/a/ask')
  for (let cut = 2; cut < recorded.entries.length; cut++) {
    ran.length = 0
    const again = await goOn(recorded, cut, [folded])
    expect(await again.handle.result()).toBe(113)
    const known = lines(recorded.entries.slice(0, cut))
    for (const [path, body] of [
      ['both/a/ask/one', 'one'],
      ['both/a/ask/deeper/two', 'two'],
      ['both/b/s', 's'],
    ] as const)
      expect(ran.includes(body)).toBe(!known.includes(`step.completed ${path}`))
    expect(ran.includes('ask')).toBe(cut <= close)
  }
  const outline = await (await app.ledger()).read({ tenant: 'local', stream: runStream('r') }, { outline: true })
  expect(outline.map((r) => r.path).filter((p) => p?.startsWith('both/a'))).toEqual(['both/a/ask'])
})
