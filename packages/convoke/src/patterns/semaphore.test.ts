import { expect, test } from 'vitest'
import { semaphore } from './semaphore.ts'

test('as many as there are places go at once, the others in the order of asking', async () => {
  const slots = semaphore(2)
  const order: string[] = []
  const go = async (name: string): Promise<() => void> => {
    const release = await slots.take()
    order.push(name)
    return release
  }
  const a = await go('a')
  const b = await go('b')
  const c = go('c')
  const d = go('d')
  await Promise.resolve()
  expect(order).toEqual(['a', 'b'])
  a()
  a()
  await c
  expect(order).toEqual(['a', 'b', 'c'])
  b()
  await d
  expect(order).toEqual(['a', 'b', 'c', 'd'])
})
