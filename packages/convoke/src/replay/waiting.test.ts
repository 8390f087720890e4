import { expect, test } from 'vitest'
import type { ConvokeError } from '../core/errors.ts'
import { inboxStream } from '../core/projections.ts'
import { systemClock } from '../system/clock.ts'
import { begin, cutAt, endOf, entriesOf, flow, goOn, lines, newWorld, recordOf } from '../../test/durable/world.ts'

const codeOf = (error: unknown): string => (error as ConvokeError).code
const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const go = { kind: 'signal', name: 'go', parse: async (v: unknown) => v } as const
const stop = { kind: 'signal', name: 'stop', parse: async (v: unknown) => v } as const

/** A clock that a test can set; it moves on as the system's does. */
function settableClock(): typeof systemClock & { offset: number } {
  const clock = { ...systemClock, offset: 0, now: (): number => Date.now() + clock.offset }
  return clock
}

test('R6: a run that waits parks, holds nothing, and goes on when a signal comes', async () => {
  const ran: string[] = []
  const waits = flow('waits', async (run) => {
    await run.step('first', () => ran.push('first'))
    const said = await run.receive(go)
    return { said, n: await run.step('second', () => ran.push('second')) }
  })
  const app = newWorld().app([waits])
  const handle = await begin(app, 'waits', null)
  expect(await handle.settled()).toMatchObject({ status: 'parked', parkedOn: 'signal' })
  await app.idle()
  await handle.signal(go, { amount: 7 })
  expect(await handle.result()).toEqual({ said: { amount: 7 }, n: 2 })
  expect(ran).toEqual(['first', 'second'])
  expect(lines(await entriesOf(app))).toEqual([
    'run.started',
    'run.input',
    'step.completed first',
    'run.parked',
    'run.resumed',
    'inbox.received',
    'step.completed go',
    'step.completed second',
    'run.completed',
  ])
})

test('signals are kept in their order until somebody receives them, each once, across a crash', async () => {
  const takes = flow('takes', async (run) => {
    await run.receive(stop)
    const got = [await run.receive(go), await run.receive(go)]
    return [...got, (await run.receive(go, { timeout: 1 })) ?? 'none']
  })
  const app = newWorld().app([takes])
  const handle = await begin(app, 'takes', null)
  await handle.signal(go, 1)
  await handle.signal(go, 2, { id: 'same' })
  await handle.signal(go, 2, { id: 'same' })
  await handle.signal(stop, null)
  expect(await handle.result()).toEqual([1, 2, 'none'])
  const recorded = await recordOf(app)
  for (let cut = 2; cut < recorded.entries.length; cut++)
    expect(await (await goOn(recorded, cut, [takes])).handle.result()).toEqual([1, 2, 'none'])
})

test('a receive that times out gives undefined; a signal in time gives its value; both are the same on replay', async () => {
  const waits = flow('waits', async (run) => {
    const late = await run.receive(go, { timeout: 40 })
    const soon = await run.receive(stop, { timeout: 60_000 })
    return [late ?? 'timed out', soon]
  })
  const app = newWorld().app([waits])
  const handle = await begin(app, 'waits', null)
  await after(150)
  await handle.signal(stop, 'now')
  expect(await handle.result()).toEqual(['timed out', 'now'])
  const recorded = await recordOf(app)
  expect(endOf(recorded.entries, 'go').payload['timedOut']).toBe(true)
  for (let cut = 3; cut < recorded.entries.length; cut++)
    expect(await (await goOn(recorded, cut, [waits])).handle.result()).toEqual(['timed out', 'now'])
})

test('a timer is set once: after a crash it ends when it would have, and one long over ends at once', async () => {
  const sleeps = flow('sleeps', async (run) => {
    const before = run.now()
    await run.sleep(120)
    return run.now() - before >= 118
  })
  const app = newWorld().app([sleeps])
  const handle = await begin(app, 'sleeps', null)
  expect(await handle.settled()).toMatchObject({ status: 'parked', parkedOn: 'timer' })
  expect(await handle.result()).toBe(true)
  const recorded = await recordOf(app)
  const set = recorded.entries.find((e) => e.record.type === 'timer.set')!
  const began = performance.now()
  expect(await (await goOn(recorded, set.record.seq, [sleeps])).handle.result()).toBe(true)
  expect(performance.now() - began).toBeLessThan(110)
})

test('a clock that jumps forward ends a timer early, one that jumps back makes it wait for its time', async () => {
  const sleeps = flow('sleeps', async (run) => {
    await run.sleep(3_600_000)
    return 'slept'
  })
  const clock = settableClock()
  const app = newWorld().app([sleeps], { clock })
  const forward = await begin(app, 'sleeps', null, 'forward')
  await forward.settled()
  clock.offset = 3_600_100
  const ledger = await app.ledger()
  // Anything that makes the dispatcher look; on its own it does so every two seconds.
  await ledger.post(
    { tenant: 'local', stream: inboxStream('forward') },
    { id: 'x', type: 'signal', at: 0, actor: { kind: 'system', id: 't' }, payload: { name: 'nothing' } },
  )
  expect(await forward.result()).toBe('slept')
  clock.offset = 0
  const back = await begin(app, 'sleeps', null, 'back')
  await back.settled()
  clock.offset = -7_200_000
  await after(100)
  expect(await back.status()).toMatchObject({ status: 'parked', parkedOn: 'timer' })
  clock.offset = 3_600_200
  await back.signal(stop, null)
  expect(await back.result()).toBe('slept')
})

