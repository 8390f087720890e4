import type { Claim } from './claim.ts'
import type { ErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { History } from './history.ts'
import { isTerminal, type Completion, type Entry, type Read } from './types.ts'
import { sha256 } from '../core/hash.ts'

/**
 * Which of an ancestor's results after a fork's point may stand for a step of the fork (R9): the same path, arguments
 * and environment, and everything it read besides unchanged. A step that did not declare what it depends on is never
 * reused there.
 */
export function reuseFrom(history: History): ((claim: Claim) => Completion | undefined) | undefined {
  const { fork } = history
  if (fork === undefined || fork.reuse !== 'unchanged') return undefined
  const shared = new Set(history.entries)
  const later = new Map<string, Entry>()
  for (const entry of history.ancestors)
    if (isTerminal(entry) && !shared.has(entry)) later.set(entry.record.path as string, entry)
  return (claim) => {
    const entry = later.get(claim.path)
    if (entry === undefined || entry.payload['declared'] !== true) return undefined
    const { payload } = entry
    if (payload['fp'] !== claim.fingerprint || payload['env'] !== claim.environment) return undefined
    const reads = (payload['reads'] ?? []) as unknown as readonly Read[]
    if (!reads.every((read) => stillReads(claim, read))) return undefined
    const error = payload['error'] as unknown as ErrorData | undefined
    const extra: JsonObject = { reused: `${entry.record.stream}@${entry.record.seq}` }
    return {
      ...(error === undefined ? { value: payload['value'] as Json } : { error }),
      ...(payload['reads'] === undefined ? {} : { reads }),
      causes: [{ ref: `${entry.record.stream}@${entry.record.seq}`, kind: 'declared' }],
      labels: entry.record.labels,
      extra,
    }
  }
}

function stillReads(claim: Claim, read: Read): boolean {
  if (read.kind !== 'board') return false
  const cell = claim.scope.cell(read.key)
  return read.at === (cell === undefined ? '' : sha256(JSON.stringify(cell.value)).slice(0, 16))
}
