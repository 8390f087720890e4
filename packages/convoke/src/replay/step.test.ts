import { expect, test } from 'vitest'
import { ConvokeError } from '../core/errors.ts'
import { createMemoryStore } from '../testing/memory-ledger.ts'
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

test('R2: no body starts before every record that it depends on is durable', async () => {
  const events: string[] = []
  const two = flow('two', async (run) => {
    const a = await run.step('a', () => (events.push('a runs'), { n: 1 }))
    await run.all('both', {
      b: (r) => r.step('b', { input: a }, () => events.push('b runs')),
      c: (r) => r.step('c', () => events.push('c runs')),
    })
  })
  const store = createMemoryStore()
  const app = newWorld().app([two], {
    openLedger: async () => {
      const ledger = store.open()
      const append: typeof ledger.append = async (batch, options) => {
        await new Promise((resolve) => setTimeout(resolve, 20))
        await ledger.append(batch, options)
        for (const { records } of batch)
          for (const { path } of records) if (path !== undefined) events.push(`${path} durable`)
      }
      return { ...ledger, append }
    },
  })
  await (await begin(app, 'two', null)).result()
  expect(events.slice(0, 4)).toEqual(['a runs', 'a durable', 'b runs', 'c runs'])
})

test('live code gets the decoded canonical text, frozen, as replay does', async () => {
  const seen: unknown[] = []
  const shapes = flow('shapes', async (run) => {
    const mine = { b: 1, a: [{ deep: -0 }], gone: undefined }
    const got = await run.step('shape', () => mine)
    const nothing = await run.step('nothing', () => undefined)
    seen.push([JSON.stringify(got), got === mine, Object.isFrozen(got.a[0]), 'gone' in got, nothing])
    expect(() => ((got as { b: number }).b = 2)).toThrow(TypeError)
    expect(() => got.a.push({ deep: 1 })).toThrow(TypeError)
    mine.b = 99
    return got.b
  })
  const app = newWorld().app([shapes])
  expect(await (await begin(app, 'shapes', null)).result()).toBe(1)
  const replayed = await goOn(await recordOf(app), 4, [shapes])
  expect(await replayed.handle.result()).toBe(1)
  expect(seen[0]).toEqual(['{"a":[{"deep":0}],"b":1}', false, true, false, undefined])
  expect(seen[1]).toEqual(seen[0])
})

test('a result that is no JSON fails its step with NOT_CANONICAL, live and on replay', async () => {
  const values: Record<string, unknown> = {
    date: new Date(0),
    map: new Map(),
    nan: Number.NaN,
    bigint: 1n,
    unsafe: 2 ** 60,
    surrogate: '\ud800',
    fn: () => 1,
  }
  const odd = flow('odd', async (run) => {
    const codes: string[] = []
    for (const [name, value] of Object.entries(values))
      codes.push((await run.step(name, () => value).catch((e: unknown) => (e as ConvokeError).code)) as string)
    return codes
  })
  const app = newWorld().app([odd])
  const all = Object.keys(values).map(() => 'NOT_CANONICAL')
  expect(await (await begin(app, 'odd', null)).result()).toEqual(all)
  const again = await goOn(await recordOf(app), 2 + all.length, [odd])
  expect(await again.handle.result()).toEqual(all)
})

test('an argument that is no JSON is refused where it is handed in, with NOT_CANONICAL', async () => {
  const odd = flow('odd', async (run) => {
    try {
      await run.step('s', { input: { when: new Date(0) } }, () => 1)
    } catch (error) {
      return [(error as ConvokeError).code, await run.step('s', { input: 1 }, () => 'the name is free')]
    }
    return 'went through'
  })
  const app = newWorld().app([odd])
  expect(await (await begin(app, 'odd', null)).result()).toEqual(['NOT_CANONICAL', 'the name is free'])
  expect(lines(await entriesOf(app))).toContain('step.completed s')
})

