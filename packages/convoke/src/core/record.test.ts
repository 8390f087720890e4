import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalize } from './canonical.ts'
import { sha256 } from './hash.ts'
import type { Json } from './json.ts'
import { noLabels } from './labels.ts'
import {
  bodyOf,
  emptyHash,
  emptyHead,
  faultOf,
  headerText,
  parseRef,
  refOf,
  seal,
  type Draft,
  type LedgerRecord,
} from './record.ts'

const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((text) => text.isWellFormed())
const draft: fc.Arbitrary<Draft> = fc.record(
  {
    type: fc.constantFrom('step.completed', 'run.started', 'x."quoted"'),
    critical: fc.boolean(),
    path: name,
    fold: name,
    causes: fc.array(fc.record({ ref: name, kind: fc.constantFrom('input' as const, 'evidence' as const) }), {
      maxLength: 3,
    }),
    actor: fc.record(
      { kind: fc.constantFrom('agent' as const, 'person' as const), id: name, version: name },
      { requiredKeys: ['kind', 'id'] },
    ),
    labels: fc.record({
      integrity: fc.constantFrom('trusted' as const, 'untrusted' as const),
      confidentiality: fc.array(name, { maxLength: 2 }),
      sources: fc.array(name, { maxLength: 2 }),
    }),
    blobs: fc.array(name.map(sha256), { maxLength: 2 }),
    payload: fc.jsonValue().filter((value) => noUnsafe(value)) as fc.Arbitrary<Json>,
  },
  { requiredKeys: ['type', 'actor', 'labels', 'payload'] },
)
const place = {
  tenant: 'local',
  stream: 'run/r "1"',
  epoch: 3,
  head: emptyHead,
  at: 1_790_000_000_000,
  salt: 'ab'.repeat(16),
}

function noUnsafe(value: unknown): boolean {
  try {
    canonicalize(value)
    return true
  } catch {
    return false
  }
}

describe('seal', () => {
  test('hashes the canonical header, and the commitment covers salt and payload', () => {
    fc.assert(
      fc.property(draft, (d) => {
        const { record, body, payload } = seal(d, place)
        const { payload: stored, salt, hash, ...header } = record
        expect(headerText(record)).toBe(canonicalize(header))
        expect(hash).toBe(sha256(canonicalize(header)))
        expect(body).toBe(canonicalize(d.payload))
        expect(canonicalize(stored)).toBe(body)
        expect(payload).toBe(stored)
        expect(record.commitment).toBe(sha256(salt + body))
        expect(Object.isFrozen(record)).toBe(true)
        expect(faultOf(record, emptyHead)).toBeUndefined()
        // What a reader decodes from a store is the same record.
        expect(faultOf(JSON.parse(JSON.stringify(record)) as LedgerRecord, emptyHead, body)).toBeUndefined()
      }),
    )
  })

  test('chains: each record names the hash before it', () => {
    const draft: Draft = { type: 't', actor: { kind: 'system', id: 's' }, labels: noLabels, payload: { a: 1 } }
    const first = seal(draft, place).record
    const second = seal(draft, { ...place, head: first }).record
    expect([first.seq, first.prevHash]).toEqual([1, emptyHash])
    expect([second.seq, second.prevHash]).toEqual([2, first.hash])
    expect(faultOf(second, first)).toBeUndefined()
    expect(faultOf(second, emptyHead)).toBe('seq 2 follows 0')
    expect(faultOf({ ...second, seq: 1 }, emptyHead)).toBe('prevHash is not the hash of the record before')
  })

  test('spills payloads of 64 KiB and more, counted in bytes', () => {
    const draft = (payload: Json): Draft => ({
      type: 't',
      actor: { kind: 'system', id: 's' },
      labels: noLabels,
      payload,
    })
    expect(seal(draft('x'.repeat(65_533)), place).spilled).toBeUndefined()
    for (const payload of ['x'.repeat(65_534), 'é'.repeat(32_767)]) {
      const { record, spilled, body, payload: decoded } = seal({ ...draft(payload), blobs: ['f'.repeat(64)] }, place)
      expect(record.payload).toBeNull()
      expect(record.spill).toBe(sha256(body))
      expect(record.blobs).toEqual(['f'.repeat(64), record.spill])
      expect(Buffer.from(spilled?.bytes ?? []).toString()).toBe(body)
      expect(decoded).toBe(payload)
      expect(faultOf(record, emptyHead)).toBeUndefined()
      expect(faultOf(record, emptyHead, body)).toBeUndefined()
      expect(faultOf(record, emptyHead, body.replace(/.$/, ' "'))).toContain('commitment')
    }
  })
})

