import { expect, test } from 'vitest'
import type { Labels } from '../core/labels.ts'
import { noLabels } from '../core/labels.ts'
import { begin, endOf, entriesOf, flow, goOn, newWorld, recordOf } from '../../test/durable/world.ts'
import type { Entry } from './types.ts'

const go = { kind: 'signal', name: 'go', parse: async (v: unknown) => v } as const

/** Causes as `kind path-or-type`, sorted. */
function why(entries: readonly Entry[], path: string): string[] {
  return endOf(entries, path)
    .record.causes.map(({ ref, kind }) => {
      const cause = entries.find((e) => `${e.record.stream}@${e.record.seq}` === ref)
      return `${kind} ${cause?.record.path ?? cause?.record.type ?? ref}`
    })
    .toSorted()
}

test('an argument that holds a returned object has an input cause; what was finished before is control; from declares', async () => {
  const caused = flow('caused', async (run) => {
    const a = await run.step('a', () => ({ list: [{ n: 1 }, { n: 2 }] }))
    const b = await run.step('b', () => ({ n: 3 }))
    await run.step('inside', { input: { deep: [a.list[1]] } }, () => 1)
    await run.step('declares', { input: 'text', from: [b] }, () => 1)
    await run.step('both', { input: a, from: [a, b] }, () => 1)
    await run.step('plain', () => 1)
  })
  const app = newWorld().app([caused])
  await (await begin(app, 'caused', null)).result()
  const entries = await entriesOf(app)
  expect(why(entries, 'a')).toEqual([])
  expect(why(entries, 'b')).toEqual(['control a'])
  expect(why(entries, 'inside')).toEqual(['control b', 'input a'])
  expect(why(entries, 'declares')).toEqual(['control inside', 'declared b'])
  expect(why(entries, 'both')).toEqual(['control declares', 'declared b', 'input a'])
  expect(why(entries, 'plain')).toEqual(['control both'])
})

test('branches build on what was before them, and what follows builds on the ends of all branches', async () => {
  const forked = flow('forked', async (run) => {
    await run.step('before', () => 1)
    await run.all('both', {
      a: async (r) => {
        await r.step('one', () => 1)
        await r.step('two', () => 1)
      },
      b: (r) => r.step('one', () => 1),
    })
    await run.step('after', () => 1)
  })
  const app = newWorld().app([forked])
  await (await begin(app, 'forked', null)).result()
  const entries = await entriesOf(app)
  expect(why(entries, 'both/a/one')).toEqual(['control before'])
  expect(why(entries, 'both/b/one')).toEqual(['control before'])
  expect(why(entries, 'both/a/two')).toEqual(['control both/a/one'])
  expect(why(entries, 'after')).toEqual(['control both/a/two', 'control both/b/one'])
  const end = entries.at(-1)!
  expect(end.record.causes).toEqual([{ ref: `run/r@${endOf(entries, 'after').record.seq}`, kind: 'control' }])
})

test('labels are the join of what a step is built on; branches join where they meet', async () => {
  const labelled = flow('labelled', async (run) => {
    const clean = await run.step('clean', () => ({ n: 1 }))
    const both = await run.all('both', {
      outside: (r) => r.receive(go),
      inside: (r) => r.step('s', { input: clean }, () => ({ n: 2 })),
    })
    await run.step('joined', { input: both.inside }, () => 1)
  })
  const app = newWorld().app([labelled])
  const handle = await begin(app, 'labelled', null)
  await handle.settled()
  await handle.signal(go, { from: 'outside' })
  await handle.result()
  const entries = await entriesOf(app)
  const labels = (path: string): Labels => endOf(entries, path).record.labels
  expect(labels('clean')).toEqual(noLabels)
  expect(labels('both/inside/s')).toEqual(noLabels)
  expect(labels('both/outside/go')).toMatchObject({ integrity: 'untrusted', sources: ['inbox'] })
  expect(labels('joined')).toEqual(labels('both/outside/go'))
  expect(entries.at(-1)?.record.labels).toEqual(labels('joined'))
  expect(why(entries, 'both/outside/go')).toEqual(['control clean', 'input inbox.received'])
})

test('causes and labels come out the same whether a step ran after a replay or in one go', async () => {
  const caused = flow('caused', async (run) => {
    const a = await run.step('a', () => ({ n: 1 }))
    const both = await run.map('m', ['x', 'y'], { key: (k) => k }, (r, k) =>
      r.step('s', { input: { a, k } }, () => ({ k })),
    )
    return run.step('end', { input: both[1] }, () => 1)
  })
  const app = newWorld().app([caused])
  await (await begin(app, 'caused', null)).result()
  const recorded = await recordOf(app)
  const whole = ['a', 'm/x/s', 'm/y/s', 'end'].map((path) => why(recorded.entries, path))
  for (let cut = 2; cut < recorded.entries.length; cut++) {
    const again = await goOn(recorded, cut, [caused])
    await again.handle.result()
    const entries = await entriesOf(again.app)
    expect(['a', 'm/x/s', 'm/y/s', 'end'].map((path) => why(entries, path))).toEqual(whole)
  }
})
