import { expect, test } from 'vitest'
import { ConvokeError } from '../core/errors.ts'
import { runStream } from '../core/projections.ts'
import { readAll } from './history.ts'
import type { Workflow } from './workflow.ts'
import { begin, endOf, entriesOf, flow, goOn, lines, newWorld, recordOf } from '../../test/durable/world.ts'

const codeOf = (error: unknown): string => (error as ConvokeError).code
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const go = { kind: 'signal', name: 'go', parse: async (v: unknown) => v } as const
const as = <I, O>(workflow: unknown): Workflow<I, O> => workflow as Workflow<I, O>

test('a child is a run of its own whose result comes back, once, wherever the parent died', async () => {
  let ran = 0
  const child = flow('child', async (run, n: number) => run.step('double', () => (ran++, n * 2)))
  const parent = flow('parent', async (run) => {
    const both = await run.all('both', {
      a: (r) => r.child(as<number, number>(child), 1),
      b: (r) => r.child(as<number, number>(child), 2),
    })
    return both.a + both.b
  })
  const app = newWorld().app([parent, child])
  expect(await (await begin(app, 'parent', null)).result()).toBe(6)
  expect(ran).toBe(2)
  const rows = await app.runs({ workflow: 'child' })
  expect(rows.map((r) => [r.parent, r.root, r.status])).toEqual([
    ['r', 'r', 'done'],
    ['r', 'r', 'done'],
  ])
  const recorded = await recordOf(app)
  for (let cut = 2; cut < recorded.entries.length; cut++) {
    ran = 0
    const again = await goOn(recorded, cut, [parent, child])
    expect(await again.handle.result()).toBe(6)
    // Children that this other store has never seen are started there; the two of one parent have one id each.
    expect(ran).toBeLessThanOrEqual(2)
  }
})

test("a failing child is its parent's error, with code and details", async () => {
  const child = flow('child', async () => {
    throw new ConvokeError('CHILD_ODD', 'odd', { details: { n: 1 } })
  })
  const parent = flow('parent', async (run) =>
    run.child(as(child), null).catch((e: unknown) => [codeOf(e), (e as ConvokeError).details]),
  )
  const app = newWorld().app([parent, child])
  expect(await (await begin(app, 'parent', null)).result()).toEqual(['CHILD_ODD', { n: 1 }])
})

test('a parent that is cancelled cancels its child', async () => {
  const effects: string[] = []
  const child = flow('child', async (run) => {
    await run.act('pay', { do: () => effects.push('pay'), undo: () => effects.push('refund') })
    await run.receive(go)
  })
  const parent = flow('parent', async (run) => run.child(as(child), null))
  const app = newWorld().app([parent, child])
  const handle = await begin(app, 'parent', null)
  await handle.settled()
  await app.idle()
  await handle.cancel()
  expect(codeOf(await handle.result().catch((e: unknown) => e))).toBe('RUN_CANCELLED')
  await app.idle()
  const [row] = await app.runs({ workflow: 'child' })
  expect([row?.status, effects]).toEqual(['cancelled', ['pay', 'refund']])
})

test('WORKFLOW_UNKNOWN and RUN_EXISTS: a child that is not defined, or whose id is taken, fails its step', async () => {
  const child = flow('child', async () => 1)
  const other = flow('other', async () => 1)
  const parent = flow('parent', async (run) => [
    await run.child(as(other), null).catch(codeOf),
    await run.child(as(child), null, { id: 'taken' }).catch(codeOf),
  ])
  const app = newWorld().app([parent, child])
  await (await begin(app, 'child', null, 'taken')).result()
  expect(await (await begin(app, 'parent', null)).result()).toEqual(['WORKFLOW_UNKNOWN', 'RUN_EXISTS'])
})

test('a child named by the workflow has that id', async () => {
  const child = flow('child', async (run) => run.id)
  const parent = flow('parent', async (run) => run.child(as(child), null, { id: 'mine', name: 'asked' }))
  const app = newWorld().app([parent, child])
  expect(await (await begin(app, 'parent', null)).result()).toBe('mine')
  expect(endOf(await entriesOf(app), 'asked').payload['child']).toBe('mine')
})

test("continueAs: a fresh run goes on, and whoever waits for the first gets the last one's result", async () => {
  const counting = flow('counting', async (run, n: number) => {
    await run.step('s', () => n)
    return n < 3 ? run.continueAs(n + 1) : `counted to ${n}`
  })
  const parent = flow('parent', async (run) => run.child(as<number, string>(counting), 1))
  const app = newWorld().app([parent, counting])
  expect(await (await begin(app, 'counting', 1, 'c')).result()).toBe('counted to 3')
  expect((await app.runs({ workflow: 'counting' })).map((r) => [r.run, r.status, r.root]).toSorted()).toEqual([
    ['c', 'continued', 'c'],
    ['c~2', 'continued', 'c'],
    ['c~3', 'done', 'c'],
  ])
  expect(await (await begin(app, 'parent', null)).result()).toBe('counted to 3')
})

