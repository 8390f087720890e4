import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SmallMap } from './small-map.ts'

const step = fc.oneof(
  fc.record({
    does: fc.constantFrom('set', 'delete', 'get', 'has'),
    key: fc.constantFrom('a', 'b', 'c'),
    to: fc.nat(9),
  }),
  fc.constant({ does: 'clear', key: '', to: 0 }),
)

test('means what a Map means, whatever is done to it', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const real = new Map<string, number>()
      const small = new SmallMap<string, number>()
      for (const { does, key, to } of steps) {
        if (does === 'set') {
          real.set(key, to)
          small.set(key, to)
        } else if (does === 'delete') {
          real.delete(key)
          small.delete(key)
        } else if (does === 'clear') {
          real.clear()
          small.clear()
        } else if (does === 'get') expect(small.get(key)).toBe(real.get(key))
        else expect(small.has(key)).toBe(real.has(key))
        expect([small.size, [...small], [...small.keys()], [...small.values()]]).toEqual([
          real.size,
          [...real],
          [...real.keys()],
          [...real.values()],
        ])
      }
    }),
  )
})
