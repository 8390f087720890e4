import { expect, test } from 'vitest'
import { ConvokeError } from '../core/errors.ts'
import { begin, endOf, entriesOf, flow, goOn, lines, newWorld, recordOf } from '../../test/durable/world.ts'

const codeOf = (error: unknown): string => (error as ConvokeError).code
const never = new Promise<never>(() => undefined)
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

test('R1: branches of all are journaled one by one; a finished one does not run again', async () => {
  const ran: string[] = []
  const both = flow('both', async (run) =>
    run.all('both', {
      a: (r) => r.step('s', () => (ran.push('a'), 'A')),
      b: async (r) => {
        const one = await r.step('s', () => (ran.push('b'), 'B'))
        return one + (await r.step('t', () => (ran.push('bt'), 'T')))
      },
    }),
  )
  const app = newWorld().app([both])
  expect(await (await begin(app, 'both', null)).result()).toEqual({ a: 'A', b: 'BT' })
  const recorded = await recordOf(app)
  expect(lines(recorded.entries).slice(2, -1)).toEqual([
    'step.completed both/a/s',
    'step.completed both/b/s',
    'step.completed both/b/t',
  ])
  for (const [cut, left] of [
    [3, ['b', 'bt']],
    [4, ['bt']],
    [5, []],
  ] as const) {
    ran.length = 0
    expect(await (await goOn(recorded, cut, [both])).handle.result()).toEqual({ a: 'A', b: 'BT' })
    expect(ran).toEqual(left)
  }
})

test('the first failure of all gives the others up, tells their bodies, and is thrown', async () => {
  let told: unknown
  const fails = flow('fails', async (run) => {
    const error = await run
      .all('both', {
        bad: (r) =>
          r.step('s', () => {
            throw new ConvokeError('BAD_ONE', 'bad')
          }),
        deaf: (r) =>
          r.step('s', ({ signal }) => (signal.addEventListener('abort', () => (told = signal.reason)), never)),
      })
      .catch(codeOf)
    return [error, await run.all('both', { again: (r) => r.step('s', () => 'free') })]
  })
  const app = newWorld().app([fails])
  expect(await (await begin(app, 'fails', null)).result()).toEqual(['BAD_ONE', { again: 'free' }])
  expect(codeOf(told)).toBe('BAD_ONE')
  expect(lines(await entriesOf(app)).slice(2, -1)).toEqual(['step.failed both/bad/s', 'step.completed both#2/again/s'])
})

test('code of a branch that was given up goes no further, and rejects nothing that nobody holds', async () => {
  const seen: string[] = []
  const rejections: unknown[] = []
  const listener = (reason: unknown): void => void rejections.push(reason)
  process.on('unhandledRejection', listener)
  const fails = flow('fails', async (run) => {
    const helper = async (r: typeof run, name: string): Promise<void> => {
      await r.step(name, () => never).catch((e: unknown) => seen.push(codeOf(e)))
      seen.push('went on')
    }
    await run
      .all('both', {
        bad: (r) => r.step('s', () => Promise.reject(new Error('bad'))),
        stubborn: async (r) => {
          const first = helper(r, 'first')
          const second = r.all('inner', {
            a: (i) => helper(i, 'a'),
            b: async (i) => (await i.step('b', () => never), 1),
          })
          await helper(r, 'third')
          return [await first, await second]
        },
      })
      .catch(() => undefined)
    return run.step('after', () => after(50))
  })
  const app = newWorld().app([fails])
  await (await begin(app, 'fails', null)).result()
  process.off('unhandledRejection', listener)
  expect([seen, rejections]).toEqual([[], []])
})

test('a result that comes to given-up code after all is written down and not handed on', async () => {
  let release = (): void => undefined
  const held = new Promise<void>((resolve) => (release = resolve))
  const seen: string[] = []
  const raced = flow('raced', async (run) => {
    await run.race('r', {
      loser: async (r) => {
        await r.act('pay', { do: async () => (await held, 'receipt') })
        seen.push('went on')
        await r.act('ship', { do: () => seen.push('shipped') })
      },
      winner: (r) => r.step('s', () => after(10)),
    })
    release()
    return run.step('after', () => after(30))
  })
  const app = newWorld().app([raced])
  await (await begin(app, 'raced', null)).result()
  const recorded = await recordOf(app)
  expect(endOf(recorded.entries, 'r/loser/pay').payload['value']).toBe('receipt')
  const won = recorded.entries.findIndex((e) => e.record.type === 'race.won')
  for (let cut = won + 1; cut < recorded.entries.length; cut++)
    await (await goOn(recorded, cut, [raced])).handle.result()
  expect(seen).toEqual([])
})

