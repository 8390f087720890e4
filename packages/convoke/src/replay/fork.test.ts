import { expect, test } from 'vitest'
import type { ConvokeError } from '../core/errors.ts'
import { runStream } from '../core/projections.ts'
import type { App } from '../app/app.ts'
import type { ForkOptions } from '../app/fork.ts'
import type { Workflow } from './workflow.ts'
import { begin, endOf, entriesOf, flow, lines, newWorld } from '../../test/durable/world.ts'

const codeOf = (error: unknown): string => (error as ConvokeError).code
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const go = { kind: 'signal', name: 'go', parse: async (v: unknown) => v } as const
const halt = { kind: 'signal', name: 'halt', parse: async (v: unknown) => v } as const
const limit = { kind: 'board-key', name: 'limit' } as const

async function fork(app: App, run: string, options: ForkOptions): Promise<unknown> {
  return (await (await app.run(run)).fork({ id: `${run}-f`, ...options })).result()
}

/** Everything that is stored of a run, as text. */
async function bytes(app: App, run: string): Promise<string> {
  return JSON.stringify(await entriesOf(app, run))
}

function chain(ran: string[]): ReturnType<typeof flow> {
  return flow('chain', async (run, n: number) => {
    const a = await run.step('a', { input: { n } }, () => (ran.push('a'), { v: n }))
    const b = await run.step('b', { input: { n } }, () => (ran.push('b'), { v: n * 10 }))
    await run.checkpoint('parsed')
    const c = await run.step('c', { input: a }, () => (ran.push('c'), { v: a.v + 100 }))
    const d = await run.step('d', { input: b }, () => (ran.push('d'), { v: b.v + 100 }))
    const e = await run.step('e', () => (ran.push('e'), c.v + d.v))
    return [a.v, b.v, c.v, d.v, e]
  })
}

test('R9: a fork with reuse before keeps what is before its point and runs the rest; the original stays as it is', async () => {
  const ran: string[] = []
  const app = newWorld().app([chain(ran)])
  expect(await (await begin(app, 'chain', 1)).result()).toEqual([1, 10, 101, 110, 211])
  const original = await bytes(app, 'r')
  ran.length = 0
  expect(await fork(app, 'r', { at: 'parsed' })).toEqual([1, 10, 101, 110, 211])
  expect(ran).toEqual(['c', 'd', 'e'])
  expect(await bytes(app, 'r')).toBe(original)
  expect(await (await app.run('r-f')).status()).toMatchObject({ forkOf: 'r', status: 'done' })
  for (const [at, left] of [
    ['a', ['b', 'c', 'd', 'e']],
    ['d', ['e']],
    [3, ['b', 'c', 'd', 'e']],
    ['2', ['a', 'b', 'c', 'd', 'e']],
  ] as const) {
    ran.length = 0
    await fork(app, 'r', { at, id: `at-${at}` })
    expect(ran).toEqual(left)
  }
  expect(await bytes(app, 'r')).toBe(original)
})

test('R9: with reuse unchanged only what depends on a correction runs again, and plain steps without input', async () => {
  const ran: string[] = []
  const app = newWorld().app([chain(ran)])
  await (await begin(app, 'chain', 1)).result()
  const original = await bytes(app, 'r')
  ran.length = 0
  const result = await fork(app, 'r', {
    at: 'parsed',
    set: [{ step: 'a', pointer: '/v', value: 5 }],
    reuse: 'unchanged',
  })
  expect(result).toEqual([5, 10, 105, 110, 215])
  expect(ran).toEqual(['c', 'e'])
  expect(await bytes(app, 'r')).toBe(original)
  const entries = await entriesOf(app, 'r-f')
  const d = endOf(entries, 'd')
  const was = endOf(await entriesOf(app, 'r'), 'd')
  expect(d.payload['reused']).toBe(`run/r@${was.record.seq}`)
  expect(d.record.causes).toContainEqual({ ref: `run/r@${was.record.seq}`, kind: 'declared' })
  const corrected = entries.find((e) => e.record.type === 'value.superseded')!
  expect(corrected.payload).toEqual({ path: 'a', pointer: '/v', value: { v: 5 }, was: { v: 1 } })
  expect(corrected.record.causes).toEqual([{ ref: 'run/r@3', kind: 'supersedes' }])
  // What uses the corrected value has the correction, not the old record, as its cause.
  expect(endOf(entries, 'c').record.causes).toContainEqual({ ref: `run/r-f@${corrected.record.seq}`, kind: 'input' })
})

test('a correction before the point moves the point: code that decides by the value may go another way', async () => {
  const ran: string[] = []
  const decides = flow('decides', async (run) => {
    const { high } = await run.step('read', () => ({ high: true }))
    if (high) await run.step('ask', () => ran.push('ask'))
    else await run.step('pay', () => ran.push('pay'))
    await run.checkpoint('done')
    return high
  })
  const app = newWorld().app([decides])
  await (await begin(app, 'decides', null)).result()
  expect(await fork(app, 'r', { at: 'done', set: [{ step: 'read', pointer: '/high', value: false }] })).toBe(false)
  expect(ran).toEqual(['ask', 'pay'])
})