test('continueAs with an input that cannot be, or with steps open, fails the run instead of going round', async () => {
  const world = newWorld()
  const strict = {
    ...flow('strict', async () => 1),
    parseInput: async (value: unknown) => {
      if (typeof value !== 'number') throw new ConvokeError('INPUT_INVALID', 'a number is needed')
      return value
    },
  }
  const app = world.app([
    strict,
    flow('noncanonical', async (run) => run.continueAs({ when: new Date(0) })),
    flow('invalid', async (run) => run.continueAs('x', strict)),
    flow('unknown', async (run) =>
      run.continueAs(
        'x',
        flow('nowhere', async () => 1),
      ),
    ),
    flow('open', async (run) => {
      void run.step('s', () => after(10_000))
      return run.continueAs(1)
    }),
  ])
  for (const [name, code] of [
    ['noncanonical', 'NOT_CANONICAL'],
    ['invalid', 'INPUT_INVALID'],
    ['unknown', 'WORKFLOW_UNKNOWN'],
    ['open', 'STEP_UNAWAITED'],
  ] as const) {
    const failed = (await (await begin(app, name, null, name)).result().catch((e: unknown) => e)) as ConvokeError
    expect(failed.details?.['error']).toMatchObject({ code })
  }
  expect(world.troubles).toEqual([])
})

test('R8: patched is false for runs that passed the place before the edit, true for the others, however often asked', async () => {
  let edited = false
  const steps: string[] = []
  const edit = flow('edit', async (run) => {
    await run.step('a', () => 1)
    if (edited && (await run.patched('p1')) && (await run.patched('p1'))) await run.step('new', () => steps.push('new'))
    await run.step('b', () => 1)
    const again = edited ? await run.patched('p1') : false
    await run.step('c', () => 1)
    return again
  })
  const app = newWorld().app([edit])
  expect(await (await begin(app, 'edit', null)).result()).toBe(false)
  const old = await recordOf(app)
  edited = true
  // Cut after b: the place was passed before the edit. Cut after a: it was not yet.
  expect(await (await goOn(old, 4, [edit])).handle.result()).toBe(false)
  expect(steps).toEqual([])
  const fresh = await goOn(old, 3, [edit])
  expect(await fresh.handle.result()).toBe(true)
  expect(steps).toEqual(['new'])
  const recorded = await recordOf(fresh.app)
  expect(lines(recorded.entries).filter((l) => l.startsWith('patch'))).toEqual(['patch.marked ~patch:p1'])
  for (let cut = 4; cut < recorded.entries.length; cut++) {
    steps.length = 0
    expect(await (await goOn(recorded, cut, [edit])).handle.result()).toBe(true)
  }
})

test('R8: newer code that agrees with every record adopts the run, once, and says so', async () => {
  const code = async (run: { step: (name: string, body: () => number) => Promise<number> }): Promise<number> => {
    await run.step('a', () => 1)
    return run.step('b', () => 2)
  }
  const app = newWorld().app([flow('same', code as never)])
  await (await begin(app, 'same', null)).result()
  const recorded = await recordOf(app)
  const newer = flow('same', code as never, 'a new build')
  const adopted = await goOn(recorded, 3, [newer])
  expect(await adopted.handle.result()).toBe(2)
  const entries = await entriesOf(adopted.app)
  expect(entries.find((e) => e.record.type === 'run.adopted')?.payload).toEqual({
    digest: newer.digest,
    version: '1',
    from: { digest: recorded.entries[0]!.payload['digest'], version: '1' },
  })
  const after2 = await goOn(await recordOf(adopted.app), 5, [newer])
  await after2.handle.result()
  expect((await entriesOf(after2.app)).filter((e) => e.record.type === 'run.adopted')).toHaveLength(1)
})

test('WORKFLOW_CHANGED: newer code that does not fit stops the run; the old build goes on, or it is cancelled', async () => {
  const ran: string[] = []
  const old = flow('changing', async (run) => {
    await run.step('a', () => ran.push('a'))
    await run.step('b', () => ran.push('b'))
    return 'old'
  })
  const newer = flow('changing', async (run) => {
    await run.step('a2', () => ran.push('a2'))
    return 'new'
  })
  const app = newWorld().app([old])
  await (await begin(app, 'changing', null)).result()
  const recorded = await recordOf(app)
  ran.length = 0
  const refused = await goOn(recorded, 3, [newer])
  const error = (await refused.handle.result().catch((e: unknown) => e)) as ConvokeError
  expect([error.code, error.details?.['recorded'], error.details?.['asked']]).toEqual(['WORKFLOW_CHANGED', 'a', ['a2']])
  expect([ran, (await refused.handle.status()).status]).toEqual([[], 'stopped'])
  expect(refused.troubles.map((t) => codeOf(t.error))).toEqual(['WORKFLOW_CHANGED'])

  // Woken while it cannot go on, it stops again and does not spin.
  await refused.handle.signal(go, 1)
  await after(1_500)
  expect(refused.troubles).toHaveLength(2)

  const cancelled = await goOn(recorded, 3, [newer])
  await cancelled.handle.result().catch(() => undefined)
  await cancelled.handle.cancel('give it up')
  await after(900)
  expect((await cancelled.handle.status()).status).toBe('cancelled')

  const back = await goOn(await recordOf(refused.app), 99, [old])
  await (
    await back.app.ledger()
  ).post(
    { tenant: 'local', stream: 'inbox/r' },
    { id: 'kick', type: 'signal', at: 0, actor: { kind: 'system', id: 't' }, payload: { name: 'kick' } },
  )
  expect(await back.handle.result().catch(codeOf)).toBe('old')
  expect(ran).toEqual(['b'])
  expect((await readAll(await back.app.ledger(), 'local', runStream('r'))).at(-1)?.record.type).toBe('run.completed')
})
