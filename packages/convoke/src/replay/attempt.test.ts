import { expect, test } from 'vitest'
import { ConvokeError } from '../core/errors.ts'
import { begin, entriesOf, flow, goOn, lines, newWorld, recordOf } from '../../test/durable/world.ts'

const codeOf = (error: unknown): string => (error as ConvokeError).code
const never = new Promise<never>(() => undefined)
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const key = { kind: 'board-key', name: 'draft' } as const

test('an alternative that fails its verifier is rolled back: board writes vanish, compensations run last first', async () => {
  const effects: string[] = []
  const tried = flow('tried', async (run) => {
    await run.board.put(key, 'before')
    const value = await run.attempt(
      'draft',
      {
        plain: async (r) => {
          await r.board.put(key, 'plain')
          await r.act('reserve', { do: () => effects.push('reserve'), undo: () => effects.push('release') })
          await r.act('pay', { do: () => effects.push('pay'), undo: () => effects.push('refund') })
          return `${String(r.board.get(key))} draft`
        },
        careful: async (r) => {
          const seen = r.board.get(key)
          await r.board.put(key, 'careful')
          return `careful after ${String(seen)}`
        },
      },
      {
        verify: async (value, r) => ({
          ok: await r.step('check', () => value.startsWith('careful')),
          problems: ['hasty'],
        }),
      },
    )
    return [value, run.board.get(key)]
  })
  const app = newWorld().app([tried])
  const expected = ['careful after before', 'careful']
  expect(await (await begin(app, 'tried', null)).result()).toEqual(expected)
  expect(effects).toEqual(['reserve', 'pay', 'refund', 'release'])
  const recorded = await recordOf(app)
  expect(lines(recorded.entries).filter((l) => l.includes('~'))).toEqual([
    'tool.dispatched draft/plain/pay~undo',
    'step.completed draft/plain/pay~undo',
    'tool.dispatched draft/plain/reserve~undo',
    'step.completed draft/plain/reserve~undo',
    'attempt.rolledback draft/plain~rolledback',
    'attempt.committed draft/careful~committed',
  ])
  const reason = recorded.entries.find((e) => e.record.type === 'attempt.rolledback')?.payload['value']
  expect(reason).toMatchObject({
    alternative: 'plain',
    reason: { code: 'VERIFICATION_FAILED', details: { problems: ['hasty'] } },
  })
  // Wherever it is cut, the rest is done once and the same comes out.
  for (let cut = 2; cut < recorded.entries.length; cut++) {
    const before = recorded.entries.slice(0, cut)
    const dispatched = before.filter((e) => e.record.type === 'tool.dispatched').map((e) => e.record.path)
    const ended = before.filter((e) => e.record.type === 'step.completed').map((e) => e.record.path)
    const open = dispatched.filter((path) => !ended.includes(path)).length
    effects.length = 0
    expect(await (await goOn(recorded, cut, [tried])).handle.result()).toEqual(expected)
    expect(effects).toHaveLength(4 - dispatched.length + open)
  }
})

test('a step may be called what the engine calls a compensation', async () => {
  const effects: string[] = []
  const named = flow('named', async (run) =>
    run
      .attempt('a', {
        only: async (r) => {
          await r.act('pay', { do: () => effects.push('pay'), undo: () => effects.push('refund') })
          await r.step('pay~undo', () => effects.push('step'))
          throw new Error('no')
        },
      })
      .catch(() => r2(run)),
  )
  const r2 = async (run: { readonly step: (name: string, body: () => number) => Promise<number> }): Promise<string> => {
    await run.step('a~committed', () => effects.push('committed'))
    return effects.join()
  }
  const app = newWorld().app([named])
  expect(await (await begin(app, 'named', null)).result()).toBe('pay,step,refund,committed')
  const recorded = await recordOf(app)
  expect(lines(recorded.entries)).toContain('step.completed a/only/pay%7Eundo')
  for (let cut = 2; cut < recorded.entries.length; cut++)
    expect((await (await goOn(recorded, cut, [named])).handle.settled()).status).toBe('done')
})

test('a compensation names the record that it takes back as its cause', async () => {
  const tried = flow('tried', async (run) =>
    run
      .attempt('a', {
        only: async (r) => {
          await r.act('pay', { do: () => 1, undo: () => 1 })
          throw new Error('no')
        },
      })
      .catch(codeOf),
  )
  const app = newWorld().app([tried])
  expect(await (await begin(app, 'tried', null)).result()).toBe('ATTEMPTS_EXHAUSTED')
  const entries = await entriesOf(app)
  const pay = entries.find((e) => e.record.path === 'a/only/pay' && e.record.type === 'step.completed')!
  const undo = entries.find((e) => e.record.path === 'a/only/pay~undo' && e.record.type === 'step.completed')!
  expect(undo.record.causes).toContainEqual({ ref: `run/r@${pay.record.seq}`, kind: 'control' })
})

