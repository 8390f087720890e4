import { noLabels } from '../core/labels.ts'
import { emptyHead, seal, type Actor, type Blob, type Draft, type Head, type LedgerRecord } from '../core/record.ts'
import type { StreamRef } from '../ports/ledger.ts'

/** What a test says of a record; the rest is plain. */
export type ChainDraft = Partial<Draft> & Pick<Draft, 'type'> & { readonly at?: number }

/** A writer of one stream for tests: seals records one after the other, as the sequencer of a driven run does. */
export interface Chain {
  readonly ref: StreamRef
  readonly head: Head
  /** Seals a record and moves on. `blobs` gets what must be stored with it. */
  next(draft: ChainDraft, blobs?: Blob[]): LedgerRecord
  /** Goes on under a claim, from its head. */
  follow(claim: Head & { readonly epoch: number }): void
}

const orchestrator: Actor = Object.freeze({ kind: 'orchestrator', id: 'convoke' })

export function createChain(ref: StreamRef, start: Head & { readonly epoch?: number } = emptyHead): Chain {
  let head: Head = { seq: start.seq, hash: start.hash }
  let epoch = start.epoch ?? 0
  let salts = 0
  return {
    ref,
    get head() {
      return head
    },
    next({ at = 1_000, ...draft }, blobs) {
      const { record, spilled } = seal(
        { actor: orchestrator, labels: noLabels, payload: null, ...draft },
        { ...ref, epoch, head, at, salt: (++salts).toString(16).padStart(32, '0') },
      )
      if (spilled !== undefined) blobs?.push(spilled)
      head = { seq: record.seq, hash: record.hash }
      return record
    },
    follow(claim) {
      head = { seq: claim.seq, hash: claim.hash }
      epoch = claim.epoch
    },
  }
}
