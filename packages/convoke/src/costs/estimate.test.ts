import { describe, expect, test } from 'vitest'
import { estimateTokens } from './estimate.ts'

// Exact counts of o200k_base, taken once with gpt-tokenizer 4.0.0.
const cases: readonly (readonly [name: string, text: string, exact: number])[] = [
  [
    'English',
    'A worker that was paused past its lease cannot append: the ledger refuses it, and another worker goes on where the record ends.',
    26,
  ],
  [
    'German',
    'Die Rechnung über 1.190,00 EUR wurde geprüft; die gelieferte Menge weicht von der Bestellung PO-77 ab.',
    28,
  ],
  ['Russian', 'Поставщик выставил счёт на сто двадцать единиц, а получено только сто.', 20],
  ['Chinese', '供应商开具了一百二十件的发票,但仅收到一百件。请解释差异。', 25],
  [
    'JSON',
    '{"number":"INV-1004","date":"2026-03-14","currency":"EUR","net":"1000.00","tax":"190.00","lines":[{"sku":"A-100","quantity":120,"price":"8.33"}]}',
    54,
  ],
  [
    'TypeScript',
    'export function refOf(record: { readonly stream: string; readonly seq: number }): RecordRef {\n  return `${record.stream}@${record.seq}`\n}',
    31,
  ],
  ['amounts', '1190.00 8.33 120 100 4711.50 0.19 99999.99 12.5 3.14159', 35],
]

describe('estimates stay near the counts of a real tokenizer', () => {
  test.each(cases)('%s', (_, text, exact) => {
    const share = estimateTokens(text) / exact
    expect(share).toBeGreaterThan(0.75)
    expect(share).toBeLessThan(1.3)
  })
})

test('nothing is nothing, anything is something', () => {
  expect(estimateTokens('')).toBe(0)
  expect(estimateTokens('a')).toBe(1)
  expect(estimateTokens('<|endoftext|>')).toBeGreaterThan(0)
})

test('more text never counts less', () => {
  const text = 'Invoice INV-1004: 120 billed, 100 received. 発注 PO-77 {"total":"1,190.00"}'
  let last = 0
  for (let i = 0; i <= text.length; i++) {
    const count = estimateTokens(text.slice(0, i))
    expect(count).toBeGreaterThanOrEqual(last)
    last = count
  }
})
