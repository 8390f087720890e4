import fc from 'fast-check'
import { expect, test } from 'vitest'
import { canonicalize } from './canonical.ts'
import { joinLabels, labelsJson, noLabels, type Labels } from './labels.ts'

const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 4 }).map((list) => list.sort())
const labels: fc.Arbitrary<Labels> = fc.record(
  {
    integrity: fc.constantFrom('trusted' as const, 'untrusted' as const),
    confidentiality: names,
    sources: names,
    provisional: fc.constant(true as const),
  },
  { requiredKeys: ['integrity', 'confidentiality', 'sources'] },
)
const same = (a: Labels, b: Labels): void => expect(canonicalize(labelsJson(a))).toBe(canonicalize(labelsJson(b)))

test('the join is a semilattice with no labels at its bottom', () => {
  fc.assert(
    fc.property(labels, labels, labels, (a, b, c) => {
      same(joinLabels([a, joinLabels([b, c])]), joinLabels([joinLabels([a, b]), c]))
      same(joinLabels([a, b]), joinLabels([b, a]))
      same(joinLabels([a, a]), a)
      same(joinLabels([a, noLabels]), a)
      same(joinLabels([noLabels, a]), a)
    }),
  )
  expect(joinLabels([])).toBe(noLabels)
})

test('untrusted wins, sets unite sorted, provisional wins, and nothing joined in is changed', () => {
  const tool: Labels = { integrity: 'untrusted', confidentiality: ['finance'], sources: ['tool:erp'] }
  const draft: Labels = { integrity: 'trusted', confidentiality: ['audit'], sources: ['input'], provisional: true }
  const joined = joinLabels([tool, draft])
  expect(joined).toEqual({
    integrity: 'untrusted',
    confidentiality: ['audit', 'finance'],
    sources: ['input', 'tool:erp'],
    provisional: true,
  })
  expect(Object.isFrozen(joined) && Object.isFrozen(joined.sources)).toBe(true)
  expect(tool.sources).toEqual(['tool:erp'])
})