test('ATTEMPTS_EXHAUSTED names every alternative with its reason', async () => {
  const tried = flow('tried', async (run) => {
    try {
      await run.attempt('a', {
        one: () => Promise.reject(new ConvokeError('FIRST', '1')),
        two: (r) => r.step('s', () => Promise.reject(new Error('second'))),
      })
    } catch (error) {
      const { code, details } = error as ConvokeError
      return [code, details]
    }
    return []
  })
  expect(await (await begin(newWorld().app([tried]), 'tried', null)).result()).toEqual([
    'ATTEMPTS_EXHAUSTED',
    {
      path: 'a',
      rejected: [
        { alternative: 'one', reason: { code: 'FIRST', message: '1' } },
        { alternative: 'two', reason: { code: 'STEP_FAILED', message: 'second' } },
      ],
    },
  ])
})

test('what an attempt committed is taken back when the enclosing one, or the run, fails', async () => {
  const effects: string[] = []
  const act = (name: string) => ({ do: () => effects.push(name), undo: () => effects.push(`no ${name}`) })
  const nested = flow('nested', async (run) => {
    await run.act('first', act('first'))
    await run.attempt('outer', {
      one: async (r) => {
        await r.attempt('inner', { a: (s) => s.act('inside', act('inside')) })
        await r.act('later', act('later'))
        throw new Error('outer fails')
      },
      two: async (r) => r.attempt('inner', { b: (s) => s.act('kept', act('kept')) }),
    })
    effects.push('|')
    throw new ConvokeError('AND_NOW', 'the run fails')
  })
  const app = newWorld().app([nested])
  await expect((await begin(app, 'nested', null)).result()).rejects.toThrow('the run fails')
  expect(effects).toEqual(['first', 'inside', 'later', 'no later', 'no inside', 'kept', '|', 'no kept', 'no first'])
})

test('an attempt that is given up from outside is taken back with what encloses it', async () => {
  const effects: string[] = []
  const act = (name: string) => ({ do: () => effects.push(name), undo: () => effects.push(`no ${name}`) })
  const failing = flow('failing', async (run) => {
    await run.act('before', act('before'))
    await run.all('both', {
      trying: (r) =>
        r.attempt('a', {
          only: async (s) => {
            await s.act('half', act('half'))
            await s.step('stuck', () => never)
          },
        }),
      bad: async (r) => {
        await r.step('wait', () => after(20))
        throw new ConvokeError('BAD_ONE', 'x')
      },
    })
  })
  const app = newWorld().app([failing])
  const handle = await begin(app, 'failing', null)
  expect(codeOf(await handle.result().catch((e: unknown) => e))).toBe('RUN_FAILED')
  expect(effects).toEqual(['before', 'half', 'no half', 'no before'])
  const recorded = await recordOf(app)
  for (let cut = 2; cut < recorded.entries.length; cut++) {
    effects.length = 0
    const again = await goOn(recorded, cut, [failing])
    expect(codeOf(await again.handle.result().catch((e: unknown) => e))).toBe('RUN_FAILED')
    expect(effects.at(-1) ?? 'no before').toBe('no before')
    expect(new Set(effects).size).toBe(effects.length)
  }
})

test('a cancelled run takes back what its attempts had begun, and an effect that settles late', async () => {
  const effects: string[] = []
  let release = (): void => undefined
  const held = new Promise<void>((resolve) => (release = resolve))
  const act = (name: string, gate?: Promise<void>) => ({
    do: async () => {
      await gate
      effects.push(name)
    },
    undo: () => effects.push(`no ${name}`),
  })
  const long = flow('long', async (run) => {
    await run.act('paid', act('paid'))
    await run.attempt('a', {
      only: async (r) => {
        await r.act('half', act('half'))
        await r.act('late', act('late', held))
        await r.act('never begun', act('never begun'))
      },
    })
  })
  const app = newWorld().app([long])
  const handle = await begin(app, 'long', null)
  await after(50)
  await handle.cancel('changed my mind')
  await after(200)
  release()
  const error = (await handle.result().catch((e: unknown) => e)) as ConvokeError
  expect([error.code, error.message]).toEqual(['RUN_CANCELLED', expect.stringContaining('changed my mind')])
  expect(effects).toEqual(['paid', 'half', 'late', 'no late', 'no half', 'no paid'])
  const recorded = await recordOf(app)
  for (let cut = 3; cut < recorded.entries.length; cut++) {
    effects.length = 0
    const again = await goOn(recorded, cut, [long])
    expect(codeOf(await again.handle.result().catch((e: unknown) => e))).toBe('RUN_CANCELLED')
    expect(new Set(effects).size).toBe(effects.length)
    expect(effects).not.toContain('never begun')
  }
})