test('now, random and uuid are the same on replay; branches draw by themselves', async () => {
  const draws = flow('draws', async (run) => {
    const one = [run.random(), run.uuid(), run.now()]
    const both = await run.all('both', {
      a: async (r) => (await r.step('s', () => after(5)), [r.random(), r.uuid(), r.now()]),
      b: async (r) => (await r.step('s', () => 1), [r.random(), r.uuid(), r.now()]),
    })
    await run.step('end', () => 1)
    return [one, both.a, both.b, run.random()]
  })
  const app = newWorld().app([draws])
  const handle = await begin(app, 'draws', null)
  const live = (await handle.result()) as unknown[][]
  expect(new Set(live.flat().filter((v) => typeof v === 'string')).size).toBe(3)
  expect(live[0]![1]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  const recorded = await recordOf(app)
  expect(await (await goOn(recorded, 5, [draws])).handle.result()).toEqual(live)
})

test('INBOX_ADVANCED: a signal that comes while the run parks is not lost', async () => {
  const waits = flow('waits', async (run) => {
    const got: unknown[] = []
    for (let i = 0; i < 30; i++) got.push(await run.receive(go))
    return got
  })
  const app = newWorld().app([waits])
  const handle = await begin(app, 'waits', null)
  for (let i = 0; i < 30; i++) {
    await handle.signal(go, i)
    if (i % 3 === 0) await after(i)
  }
  expect(await handle.result()).toEqual(Array.from({ length: 30 }, (_, i) => i))
})

test('while a run parks no timer sets a body going', async () => {
  let running = 0
  const tries: number[] = []
  const shaky = flow('shaky', async (run) =>
    run.step('s', { retry: { times: 20, delay: 25, maxDelay: 25 } }, async ({ attempt }) => {
      expect(++running).toBe(1)
      tries.push(attempt)
      await after(5)
      running--
      if (attempt < 12) throw new Error('again')
      return tries
    }),
  )
  const world = newWorld()
  const app = world.app([shaky], {
    openLedger: async () => {
      const ledger = await cutAt({ tenant: 'local', run: 'none', key: new Uint8Array(32), entries: [], inbox: [] }, 0)
      // Parking takes longer than the timer that the run waits for.
      const append: typeof ledger.append = async (batch, options) => {
        if (options?.guards !== undefined) await after(30)
        await ledger.append(batch, options)
      }
      return { ...ledger, append }
    },
  })
  expect(await (await begin(app, 'shaky', null)).result()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
  expect(world.troubles).toEqual([])
})

test('two waits at once park on the earlier time and the kind a person would name', async () => {
  const waits = flow('waits', async (run) =>
    run.all('both', {
      timer: (r) => r.sleep(3_600_000),
      signal: (r) => r.receive(go, { timeout: 7_200_000 }),
    }),
  )
  const app = newWorld().app([waits])
  const row = await (await begin(app, 'waits', null)).settled()
  expect(row.parkedOn).toBe('signal')
  expect(Math.abs((row.due ?? 0) - Date.now() - 3_600_000)).toBeLessThan(10_000)
})

test('RUN_CANCELLED: a waiting run ends when it is cancelled, with the reason, once', async () => {
  const waits = flow('waits', async (run) => run.receive(go))
  const app = newWorld().app([waits])
  const handle = await begin(app, 'waits', null)
  await handle.settled()
  await handle.cancel('no longer wanted')
  await handle.cancel('again')
  const error = await handle.result().catch((e: unknown) => e as ConvokeError)
  expect([codeOf(error), (error as ConvokeError).message]).toEqual([
    'RUN_CANCELLED',
    expect.stringContaining('no longer wanted'),
  ])
  expect((await handle.status()).status).toBe('cancelled')
})

test('code that would catch a cancellation goes no further, and the run is cancelled', async () => {
  const seen: string[] = []
  const stubborn = flow('stubborn', async (run) => {
    run.signal.addEventListener('abort', () => seen.push('told'))
    try {
      await run.receive(go)
    } catch {
      seen.push('caught')
      await run.step('more', () => seen.push('ran'))
    }
    return 'finished anyway'
  })
  const app = newWorld().app([stubborn])
  const handle = await begin(app, 'stubborn', null)
  await handle.settled()
  await handle.cancel()
  expect(codeOf(await handle.result().catch((e: unknown) => e))).toBe('RUN_CANCELLED')
  expect(seen).toEqual(['told'])
})

test('a cancellation that is there before the run begins lets nothing begin', async () => {
  const ran: string[] = []
  const quick = flow('quick', async (run) => run.step('s', () => ran.push('s')))
  const world = newWorld()
  const starter = world.app([quick], { drives: false })
  const handle = await starter.start('quick', null, { id: 'r' })
  await handle.cancel()
  const worker = world.app([quick])
  await worker.work()
  expect(codeOf(await handle.result().catch((e: unknown) => e))).toBe('RUN_CANCELLED')
  expect(ran).toEqual([])
})

test('INTERRUPTED: a worker that is asked to stop leaves the run to the next one, mid-step and mid-wait', async () => {
  let begun = (): void => undefined
  const running = new Promise<void>((resolve) => (begun = resolve))
  let calls = 0
  const long = flow('long', async (run) => {
    await run.step('done', () => calls++)
    return run.step('long', () => (begun(), ++calls === 2 ? new Promise(() => undefined) : 'second try'))
  })
  const world = newWorld()
  const first = world.app([long])
  const handle = await begin(first, 'long', null)
  await running
  await first.close()
  await expect(handle.status()).rejects.toThrow('closed')
  const second = world.app([long])
  await second.work()
  expect(await (await second.run('r')).result()).toBe('second try')
  expect(calls).toBe(3)
  expect(world.troubles).toEqual([])
})
