import { ConvokeError, runArchived } from 'convoke/adapter'

/** An answer of `append_1` for one append: which, what, and the facts. */
export type Answer = readonly [append: number, code: string, ...facts: unknown[]]

/** A refusal in words; `same` and `rest` are none. */
export function refusalOf([, code, ...facts]: Answer): ConvokeError {
  const text = (at: number): string => String(facts[at])
  const number = (at: number): number => Number(facts[at])
  const stream = text(0)
  switch (code) {
    case 'INPUT_INVALID':
      return new ConvokeError(code, `${stream} takes messages, not records`, { details: { stream }, next: 'use post' })
    case 'EPOCH_STALE':
      return new ConvokeError(code, `${stream} is at epoch ${text(1)}, the append says ${text(2)}`, {
        details: { stream, expected: number(1), found: number(2) },
        next: 'stop; another worker drives it, or nobody has claimed it',
      })
    case 'LEASE_EXPIRED':
      return expired(text(1))
    case 'POSITION_STALE':
      return new ConvokeError(
        code,
        `${stream} ends at ${text(1)}, the record says ${text(2)}${number(2) === number(1) + 1 ? ' after another hash' : ''}`,
        {
          details: { stream, expected: number(1) + 1, found: number(2) },
          next: 'read the stream again and go on from its head',
        },
      )
    case 'BLOB_MISSING':
      return new ConvokeError(code, `a record refers to blob ${stream}, which is not stored`, {
        details: { hash: stream },
        next: 'pass the blob with the append, or store it first with putBlobs',
      })
    case 'UNIQUE_TAKEN':
      return new ConvokeError(code, `the key ${JSON.stringify(stream)} belongs to ${text(1)}`, {
        details: { key: stream, owner: text(1) },
        next: `look at ${text(1)}`,
      })
    case 'COUNTER_EXCEEDED':
      return new ConvokeError(code, `${stream} stands at ${text(1)}; ${text(2)} more would pass ${text(3)}`, {
        details: { counter: stream, total: number(1), add: number(2), max: number(3) },
        next: 'raise the limit, or give back what is reserved and not needed',
      })
    case 'INBOX_ADVANCED':
      return new ConvokeError(code, `${stream} ends at ${text(1)}, not at ${text(2)}`, {
        details: { stream, expected: number(2), found: number(1) },
        next: 'read what came in, then park again',
      })
    case 'RUN_ARCHIVED':
      return runArchived(stream)
    default:
      return new ConvokeError('LEDGER_IO', `the store refused an append without a known reason: ${code}`, {
        next: 'update Convoke',
      })
  }
}

export function expired(worker: string): ConvokeError {
  return new ConvokeError('LEASE_EXPIRED', `the lease of worker ${worker} has passed`, {
    details: { worker },
    next: 'register again as a new worker and claim what is still free',
  })
}