test('R11: map takes keys from its items, bounds how many run at once, and keeps the order of the items', async () => {
  let now = 0
  let most = 0
  const mapped = flow('mapped', async (run, items: string[]) =>
    run.map('each', items, { key: (item) => item, concurrency: 3 }, (r, item) =>
      r.step('s', async () => {
        most = Math.max(most, ++now)
        await after(item === 'c' ? 15 : 3)
        now--
        return item.toUpperCase()
      }),
    ),
  )
  const app = newWorld().app([mapped])
  const items = ['c', 'a/b#2', 'b', 'd', 'e', 'ü%']
  expect(await (await begin(app, 'mapped', items)).result()).toEqual(['C', 'A/B#2', 'B', 'D', 'E', 'Ü%'])
  expect(most).toBe(3)
  const paths = (await entriesOf(app)).map((e) => e.record.path).filter((p) => p !== undefined)
  expect(paths.toSorted()).toEqual(['each/a%2Fb%232/s', 'each/b/s', 'each/c/s', 'each/d/s', 'each/e/s', 'each/ü%25/s'])
})

test('R11: two items with one key are refused as NAME_INVALID, before any of them starts', async () => {
  const ran: string[] = []
  const mapped = flow('mapped', async (run) =>
    run
      .map('each', ['x', 'y', 'x'], { key: (i) => i }, (r, i) => r.step('s', () => ran.push(i)))
      .catch((e: unknown) => codeOf(e)),
  )
  expect(await (await begin(newWorld().app([mapped]), 'mapped', null)).result()).toBe('NAME_INVALID')
  expect(ran).toEqual([])
})

test('items of map may come back in another order: their records are found by key', async () => {
  let items = ['a', 'b', 'c']
  const ran: string[] = []
  const mapped = flow('mapped', async (run) =>
    run.map('each', items, { key: (i) => i }, (r, i) => r.step('s', () => (ran.push(i), i))),
  )
  const app = newWorld().app([mapped])
  await (await begin(app, 'mapped', null)).result()
  const recorded = await recordOf(app)
  items = ['c', 'b', 'a']
  ran.length = 0
  expect(await (await goOn(recorded, 4, [mapped])).handle.result()).toEqual(['c', 'b', 'a'])
  expect(ran).toEqual(['c'])
})

test('mapSettled: a failed item is a result and the others go on; map gives up', async () => {
  const body = (i: number) => (): number => {
    if (i === 2) throw new ConvokeError('ODD_ITEM', 'odd')
    return i
  }
  const settled = flow('settled', async (run) => {
    const results = await run.mapSettled('soft', [1, 2, 3], { key: String }, (r, i) => r.step('s', body(i)))
    const hard = await run
      .map('hard', [1, 2, 3], { key: String, concurrency: 1 }, (r, i) => r.step('s', body(i)))
      .catch(codeOf)
    return [results.map((r) => (r.status === 'fulfilled' ? r.value : codeOf(r.reason))), hard]
  })
  const app = newWorld().app([settled])
  expect(await (await begin(app, 'settled', null)).result()).toEqual([[1, 'ODD_ITEM', 3], 'ODD_ITEM'])
  expect(lines(await entriesOf(app)).filter((l) => l.includes('hard'))).toEqual([
    'step.completed hard/1/s',
    'step.failed hard/2/s',
  ])
})

test('DEFINITION_INVALID: a race without branches and a map with no room are refused', async () => {
  const wrong = flow('wrong', async (run) => [
    await run.race('r', {}).catch(codeOf),
    await run.map('m', [1], { key: String, concurrency: 0 }, async () => 1).catch(codeOf),
    await run.all('nothing', {}),
    await run.map('none', [] as string[], { key: (i) => i }, async () => 1),
  ])
  expect(await (await begin(newWorld().app([wrong]), 'wrong', null)).result()).toEqual([
    'DEFINITION_INVALID',
    'DEFINITION_INVALID',
    {},
    [],
  ])
})

