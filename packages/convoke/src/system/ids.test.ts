import { expect, test } from 'vitest'
import { systemIds } from './ids.ts'

test('ids are unique, short and sort as they were made, also when the clock goes back', () => {
  let now = 1_700_000_000_000
  const ids = systemIds({ now: () => now })
  const made: string[] = []
  for (let i = 0; i < 5000; i++) {
    if (i % 100 === 0) now += i % 300 === 0 ? -5000 : 1
    made.push(ids.next())
  }
  expect(new Set(made).size).toBe(made.length)
  expect(made.toSorted()).toEqual(made)
  for (const id of made) expect(id).toMatch(/^[0-9a-hjkmnp-tv-z]{19}$/)
})

test('two instances do not meet within one millisecond', () => {
  const clock = { now: () => 1_700_000_000_000 }
  const instances = Array.from({ length: 200 }, () => systemIds(clock))
  const made = instances.flatMap((ids) => Array.from({ length: 50 }, () => ids.next()))
  expect(new Set(made).size).toBe(made.length)
})

test('salts are 32 hexadecimal digits and never repeat, also past the pool', () => {
  const ids = systemIds()
  const salts = Array.from({ length: 3000 }, () => ids.salt())
  expect(new Set(salts).size).toBe(salts.length)
  for (const salt of salts) expect(salt).toMatch(/^[0-9a-f]{32}$/)
})
