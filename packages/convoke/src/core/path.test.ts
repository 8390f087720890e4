import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeName, isInside, joinPath, nameOf, parentPath } from './path.ts'

const name = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 50 })
  .filter((text) => text.isWellFormed() && text.length <= 200)
const step = fc.tuple(name, fc.integer({ min: 1, max: 30 }))

test('a path can be taken apart again, whatever its names hold', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 5 }), (steps) => {
      const scopes = [''] as string[]
      for (const [part, repeat] of steps) scopes.push(joinPath(scopes.at(-1) as string, part, repeat))
      for (let i = steps.length; i > 0; i--) {
        const path = scopes[i] as string
        expect(nameOf(path)).toBe(steps[i - 1]?.[0])
        expect(parentPath(path)).toBe(scopes[i - 1])
        for (const scope of scopes.slice(0, i + 1)) expect(isInside(path, scope)).toBe(true)
        for (const inner of scopes.slice(i + 1)) expect(isInside(path, inner)).toBe(false)
      }
    }),
  )
})

test('no name makes a path that the engine makes of another', () => {
  fc.assert(fc.property(step, (s) => !joinPath('s', ...s).includes('~')))
  expect(joinPath('', 'pay~undo', 1)).toBe('pay%7Eundo')
})

test('different steps have different paths', () => {
  fc.assert(
    fc.property(step, step, (a, b) => {
      expect(joinPath('s', ...a) === joinPath('s', ...b)).toBe(a[0] === b[0] && a[1] === b[1])
    }),
  )
})

test('paths read as expected', () => {
  expect(joinPath('', 'parse', 1)).toBe('parse')
  expect(joinPath('attempt/plain', 'ask', 2)).toBe('attempt/plain/ask#2')
  expect(joinPath('all', 'a/b#2 100%', 1)).toBe('all/a%2Fb%232 100%25')
  expect(isInside('parsed', 'parse')).toBe(false)
  expect(isInside('parse#2', 'parse')).toBe(false)
})

test('refuses names that cannot stand in a path', () => {
  for (const bad of ['', 'x'.repeat(201), '\ud800', 7 as unknown as string, undefined as unknown as string])
    expect(() => encodeName(bad)).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }))
  expect(encodeName('x'.repeat(200))).toHaveLength(200)
})