test('whatever a body throws becomes code, message and details without a stack: the same live and on replay', async () => {
  const thrown: Record<string, unknown> = {
    error: new TypeError('bad'),
    coded: Object.assign(new Error('gone'), { code: 'ENOENT' }),
    own: new ConvokeError('INVOICE_ODD', 'odd', { details: { n: 1 }, next: 'look' }),
    text: 'just text',
    nothing: undefined,
    zero: null,
    symbol: Symbol('s'),
    bare: Object.create(null),
    details: new ConvokeError('X_1', 'x', { details: { big: 2n, cycle: undefined } as never }),
  }
  const catcher = flow('catcher', async (run) => {
    const out: unknown[] = []
    for (const [name, value] of Object.entries(thrown))
      try {
        await run.step(name, () => {
          throw value
        })
      } catch (error) {
        const { code, message, details, next } = error as ConvokeError
        out.push([name, error instanceof ConvokeError, code, message, details ?? null, next ?? null])
      }
    return out
  })
  const app = newWorld().app([catcher])
  const expected = [
    ['error', true, 'STEP_FAILED', 'bad', null, null],
    ['coded', true, 'ENOENT', 'gone', null, null],
    ['own', true, 'INVOICE_ODD', 'odd', { n: 1 }, 'look'],
    ['text', true, 'STEP_FAILED', 'just text', null, null],
    ['nothing', true, 'STEP_FAILED', 'undefined', null, null],
    ['zero', true, 'STEP_FAILED', 'null', null, null],
    ['symbol', true, 'STEP_FAILED', 'Symbol(s)', null, null],
    ['bare', true, 'STEP_FAILED', 'something was thrown that cannot be read', null, null],
    ['details', true, 'X_1', 'x', { big: '2' }, null],
  ]
  expect(await (await begin(app, 'catcher', null)).result()).toEqual(expected)
  const again = await goOn(await recordOf(app), 2 + expected.length, [catcher])
  expect(await again.handle.result()).toEqual(expected)
})

test('an error nobody catches fails the run with RUN_FAILED, which holds its code, also when it is no error', async () => {
  const world = newWorld()
  const app = world.app([
    flow('throws', async (run) => run.step('s', () => Promise.reject(new ConvokeError('INVOICE_ODD', 'odd')))),
    flow('bare', async (): Promise<unknown> => {
      throw Object.create(null)
    }),
    flow('circular', async () => {
      const details: Record<string, unknown> = {}
      details['self'] = details
      throw new ConvokeError('ROUND', 'round', { details: details as never })
    }),
  ])
  for (const [name, code] of [
    ['throws', 'INVOICE_ODD'],
    ['bare', 'RUN_FAILED'],
    ['circular', 'ROUND'],
  ] as const) {
    const failed = await (await begin(app, name, null, name)).result().catch((e: unknown) => e as ConvokeError)
    expect([(failed as ConvokeError).code, (failed as ConvokeError).details?.['error']]).toMatchObject([
      'RUN_FAILED',
      { code },
    ])
    expect((await (await app.run(name)).status()).status).toBe('failed')
  }
  expect(world.troubles).toEqual([])
})

test('retries happen as often as said, count on after a crash, and wait for the time that was written down', async () => {
  const attempts: number[] = []
  const shaky = flow('shaky', async (run) =>
    run.step('s', { retry: { times: 3, delay: 30, maxDelay: 50 } }, ({ attempt }) => {
      attempts.push(attempt)
      if (attempt < 4) throw new Error(`try ${attempt}`)
      return attempt
    }),
  )
  const app = newWorld().app([shaky])
  expect(await (await begin(app, 'shaky', null)).result()).toBe(4)
  expect(attempts).toEqual([1, 2, 3, 4])
  const recorded = await recordOf(app)
  const retries = recorded.entries.filter((e) => e.record.type === 'step.retrying')
  expect(retries.map((e) => [e.payload['attempt'], (e.payload['until'] as number) - e.record.at >= 29])).toEqual([
    [1, true],
    [2, true],
    [3, true],
  ])
  for (const [i, retry] of retries.entries()) {
    attempts.length = 0
    const again = await goOn(recorded, retry.record.seq, [shaky])
    expect(await again.handle.result()).toBe(4)
    expect(attempts).toEqual([2, 3, 4].slice(i))
  }
})

