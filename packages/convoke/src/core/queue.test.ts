import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Queue } from './queue.ts'

const operation = fc.constantFrom('push', 'push', 'shift', 'shift', 'shift', 'unshift')

test('means what push, shift and unshift of an array mean', () => {
  fc.assert(
    // Beginning with some, so that it also goes on for long without ever being empty.
    fc.property(fc.nat(100), fc.array(operation, { maxLength: 400, size: 'max' }), (some, steps) => {
      const array: number[] = []
      const queue = new Queue<number>()
      for (let n = 0; n < some; n++) {
        array.push(-n)
        queue.push(-n)
      }
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