describe('faultOf', () => {
  test('finds any change of a single field', () => {
    fc.assert(
      fc.property(draft, fc.string(), fc.nat(), (d, text, index) => {
        const { record } = seal(d, place)
        const fields = Object.keys(record) as (keyof LedgerRecord)[]
        const field = fields[index % fields.length] as keyof LedgerRecord
        const value = mutate(record[field], text)
        const changed = { ...record, [field]: value } as LedgerRecord
        // An erased payload is no fault: the commitment stays in the chain.
        fc.pre(!(field === 'salt' && value === '') && JSON.stringify(changed) !== JSON.stringify(record))
        expect(faultOf(changed, emptyHead)).toBeTypeOf('string')
      }),
      { numRuns: 2000 },
    )
  })

  test('finds fields that were dropped or slipped in, and another version', () => {
    const { record } = seal(
      { type: 't', path: 'p', actor: { kind: 'system', id: 's' }, labels: noLabels, payload: 1 },
      place,
    )
    const { path, ...dropped } = record
    expect(path).toBe('p')
    expect(faultOf(dropped, emptyHead)).toContain('header')
    expect(faultOf({ ...record, fold: 'p' }, emptyHead)).toContain('header')
    expect(faultOf({ ...record, blobs: [] }, emptyHead)).toContain('header')
    expect(faultOf({ ...record, v: 2 as 1 }, emptyHead)).toContain('header')
  })

  test('causes cannot be merged by a kind that holds the text between them', () => {
    const draft: Draft = { type: 't', actor: { kind: 'system', id: 's' }, labels: noLabels, payload: 1 }
    const causes = [
      { ref: 'a@1', kind: 'input' as const },
      { ref: 'b@1', kind: 'input' as const },
    ]
    const { record } = seal({ ...draft, causes }, place)
    const merged = [{ ref: 'b@1', kind: 'input","ref":"a@1"},{"kind":"input' as 'input' }]
    expect(faultOf({ ...record, causes: merged }, emptyHead)).toContain('header')
  })

  test('an erased payload keeps its place in the chain', () => {
    const { record } = seal({ type: 't', actor: { kind: 'system', id: 's' }, labels: noLabels, payload: 'IBAN' }, place)
    expect(faultOf({ ...record, payload: null, salt: '' }, emptyHead)).toBeUndefined()
    expect(faultOf({ ...record, payload: null }, emptyHead)).toContain('commitment')
  })
})

function mutate(value: unknown, text: string): unknown {
  if (typeof value === 'number') return value + 1
  if (typeof value === 'boolean') return !value
  if (typeof value === 'string') return value.startsWith(text) ? `${value}x` : text
  if (Array.isArray(value)) return value.length > 0 ? value.slice(1) : [{ ref: text, kind: 'shown' }]
  return value === null ? { [text]: 1 } : { ...(value as object), [`${text}x`]: 1 }
}

test('refs name a stream and a position', () => {
  fc.assert(
    fc.property(name, fc.integer({ min: 1 }), (stream, seq) => {
      expect(parseRef(refOf({ stream, seq }))).toEqual({ stream, seq })
    }),
  )
  for (const bad of ['', 'run/r', 'run/r@', 'run/r@0', 'run/r@1.5', 'run/r@-1', '@1', 'run/r@x'])
    expect(() => parseRef(bad)).toThrow(expect.objectContaining({ code: 'RECORD_UNKNOWN' }))
})

test('the text that a sealed record keeps is its canonical payload, and no copy of the record has it', () => {
  const { record } = seal(
    { type: 't.one', actor: { kind: 'system', id: 't' }, labels: noLabels, payload: { b: 1, a: 2 } },
    { tenant: 't', stream: 'run/r', epoch: 1, head: emptyHead, at: 0, salt: 's' },
  )
  expect(bodyOf(record)).toBe('{"a":2,"b":1}')
  expect(bodyOf({ ...record, payload: { c: 3 } })).toBe('{"c":3}')
  expect(Object.keys(record)).toEqual(Object.keys({ ...record }))
  expect(JSON.stringify(record)).toBe(JSON.stringify({ ...record }))
})