test("a fork of a fork inherits corrections and shares both ancestors' records", async () => {
  const ran: string[] = []
  const app = newWorld().app([chain(ran)])
  await (await begin(app, 'chain', 1)).result()
  await fork(app, 'r', { at: 'parsed', set: [{ step: 'a', pointer: '/v', value: 5 }], reuse: 'unchanged' })
  const first = [await bytes(app, 'r'), await bytes(app, 'r-f')]
  ran.length = 0
  const nested = await (
    await (await app.run('r-f')).fork({ id: 'nested', at: 'd', set: [{ step: 'd', pointer: '/v', value: 1000 }] })
  ).result()
  expect(nested).toEqual([5, 10, 105, 1000, 1105])
  expect(ran).toEqual(['e'])
  expect([await bytes(app, 'r'), await bytes(app, 'r-f')]).toEqual(first)
})

test('R9: a step whose board reads changed is not reused', async () => {
  const ran: string[] = []
  const reads = flow('reads', async (run) => {
    await run.board.put(limit, await run.step('limit', () => 100))
    await run.checkpoint('set')
    return run.all('both', {
      reader: async (r) => {
        const seen = r.board.get<number>(limit as never)
        return r.step('s', { input: { seen } }, () => (ran.push('reader'), seen))
      },
      other: (r) => r.step('s', { input: 1 }, () => (ran.push('other'), 1)),
    })
  })
  const app = newWorld().app([reads])
  await (await begin(app, 'reads', null)).result()
  ran.length = 0
  expect(
    await fork(app, 'r', { at: 'set', set: [{ step: 'limit', pointer: '', value: 7 }], reuse: 'unchanged' }),
  ).toEqual({
    reader: 7,
    other: 1,
  })
  expect(ran).toEqual(['reader'])
})

test('R9: what code with a scope of its own read from the board must be unchanged for it to be reused', async () => {
  const ran: string[] = []
  const reads = flow('reads', async (run) => {
    await run.board.put(limit, await run.step('limit', () => 100))
    await run.checkpoint('set')
    const inside = (r: typeof run, name: string, code: (r: typeof run) => Promise<unknown>): Promise<unknown> =>
      r.inside(name, 'the same', async (inner) => (ran.push(name), code(inner)))
    return run.all('both', {
      reader: (r) => inside(r, 'reader', (inner) => inner.step('s', () => inner.board.get(limit) ?? 0)),
      other: (r) => inside(r, 'other', (inner) => inner.step('s', () => 1)),
    })
  })
  const app = newWorld().app([reads])
  expect(await (await begin(app, 'reads', null)).result()).toEqual({ reader: 100, other: 1 })
  ran.length = 0
  expect(
    await fork(app, 'r', { at: 'set', set: [{ step: 'limit', pointer: '', value: 7 }], reuse: 'unchanged' }),
  ).toEqual({ reader: 7, other: 1 })
  expect(ran).toEqual(['reader'])
  ran.length = 0
  expect(await fork(app, 'r', { at: 'set', id: 'same', reuse: 'unchanged' })).toEqual({ reader: 100, other: 1 })
  expect(ran).toEqual([])
})

test('a message of the original and one of the fork may have the same number in their inboxes', async () => {
  let arrived = (): void => undefined
  const there = new Promise<void>((resolve) => (arrived = resolve))
  const waits = flow('waits', async (run) => {
    await run.step('until it is there', () => there)
    await run.checkpoint('c')
    const first = await run.receive(go, { timeout: 100 })
    return [first ?? 'none', await run.receive(halt, { timeout: 5_000 })]
  })
  const app = newWorld().app([waits])
  const handle = await begin(app, 'waits', null)
  await handle.signal(halt, 'of the original')
  await after(200)
  arrived()
  expect(await handle.result()).toEqual(['none', 'of the original'])
  const copy = await handle.fork({ id: 'f', at: 'c' })
  await copy.signal(go, 'of the fork')
  expect(await copy.result()).toEqual(['of the fork', 'of the original'])
})

