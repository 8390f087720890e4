import { spawnSync } from 'node:child_process'
import { describe, expect, it, test } from 'vitest'
import { ConvokeError } from '../core/errors.ts'
import type { Ledger, ReadyRun } from '../ports/ledger.ts'
import { systemClock } from '../system/clock.ts'
import { fakeClock } from '../testing/clock.ts'
import { dispatcherSuite } from '../testing/dispatcher-suite.ts'
import { startRun } from '../testing/ledger-suite/support.ts'
import { createMemoryStore } from '../testing/memory-ledger.ts'
import { createWorker } from '../testing/suite-worker.ts'
import { localDispatcher } from './dispatcher.ts'

dispatcherSuite(
  { describe, it, expect },
  {
    name: 'local, over the ledger in memory',
    open() {
      const store = createMemoryStore()
      const opened: { ledger: Ledger; dispatcher: ReturnType<typeof localDispatcher> }[] = []
      const open = (): (typeof opened)[number] => {
        const ledger = store.open()
        const made = { ledger, dispatcher: localDispatcher({ ledger, clock: systemClock, sweepMs: 200 }) }
        opened.push(made)
        return made
      }
      return Promise.resolve({
        ...open(),
        another: () => Promise.resolve(open()),
        async dispose() {
          for (const { dispatcher } of opened) await dispatcher.stop()
          for (const { ledger } of opened) await ledger.close()
        },
      })
    },
  },
)

/** The ledger in memory, with its calls counted and, where a test says so, answered by the test. */
function watched(change: Partial<Ledger> = {}): { ledger: Ledger; calls: () => number } {
  const ledger = createMemoryStore().open()
  let calls = 0
  const ready: Ledger['ready'] = (options) => {
    calls++
    return (change.ready ?? ledger.ready)(options)
  }
  return { ledger: { ...ledger, ...change, ready }, calls: () => calls }
}
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