test('a run that ends while an attempt takes back waits for it', async () => {
  const effects: string[] = []
  const slow = flow('slow', async (run) => {
    await run.act('root', { do: () => 1, undo: () => effects.push('no root') })
    await run.attempt('a', {
      only: async (r) => {
        for (const name of ['x', 'y'])
          await r.act(name, {
            do: () => 1,
            undo: async () => {
              await after(150)
              effects.push(`no ${name}`)
            },
          })
        throw new Error('roll back')
      },
      next: async () => 'not reached',
    })
  })
  const app = newWorld().app([slow])
  const handle = await begin(app, 'slow', null)
  await after(100)
  await handle.cancel()
  expect(codeOf(await handle.result().catch((e: unknown) => e))).toBe('RUN_CANCELLED')
  expect(effects).toEqual(['no y', 'no x', 'no root'])
})

test('an attempt that is taking back when its branch is given up takes back to the end, and the run waits', async () => {
  const effects: string[] = []
  const undoing = (fails: boolean) =>
    flow(fails ? 'fails' : 'waits', async (run) => {
      const { winner } = await run.race('r', {
        loser: (r) =>
          r.attempt('a', {
            only: async (s) => {
              for (const name of ['x', 'y'])
                await s.act(name, {
                  do: () => name,
                  undo: async () => {
                    await after(60)
                    if (fails && name === 'y') throw new Error('cannot')
                    effects.push(`no ${name}`)
                  },
                })
              throw new Error('no')
            },
          }),
        winner: (r) => r.step('s', () => after(40)),
      })
      return winner
    })
  const app = newWorld().app([undoing(false), undoing(true)])
  expect(await (await begin(app, 'waits', null)).result()).toBe('winner')
  expect(effects).toEqual(['no y', 'no x'])
  const recorded = await recordOf(app)
  for (let cut = 2; cut < recorded.entries.length; cut++)
    expect(['winner', 'ATTEMPTS_EXHAUSTED']).toContain(
      await (
        await goOn(recorded, cut, [undoing(false)])
      ).handle
        .result()
        .catch((e: unknown) => ((e as ConvokeError).details!['error'] as { code: string }).code),
    )
  const failed = (await (await begin(app, 'fails', null, 'f')).result().catch((e: unknown) => e)) as ConvokeError
  expect(failed.details?.['error']).toMatchObject({
    code: 'COMPENSATION_FAILED',
    details: { failed: ['r/loser/a/only/y: cannot'] },
  })
})

test('COMPENSATION_FAILED: the others are still taken back, and the run says what is left', async () => {
  const effects: string[] = []
  const stuck = flow('stuck', async (run) => {
    await run.act('a', { do: () => 1, undo: () => effects.push('no a') })
    await run.act('b', { do: () => 1, undo: () => Promise.reject(new Error('the bank is closed')) })
    await run.act('c', { do: () => 1, undo: () => effects.push('no c') })
    throw new ConvokeError('WHY_IT_FAILED', 'x')
  })
  const app = newWorld().app([stuck])
  const error = (await (await begin(app, 'stuck', null)).result().catch((e: unknown) => e)) as ConvokeError
  expect(effects).toEqual(['no c', 'no a'])
  expect(error.details?.['error']).toMatchObject({
    code: 'COMPENSATION_FAILED',
    details: { failed: ['b: the bank is closed'], after: { code: 'WHY_IT_FAILED' } },
  })
})

test('board: a value is seen at once, by version, and a rejected alternative leaves none', async () => {
  const board = flow('board', async (run) => {
    const before = run.board.get(key)
    await run.board.put(key, { n: 1 })
    await run.board.put(key, { n: 2 })
    const kept = run.board.get<{ n: number }>(key as never)
    await run.attempt('a', {
      bad: async (r) => {
        await r.board.put(key, { n: 3 })
        throw new Error('no')
      },
      good: async () => undefined,
    })
    await run.all('both', { a: (r) => r.board.put(key, { n: 4 }), b: (r) => r.step('s', () => 1) })
    return [before ?? null, kept, Object.isFrozen(kept), run.board.get(key)]
  })
  const app = newWorld().app([board])
  const expected = [null, { n: 2 }, true, { n: 4 }]
  expect(await (await begin(app, 'board', null)).result()).toEqual(expected)
  const recorded = await recordOf(app)
  const versions = recorded.entries.filter((e) => e.record.type === 'board.put').map((e) => e.payload['at'])
  expect(versions).toEqual([1, 2, 3, 3])
  for (let cut = 2; cut < recorded.entries.length; cut++)
    expect(await (await goOn(recorded, cut, [board])).handle.result()).toEqual(expected)
})