test('a signal that the original had consumed does not come again; one that it had not is there', async () => {
  const waits = flow('waits', async (run) => {
    const one = await run.receive(go)
    await run.checkpoint('one')
    const two = await run.receive(go, { timeout: 150 })
    return [one, two ?? 'none']
  })
  const app = newWorld().app([waits])
  const handle = await begin(app, 'waits', null)
  await handle.signal(go, 'first')
  expect(await handle.result()).toEqual(['first', 'none'])
  expect(await fork(app, 'r', { at: 'one' })).toEqual(['first', 'none'])

  const both = await begin(app, 'waits', null, 's')
  await both.settled()
  await both.signal(go, 'first')
  await both.signal(go, 'second')
  expect(await both.result()).toEqual(['first', 'second'])
  const copied = (await entriesOf(app, 's')).filter((e) => e.record.type === 'inbox.received').map((e) => e.record.seq)
  const passed = endOf(await entriesOf(app, 's'), 'go').record.seq
  const expected = (copied[1] ?? Infinity) < passed ? 'second' : 'none'
  expect(await fork(app, 's', { at: 'go' })).toEqual(['first', expected])

  // And what is sent to the fork itself is its own, with numbers of its own.
  const own = await (await app.run('r')).fork({ id: 'own', at: 'one' })
  await own.signal(go, 'for the fork')
  expect(await own.result()).toEqual(['first', 'for the fork'])
})

test('now, random and uuid answer a fork as they answered the original', async () => {
  const draws = flow('draws', async (run) => {
    const start = await run.step('start', { input: { at: run.now(), id: run.uuid() } }, () => 1)
    await run.checkpoint('c')
    return [start, run.random()]
  })
  const app = newWorld().app([draws])
  const live = await (await begin(app, 'draws', null)).result()
  await after(5)
  expect(await fork(app, 'r', { at: 'c' })).toEqual(live)
})

test("R9: a child in a fork is a fork of the original's child, so what that did outside is known there", async () => {
  const child = flow('child', async (run, n: number) => {
    await run.step('s', { input: n }, () => n)
    return run.id
  })
  const parent = flow('parent', async (run) => {
    await run.checkpoint('before')
    return [
      await run.child(child as unknown as Workflow<number, string>, 1),
      await run.child(child as unknown as Workflow<number, string>, 2, { id: 'named', name: 'named' }),
    ]
  })
  const app = newWorld().app([parent, child])
  const [one, two] = (await (await begin(app, 'parent', null)).result()) as string[]
  const [forked, named] = (await fork(app, 'r', { at: 'before', reuse: 'unchanged', effects: 'dry' })) as string[]
  expect(new Set([one, two, forked, named]).size).toBe(4)
  for (const [mine, its] of [
    [forked, one],
    [named, two],
  ] as const) {
    const [started] = await entriesOf(app, mine)
    expect(started?.payload).toMatchObject({
      forkOf: its,
      parent: 'r-f',
      fork: { run: its, at: 2, reuse: 'unchanged', effects: 'dry' },
    })
    expect(endOf(await entriesOf(app, mine), 's').payload['reused']).toBe(`run/${String(its)}@3`)
  }
})

test('RECORD_UNKNOWN names what there is; RUN_UNKNOWN; NAME_INVALID for an id that cannot be', async () => {
  const app = newWorld().app([chain([])])
  const handle = await begin(app, 'chain', 1)
  await handle.result()
  const unknown = (await handle.fork({ at: 'nowhere' }).catch((e: unknown) => e)) as ConvokeError
  expect([unknown.code, unknown.details]).toEqual([
    'RECORD_UNKNOWN',
    { at: 'nowhere', checkpoints: ['parsed'], steps: ['a', 'b', 'parsed', 'c', 'd', 'e'] },
  ])
  const wrong = handle.fork({ at: 'parsed', set: [{ step: 'z', pointer: '', value: 1 }] })
  expect(codeOf(await wrong.catch((e: unknown) => e))).toBe('RECORD_UNKNOWN')
  expect(codeOf(await (await app.run('none')).fork({ at: 'parsed' }).catch((e: unknown) => e))).toBe('RUN_UNKNOWN')
  expect(codeOf(await handle.fork({ at: 'parsed', id: 'no/slash' }).catch((e: unknown) => e))).toBe('NAME_INVALID')
})

test('forking a run that still goes on leaves it alone, and a fork in the middle of branches runs what was open', async () => {
  const ran: string[] = []
  let open = (): void => undefined
  const gate = new Promise<void>((resolve) => (open = resolve))
  const branches = flow('branches', async (run) =>
    run.all('both', {
      quick: (r) => r.step('s', () => (ran.push('quick'), 1)),
      slow: (r) => r.step('s', async () => (ran.push('slow'), await gate, 2)),
    }),
  )
  const app = newWorld().app([branches])
  const handle = await begin(app, 'branches', null)
  await after(50)
  const copy = await handle.fork({ id: 'f', at: 'both/quick/s' })
  await after(50)
  expect(ran).toEqual(['quick', 'slow', 'slow'])
  open()
  expect([await handle.result(), await copy.result()]).toEqual([
    { quick: 1, slow: 2 },
    { quick: 1, slow: 2 },
  ])
  expect(lines(await entriesOf(app, 'f'))).toEqual([
    'run.started',
    'run.input',
    'step.completed both/slow/s',
    'run.completed',
  ])
  expect((await (await app.ledger()).head({ tenant: 'local', stream: runStream('r') })).seq).toBe(5)
})