test('retries end with the last error', async () => {
  let tries = 0
  const never = flow('never', async (run) =>
    run
      .step('s', { retry: { times: 2, delay: 1 } }, () => {
        throw new Error(`try ${++tries}`)
      })
      .catch((e: unknown) => (e as Error).message),
  )
  expect(await (await begin(newWorld().app([never]), 'never', null)).result()).toBe('try 3')
})

test('STEP_TIMEOUT: a body that ignores its signal is given up, and the signal says why', async () => {
  let told: unknown
  const stuck = flow('stuck', async (run) =>
    run
      .step('deaf', { timeout: 30 }, ({ signal }) => {
        signal.addEventListener('abort', () => (told = signal.reason))
        return new Promise<never>(() => undefined)
      })
      .catch((e: unknown) => (e as ConvokeError).code),
  )
  expect(await (await begin(newWorld().app([stuck]), 'stuck', null)).result()).toBe('STEP_TIMEOUT')
  expect((told as ConvokeError).code).toBe('STEP_TIMEOUT')
})

const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length

test('a timeout longer than a timer can take does not end at once; one that is not needed leaves no timer', async () => {
  const patient = flow('patient', async (run) => {
    const slow = await run.step('slow', { timeout: 2 ** 31 + 5_000 }, async () => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      return 'done'
    })
    const before = timers()
    for (let i = 0; i < 50; i++)
      await run
        .step('thrown', { timeout: 600_000 }, () => {
          throw new Error('at once')
        })
        .catch(() => undefined)
    return { slow, left: timers() - before < 50 }
  })
  expect(await (await begin(newWorld().app([patient]), 'patient', null)).result()).toEqual({ slow: 'done', left: true })
})

test('a name may repeat once its predecessor has finished, as #2; before that it is STEP_REPEATED', async () => {
  const repeats = flow('repeats', async (run) => {
    const first = run.step('s', () => 1)
    let code = ''
    try {
      void run.step('s', () => 2)
    } catch (error) {
      code = (error as ConvokeError).code
    }
    const later = [await first, await run.step('s', () => 3), await run.step('s', () => 4)]
    return { code, later }
  })
  const app = newWorld().app([repeats])
  expect(await (await begin(app, 'repeats', null)).result()).toEqual({ code: 'STEP_REPEATED', later: [1, 3, 4] })
  const recorded = await recordOf(app)
  expect(lines(recorded.entries).slice(2, 5)).toEqual(['step.completed s', 'step.completed s#2', 'step.completed s#3'])
  const again = await goOn(recorded, 4, [repeats])
  expect(await again.handle.result()).toEqual({ code: 'STEP_REPEATED', later: [1, 3, 4] })
})

test('R11: returning without awaiting what was asked for is STEP_UNAWAITED', async () => {
  const world = newWorld()
  const app = world.app([
    flow('pending', async (run) => void run.step('never awaited', () => 1)),
    flow('finished', async (run) => {
      void run.step('not looked at', () => 1)
      await run.step('other', () => 2)
      await run.step('another', () => 3)
    }),
    flow('composite', async (run) => {
      void run.all('both', { a: (r) => r.step('a', () => 1), b: () => Promise.reject(new Error('nobody hears')) })
      await run.step('other', () => 2)
      await run.step('another', () => 3)
    }),
    flow('continued', async (run) => {
      void run.continueAs({})
      return 'went on'
    }),
    flow('kept', async (run) => {
      const early = run.step('early', () => 1)
      await run.step('other', () => 2)
      return early
    }),
  ])
  for (const [name, path] of [
    ['pending', 'never awaited'],
    ['finished', 'not looked at'],
    ['composite', 'both'],
    ['continued', 'continueAs'],
  ] as const) {
    const failed = (await (await begin(app, name, null, name)).result().catch((e: unknown) => e)) as ConvokeError
    expect(failed.details?.['error']).toMatchObject({ code: 'STEP_UNAWAITED', details: { paths: [path] } })
  }
  expect(await (await begin(app, 'kept', null, 'kept')).result()).toBe(1)
})

