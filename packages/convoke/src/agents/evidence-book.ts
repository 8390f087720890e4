import type { Json } from '../core/json.ts'
import type { RecordRef } from '../core/record.ts'
import { isRef, prepare, type Segment, type Shown } from './segment.ts'

// Everything one ask's agent has seen, in the order it saw it. Owned by the ask; refilled by its code on replay.

export interface EvidenceBook {
  /** Takes a segment in; its name is the next of `s1`, `s2`, … unless given. */
  add(segment: Segment, id?: string): Shown
  /** The record that proves that segments without a record of their own were shown. */
  prove(shown: readonly Shown[], ref: RecordRef): void
  refOf(shown: Shown): RecordRef
  readonly shown: readonly Shown[]
  /** The number of the last segment. */
  readonly last: number
}

export function evidenceBook(now: () => number, redact: (value: Json) => Json, from = 0): EvidenceBook {
  const shown: Shown[] = []
  const proofs = new Map<string, RecordRef>()
  let numbered = from
  return {
    shown,
    get last() {
      return numbered
    },
    add(segment, id = `s${++numbered}`) {
      const made = prepare(segment, id, now(), redact)
      shown.push(made)
      return made
    },
    prove(these, ref) {
      for (const one of these) proofs.set(one.id, ref)
    },
    refOf: (one) => (isRef(one.from) ? one.from : (proofs.get(one.id) ?? one.from)),
  }
}
