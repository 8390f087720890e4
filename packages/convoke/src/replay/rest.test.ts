import { expect, test } from 'vitest'
import { systemClock } from '../system/clock.ts'
import { Pace } from './rest.ts'

/** Code that goes on `steps` times, waiting for `microtasks` in between, as the loop that drives a run does. */
async function drive(name: string, pace: Pace, log: string[], steps: number, microtasks = 3): Promise<void> {
  for (let i = 0; i < steps; i++) {
    await pace.rest({ hurries: true, ready: true, yields: () => log.push(`${name} yields`) })
    log.push(`${name}${i}`)
    for (let k = 0; k < microtasks; k++) await Promise.resolve()
  }
}

test('those that compute have their stretches one after the other, as far as the microtasks lead', async () => {
  // Its time stands still, so no stretch is over before its code is.
  const clock = { ...systemClock, monotonic: () => 0 }
  const log: string[] = []
  const paces = [new Pace(clock), new Pace(clock), new Pace(clock)] as const
  await Promise.all([drive('a', paces[0], log, 4), drive('b', paces[1], log, 3, 20), drive('c', paces[2], log, 2)])
  const order = log.filter((line) => !line.endsWith('yields'))
  expect(order).toEqual(['a0', 'a1', 'a2', 'a3', 'b0', 'b1', 'b2', 'c0', 'c1'])
})

test('all stretches of a turn together are short, and who has to wait yields what it has', async () => {
  let time = 0
  const clock = { ...systemClock, monotonic: () => time }
  const log: string[] = []
  let turns = 0
  let counting = true
  const count = (): void => {
    turns++
    if (counting) setImmediate(count)
  }
  setImmediate(count)
  const pace = new Pace(clock)
  const work = async (name: string): Promise<void> => {
    for (let i = 0; i < 10; i++) {
      await pace.rest({ hurries: true, ready: true, yields: () => log.push(`${name} yields`) })
      time += 1
    }
  }
  await Promise.all([work('a'), work('b')])
  counting = false
  // Twenty steps of a millisecond each, two of which fit into a turn.
  expect(turns).toBeGreaterThanOrEqual(8)
  expect(log.filter((line) => line === 'a yields').length).toBeGreaterThanOrEqual(2)
  expect(log.filter((line) => line === 'b yields').length).toBeGreaterThanOrEqual(2)
})

test('one that waits for something else gives its place away, and yields first', async () => {
  const clock = { ...systemClock, monotonic: () => 0 }
  const log: string[] = []
  const pace = new Pace(clock)
  const waits = async (): Promise<void> => {
    await pace.rest({ hurries: true, ready: true, yields: () => undefined })
    log.push('a begins')
    await pace.rest({ hurries: true, ready: false, yields: () => log.push('a yields') })
    log.push('a goes on')
  }
  await Promise.all([waits(), drive('b', pace, log, 1)])
  expect(log.indexOf('a yields')).toBeLessThan(log.indexOf('b0'))
  expect(log.indexOf('b0')).toBeLessThan(log.indexOf('a goes on'))
})