test('R4: the idempotency key of a body is the same at every try and after a crash, and another for another run', async () => {
  const keys: string[] = []
  const keyed = flow('keyed', async (run) =>
    run.step('s', { retry: { times: 1, delay: 1 } }, ({ idempotencyKey, attempt }) => {
      keys.push(idempotencyKey)
      if (attempt === 1) throw new Error('again')
      return 1
    }),
  )
  const app = newWorld().app([keyed])
  await (await begin(app, 'keyed', null, 'one')).result()
  const again = await goOn(await recordOf(app, 'one'), 2, [keyed])
  await again.handle.result()
  expect(new Set(keys).size).toBe(1)
  expect(keys).toHaveLength(4)
  await (await begin(app, 'keyed', null, 'two')).result()
  expect(new Set(keys).size).toBe(2)
})

test('R3: a fingerprint covers operation, version and canonical arguments, whatever the order of their members', async () => {
  let input: unknown = { a: 1, b: 2 }
  let version = '1'
  let kind: 'step' | 'checkpoint' = 'step'
  const shifty = flow('shifty', async (run) => {
    await run.step('first', () => 1)
    if (kind === 'checkpoint') await run.checkpoint('s')
    else await run.step('s', { input, version }, () => 1)
    await run.step('last', () => 1)
  })
  const app = newWorld().app([shifty])
  await (await begin(app, 'shifty', null)).result()
  const recorded = await recordOf(app)
  input = { b: 2, a: 1 }
  await (await goOn(recorded, 4, [shifty])).handle.result()
  for (const change of [
    () => (input = { a: 1, b: 3 }),
    () => ((input = { a: 1, b: 2 }), (version = '2')),
    () => ((version = '1'), (kind = 'checkpoint')),
  ]) {
    change()
    const again = await goOn(recorded, 4, [shifty])
    const error = (await again.handle.result().catch((e: unknown) => e)) as ConvokeError
    expect([error.code, error.details?.['path'], error.next]).toEqual([
      'REPLAY_DIVERGED',
      's',
      'run the build that began it, fork it from before this place, or cancel it',
    ])
    expect((await again.handle.status()).status).toBe('stopped')
  }
})

test('arguments count as they were when the step was asked for, whatever becomes of them', async () => {
  const changing = flow('changing', async (run) => {
    const list: unknown[] = [1]
    const asked = run.step('s', { input: list }, () => list.length)
    list.push(new Map())
    return asked
  })
  const app = newWorld().app([changing])
  expect(await (await begin(app, 'changing', null)).result()).toBe(2)
  expect(endOf(await entriesOf(app), 's').payload['input']).toEqual([1])
})

test('a step keeps its arguments with its result, so that a difference can be shown', async () => {
  let n = 1
  const shifty = flow('shifty', async (run) => run.step('s', { input: { amount: n } }, () => 1))
  const app = newWorld().app([shifty])
  await (await begin(app, 'shifty', null)).result()
  expect(endOf(await entriesOf(app), 's').payload['input']).toEqual({ amount: 1 })
  n = 2
  const again = await goOn(await recordOf(app), 3, [shifty])
  const error = (await again.handle.result().catch((e: unknown) => e)) as ConvokeError
  expect(error.message).toContain('recorded {"amount":1}, now {"amount":2}')
})