test('R11: a race records its winner before it delivers it; losers are given up and cannot win on replay', async () => {
  const fast = { quick: 1, slow: 60 }
  const raced = flow('raced', async (run) => {
    const { winner, value } = await run.race('r', {
      slow: (r) => r.step('s', async () => (await after(fast.slow), 'slow value')),
      quick: (r) => r.step('s', async () => (await after(fast.quick), 'quick value')),
    })
    return [winner, value, await run.step('then', () => 'next')]
  })
  const app = newWorld().app([raced])
  const expected = ['quick', 'quick value', 'next']
  expect(await (await begin(app, 'raced', null)).result()).toEqual(expected)
  const recorded = await recordOf(app)
  expect(lines(recorded.entries).slice(2, -1)).toEqual([
    'step.completed r/quick/s',
    'race.won r',
    'step.completed then',
  ])
  fast.quick = 60
  fast.slow = 0
  for (const cut of [3, 4, 5]) {
    const again = await goOn(recorded, cut, [raced])
    expect(await again.handle.result()).toEqual(expected)
  }
})

test('a race that a failing branch wins fails with its error, live and on replay', async () => {
  const raced = flow('raced', async (run) =>
    run
      .race('r', { bad: (r) => r.step('s', () => Promise.reject(new ConvokeError('BAD_ONE', 'x'))), deaf: () => never })
      .catch(codeOf),
  )
  const app = newWorld().app([raced])
  expect(await (await begin(app, 'raced', null)).result()).toBe('BAD_ONE')
  for (const cut of [3, 4])
    expect(await (await goOn(await recordOf(app), cut, [raced])).handle.result()).toBe('BAD_ONE')
})

test('R11: effects that the losers of a race dispatched are settled before the run ends', async () => {
  let release = (): void => undefined
  const held = new Promise<void>((resolve) => (release = resolve))
  const effects: string[] = []
  const raced = flow('raced', async (run) => {
    const { winner } = await run.race('r', {
      loser: (r) => r.act('pay', { do: async () => (await held, effects.push('paid'), 'receipt') }),
      winner: (r) => r.step('s', () => after(10)),
    })
    return winner
  })
  const app = newWorld().app([raced])
  const handle = await begin(app, 'raced', null)
  await after(60)
  expect((await handle.status()).status).toBe('running')
  release()
  expect(await handle.result()).toBe('winner')
  expect(effects).toEqual(['paid'])
  expect(endOf(await entriesOf(app), 'r/loser/pay').payload['value']).toBe('receipt')
})

test('an effect of a loser that had not begun is not begun any more, and its end is written down', async () => {
  const effects: string[] = []
  const raced = flow('raced', async (run) => {
    const { winner } = await run.race('r', {
      winner: async () => 'at once',
      loser: (r) => r.act('pay', { do: () => effects.push('paid') }),
    })
    return winner
  })
  const app = newWorld().app([raced])
  expect(await (await begin(app, 'raced', null)).result()).toBe('winner')
  const recorded = await recordOf(app)
  const paid = endOf(recorded.entries, 'r/loser/pay')
  expect([effects.length, recorded.entries.filter((e) => e.record.type === 'tool.dispatched').length]).toEqual(
    paid.payload['error'] === undefined ? [1, 1] : [0, 0],
  )
  for (let cut = 2; cut < recorded.entries.length; cut++)
    expect(await (await goOn(recorded, cut, [raced])).handle.result()).toBe('winner')
})

test('a message that a given-up step had taken is there for the next one', async () => {
  const go = { kind: 'signal', name: 'go', parse: async (v: unknown) => v } as const
  let arrived = (): void => undefined
  const there = new Promise<void>((resolve) => (arrived = resolve))
  const raced = flow('raced', async (run) => {
    await run.step('until it is there', () => there)
    const { winner } = await run.race('r', {
      // Takes the message as it starts; the milestone, which needs no work, is delivered first.
      signal: (r) => r.receive(go),
      milestone: (r) => r.checkpoint('m'),
    })
    return [
      winner,
      (await run.receive(go, { timeout: 600_000 })) ?? 'lost',
      (await run.receive(go, { timeout: 1 })) ?? null,
    ]
  })
  const app = newWorld().app([raced])
  const handle = await begin(app, 'raced', null)
  await handle.signal(go, 'hello')
  await after(200)
  arrived()
  expect(await Promise.race([handle.result(), after(10_000)])).toEqual(['milestone', 'hello', null])
})

test('a promise of a branch that was given up need not have been looked at', async () => {
  const raced = flow('raced', async (run) => {
    const { winner } = await run.race('r', {
      slow: async (r) => {
        const early = r.step('early', () => 1)
        await r.step('long', () => never)
        return early
      },
      fast: (r) => r.step('s', () => after(40)),
    })
    return winner
  })
  expect(await (await begin(newWorld().app([raced]), 'raced', null)).result()).toBe('fast')
})
