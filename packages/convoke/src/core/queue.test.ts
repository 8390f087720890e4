import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Queue } from './queue.ts'

test('means what push, shift and unshift of an array mean', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('push', 'push', 'shift', 'shift', 'unshift'), { maxLength: 60 }), (steps) => {
      const array: number[] = []
      const queue = new Queue<number>()
      steps.forEach((does, n) => {
        if (does === 'shift') expect(queue.shift()).toBe(array.shift())
        else {
          array[does](n)
          queue[does](n)
        }
        expect([queue.length, queue.first]).toEqual([array.length, array[0]])
      })
    }),
  )
})