describe('the local dispatcher', () => {
  test('drives by priority, then by due time, as many at once as it may', async () => {
    const { ledger } = watched()
    const clock = fakeClock({ now: 10_000 })
    await startRun(ledger, 'late', {}, { at: 3_000 })
    await startRun(ledger, 'early', {}, { at: 2_000 })
    await startRun(ledger, 'urgent', { priority: 5 }, { at: 4_000 })
    const dispatcher = localDispatcher({ ledger, clock, concurrency: 2 })
    const worker = await createWorker(ledger, 'w')
    const began: string[] = []
    const gates: (() => void)[] = []
    await dispatcher.start(async (run, signal) => {
      began.push(run.stream)
      await new Promise<void>((resolve) => gates.push(resolve))
      return worker.drive(run, signal)
    })
    await turn()
    await turn()
    expect(began).toEqual(['run/urgent', 'run/early'])
    gates[0]?.()
    await turn()
    await turn()
    expect(began).toEqual(['run/urgent', 'run/early', 'run/late'])
    for (const open of gates) open()
    await dispatcher.stop()
  })

  test('sleeps until the next due time on the clock it was given, and asks nothing meanwhile', async () => {
    const { ledger, calls } = watched()
    const clock = fakeClock({ now: 10_000 })
    await startRun(ledger, 'a', { notBefore: 10_700 })
    const dispatcher = localDispatcher({ ledger, clock })
    const worker = await createWorker(ledger, 'w')
    const began: number[] = []
    await dispatcher.start((run, signal) => {
      began.push(clock.now())
      return worker.drive(run, signal)
    })
    await dispatcher.idle()
    const before = calls()
    await clock.advance(699)
    expect([began, calls()]).toEqual([[], before])
    await clock.advance(1)
    await turn()
    expect(began).toEqual([10_700])
    await dispatcher.stop()
  })

  test('looks every sweepMs when nothing calls, and once for many calls at once', async () => {
    const { ledger, calls } = watched()
    const clock = fakeClock()
    const dispatcher = localDispatcher({ ledger, clock, sweepMs: 500 })
    await dispatcher.start(() => Promise.resolve('done'))
    await dispatcher.idle()
    await turn()
    let before = calls()
    await clock.advance(2_000)
    expect(calls() - before).toBe(4)
    before = calls()
    for (let i = 0; i < 1000; i++) await dispatcher.wake({ tenant: 'acme', stream: `run/${i}` })
    await turn()
    expect(calls() - before).toBeLessThan(1000)
    before = calls()
    for (let i = 0; i < 1000; i++) void dispatcher.wake({ tenant: 'acme', stream: `run/${i}` })
    await turn()
    expect(calls() - before).toBe(2)
    await dispatcher.stop()
  })

  test('holds a lost run back ever longer, and tries at once when somebody wakes it', async () => {
    const { ledger } = watched()
    const clock = fakeClock({ now: 10_000 })
    const { ref } = await startRun(ledger, 'a')
    const dispatcher = localDispatcher({ ledger, clock, sweepMs: 60_000 })
    const tries: number[] = []
    await dispatcher.start(() => {
      tries.push(clock.monotonic())
      return Promise.resolve('lost')
    })
    await turn()
    for (let i = 0; i < 40; i++) await clock.advance(500)
    const gaps = tries.slice(1).map((at, i) => at - (tries[i] as number))
    expect(gaps.slice(0, 9)).toEqual([50, 100, 200, 400, 800, 1600, 3200, 5000, 5000])
    const before = tries.length
    await dispatcher.wake(ref)
    await turn()
    expect(tries.length).toBe(before + 1)
    await dispatcher.stop()
  })

  test('takes a rejected drive for a lost one, and a store that does not answer for one to ask again', async () => {
    let down = true
    const store = createMemoryStore().open()
    const { ledger } = watched({
      ...store,
      ready: (options): Promise<ReadyRun[]> =>
        down ? Promise.reject(new ConvokeError('LEDGER_BUSY', 'locked')) : store.ready(options),
    })
    const clock = fakeClock({ now: 10_000 })
    await startRun(store, 'a')
    const dispatcher = localDispatcher({ ledger, clock, sweepMs: 1_000 })
    let tries = 0
    await dispatcher.start(() => (++tries === 1 ? Promise.reject(new Error('broken')) : Promise.resolve('lost')))
    await clock.advance(1_500)
    expect(tries).toBe(0)
    down = false
    await clock.advance(1_000)
    expect(tries).toBeGreaterThan(1)
    await dispatcher.stop()
  })

  test('ends with its ledger: idle() returns and nothing is asked any more', async () => {
    const { ledger, calls } = watched()
    const clock = fakeClock()
    const dispatcher = localDispatcher({ ledger, clock, sweepMs: 100 })
    await dispatcher.start(() => Promise.resolve('done'))
    await ledger.close()
    await dispatcher.idle()
    await turn()
    const before = calls()
    await clock.advance(1_000)
    expect(calls()).toBe(before)
  })

  test('drives one tenant only when told so', async () => {
    const { ledger } = watched()
    await startRun(ledger, 'mine', {}, { of: 'a' })
    await startRun(ledger, 'theirs', {}, { of: 'b' })
    const dispatcher = localDispatcher({ ledger, clock: fakeClock({ now: 10_000 }), tenant: 'a' })
    const worker = await createWorker(ledger, 'w')
    await dispatcher.start(worker.drive)
    await dispatcher.idle()
    await dispatcher.stop()
    expect(worker.tried).toEqual(['run/mine'])
  })

  describe('a place that is kept', () => {
    const claimed = { epoch: 1, seq: 2, hash: 'h', worker: 'w' }
    const run = (id: string) => ({ tenant: 'acme', stream: `run/${id}` })

    /** Drives what it is given until a test lets go of it. */
    async function driving(concurrency = 2) {
      const { ledger, calls } = watched()
      const dispatcher = localDispatcher({ ledger, clock: fakeClock({ now: 10_000 }), concurrency, tenant: 'acme' })
      const began: unknown[] = []
      const gates: (() => void)[] = []
      await dispatcher.start(async (ref, _, its) => {
        began.push([ref.stream, its])
        await new Promise<void>((resolve) => gates.push(resolve))
        return 'done'
      })
      await dispatcher.idle()
      const reserve = (id: string, its: Promise<typeof claimed | undefined>, tenant = 'acme'): boolean =>
        dispatcher.reserve?.({ ...run(id), tenant }, its) ?? false
      return { ledger, calls, dispatcher, began, gates, reserve }
    }

    test('is filled with what was claimed, and nothing is looked for', async () => {
      const { calls, began, gates, dispatcher, reserve } = await driving()
      const before = calls()
      expect(reserve('a', Promise.resolve(claimed))).toBe(true)
      await turn()
      expect([began, calls() - before]).toEqual([[['run/a', claimed]], 0])
      gates[0]?.()
      await dispatcher.stop()
    })

    test('counts until it is known that nobody takes it', async () => {
      const { began, gates, ledger, dispatcher, reserve } = await driving(1)
      const later = Promise.withResolvers<typeof claimed | undefined>()
      expect(reserve('a', later.promise)).toBe(true)
      expect(reserve('b', Promise.resolve(claimed))).toBe(false)
      await startRun(ledger, 'c')
      await dispatcher.wake(run('c'))
      await turn()
      expect(began).toEqual([])
      later.resolve(undefined)
      await turn()
      await turn()
      expect(began).toEqual([['run/c', undefined]])
      // While something waits for a place, none is kept for what has yet to come.
      await startRun(ledger, 'd')
      await dispatcher.wake(run('d'))
      await turn()
      gates[0]?.()
      await turn()
      expect(reserve('e', Promise.resolve(claimed))).toBe(false)
      for (const gate of gates) gate()
      await turn()
      for (const gate of gates) gate()
      await dispatcher.stop()
    })

    test('is kept for nobody of another tenant, before there is somebody who drives, nor after', async () => {
      const { ledger } = watched()
      const idle = localDispatcher({ ledger, clock: fakeClock() })
      expect(idle.reserve?.(run('a'), Promise.resolve(claimed))).toBe(false)
      const { began, dispatcher, reserve } = await driving()
      expect(reserve('a', Promise.resolve(claimed), 'other')).toBe(false)
      const later = Promise.withResolvers<typeof claimed>()
      expect(reserve('b', later.promise)).toBe(true)
      const stopped = dispatcher.stop()
      later.resolve(claimed)
      await stopped
      expect(began).toEqual([])
      expect(reserve('c', Promise.resolve(claimed))).toBe(false)
    })

    test('keeps idle() waiting', async () => {
      const { dispatcher, reserve } = await driving()
      const later = Promise.withResolvers<undefined>()
      reserve('a', later.promise)
      let idle = false
      const waits = dispatcher.idle().then(() => (idle = true))
      await turn()
      await turn()
      expect(idle).toBe(false)
      later.resolve(undefined)
      await waits
      await dispatcher.stop()
    })
  })

  test('a program that has finished exits, though a run is due later and nothing was stopped', () => {
    const program = `
      import { localDispatcher } from '${new URL('./dispatcher.ts', import.meta.url).href}'
      import { systemClock } from '${new URL('../system/clock.ts', import.meta.url).href}'
      import { createMemoryStore } from '${new URL('../testing/memory-ledger.ts', import.meta.url).href}'
      import { startRun } from '${new URL('../testing/ledger-suite/support.ts', import.meta.url).href}'
      const ledger = createMemoryStore().open()
      await startRun(ledger, 'later', { notBefore: Date.now() + 3_600_000 })
      await startRun(ledger, 'lost')
      const dispatcher = localDispatcher({ ledger, clock: systemClock })
      await dispatcher.start(() => Promise.resolve('lost'))
      await dispatcher.idle()
      console.log('idle')`
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      timeout: 20_000,
    })
    expect([child.stdout, child.status, child.signal]).toEqual(['idle\n', 0, null])
  })
})
