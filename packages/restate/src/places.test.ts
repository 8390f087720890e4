import { expect, test } from 'vitest'
import { createPlaces } from './places.ts'

test('places go to the most urgent first, then to who waits longest', async () => {
  const places = createPlaces(1)
  expect(await places.take(0)).toBe(true)
  expect(places.tryTake()).toBe(false)
  const order: string[] = []
  const waits = [
    ['first', 0],
    ['second', 0],
    ['urgent', 5],
  ] as const
  const all = waits.map(async ([name, priority]) => {
    expect(await places.take(priority)).toBe(true)
    order.push(name)
    places.give()
  })
  places.give()
  await Promise.all(all)
  expect(order).toEqual(['urgent', 'first', 'second'])
})

test('nobody waits for a place that is closed, and nobody gets one', async () => {
  const places = createPlaces(1)
  expect(places.tryTake()).toBe(true)
  const waits = places.take(0)
  places.close()
  expect(await waits).toBe(false)
  places.give()
  expect(await places.take(9)).toBe(false)
  expect(places.tryTake()).toBe(false)
})
