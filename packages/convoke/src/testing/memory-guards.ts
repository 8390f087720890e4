import { ConvokeError } from '../core/errors.ts'
import type { Guard, StreamRef } from '../ports/ledger.ts'
import { keyOf, type State, type Stream } from './memory-state.ts'

/** @throws UNIQUE_TAKEN, COUNTER_EXCEEDED, INBOX_ADVANCED */
export function hold(draft: State, guard: Guard, streamOf: (draft: State, ref: StreamRef) => Stream): void {
  if (guard.kind === 'unique') {
    const key = keyOf(guard.tenant, guard.key)
    const owner = draft.uniques.get(key)
    if (owner === undefined) draft.uniques.set(key, guard.owner)
    else if (owner !== guard.owner) throw new ConvokeError('UNIQUE_TAKEN', `${guard.key} belongs to ${owner}`)
    return
  }
  if (guard.kind === 'counter') {
    const counter = keyOf(guard.tenant, guard.counter)
    const key = keyOf(guard.tenant, guard.counter, guard.key)
    if (draft.counted.has(key)) return
    const total = draft.counters.get(counter) ?? 0
    if (guard.add > guard.max - total) throw new ConvokeError('COUNTER_EXCEEDED', `${guard.counter} is at ${total}`)
    draft.counted.add(key)
    draft.counters.set(counter, total + guard.add)
    return
  }
  const found = streamOf(draft, guard.ref).records.length
  if (found !== guard.seq) throw new ConvokeError('INBOX_ADVANCED', `${guard.ref.stream} ends at ${found}`)
}
