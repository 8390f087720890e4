import { expect, test } from 'vitest'
import { fakeClock } from './clock.ts'
import { fakeIds } from './ids.ts'

test('sleepers wake in the order of their times, and what they start happens in between', async () => {
  const clock = fakeClock({ now: 1000 })
  const log: string[] = []
  const sleeper = async (name: string, ...naps: number[]): Promise<void> => {
    for (const ms of naps) {
      await clock.sleep(ms)
      log.push(`${name}@${clock.now()}`)
    }
  }
  const all = Promise.all([sleeper('a', 30, 30), sleeper('b', 10, 10, 10), sleeper('c', 30)])
  await clock.advance(59)
  expect(log).toEqual(['b@1010', 'b@1020', 'a@1030', 'c@1030', 'b@1030'])
  expect(clock.sleeping).toBe(1)
  await clock.advance(1)
  await all
  expect(log.at(-1)).toBe('a@1060')
  expect([clock.now(), clock.monotonic()]).toEqual([1060, 60])
})

test('the wall clock jumps; nobody wakes and monotonic stays', async () => {
  const clock = fakeClock({ now: 1_000_000 })
  let woke = false
  const sleeping = clock.sleep(100).then(() => (woke = true))
  clock.set(5)
  await clock.advance(99)
  expect([clock.now(), clock.monotonic(), woke]).toEqual([104, 99, false])
  await clock.advance(1)
  await sleeping
})

test('an aborted sleep ends with the reason and leaves nothing behind', async () => {
  const clock = fakeClock()
  const controller = new AbortController()
  const sleeping = clock.sleep(10, controller.signal)
  controller.abort(new Error('gone'))
  await expect(sleeping).rejects.toThrow('gone')
  await expect(clock.sleep(10, controller.signal)).rejects.toThrow('gone')
  expect(clock.sleeping).toBe(0)
})

test('advanceToNext goes to the next sleeper, and says when there is none', async () => {
  const clock = fakeClock()
  expect(await clock.advanceToNext()).toBe(false)
  const sleeping = clock.sleep(250)
  expect(await clock.advanceToNext()).toBe(true)
  await sleeping
  expect(clock.monotonic()).toBe(250)
  await expect(clock.advance(-1)).rejects.toThrow(RangeError)
})

test('fake ids repeat from process to process, rise, and differ by seed', () => {
  const [a, b, c] = [fakeIds(), fakeIds(), fakeIds('u')]
  expect([a.next(), a.next()]).toEqual(['t000001', 't000002'])
  expect(a.salt()).toBe(b.salt())
  expect(a.salt()).not.toBe(c.salt())
  expect(a.salt()).toMatch(/^[0-9a-f]{32}$/)
})
