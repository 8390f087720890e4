import type { ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { runIdOf } from '../core/projections.ts'
import { refOf } from '../core/record.ts'
import { isTerminal, type Entry } from '../replay/types.ts'
import type { AncestorDispatch, AncestorQuery } from './deps.ts'

/**
 * Finds what the ancestors of a fork already sent (R9): the same step, the same business key, or the very same action.
 * What certainly had no effect does not count.
 */
export function ancestorDispatchIn(
  ancestors: readonly Entry[],
): (query: AncestorQuery) => AncestorDispatch | undefined {
  const sent = ancestors.filter((e) => e.record.type === 'tool.dispatched')
  if (sent.length === 0) return () => undefined
  const ends = new Map<string, Entry>()
  for (const entry of ancestors)
    if (isTerminal(entry)) ends.set(`${entry.record.stream}\n${entry.record.path as string}`, entry)
  return (query) => {
    const found = sent.filter((e) => {
      const { payload: p, record } = e
      if (p['tool'] !== query.tool) return false
      const same =
        record.path === query.path ||
        (query.businessKey !== undefined && p['businessKey'] === query.businessKey) ||
        p['actionHash'] === query.actionHash
      return same && ends.get(`${record.stream}\n${record.path as string}`)?.payload['effect'] !== 'none'
    })
    const entry = found.at(-1)
    if (entry === undefined) return undefined
    const end = ends.get(`${entry.record.stream}\n${entry.record.path as string}`)?.payload
    const error = end?.['error'] as unknown as ErrorData | undefined
    return {
      ref: refOf(entry.record),
      run: runIdOf(entry.record.stream),
      runs: [...new Set(found.map((e) => runIdOf(e.record.stream)))],
      action: entry.payload['action'] as Json,
      at: entry.record.at,
      ...(end === undefined || error !== undefined ? {} : { result: { value: end['value'] } }),
      ...(error === undefined ? {} : { error }),
    }
  }
}
