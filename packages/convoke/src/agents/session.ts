import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { isLabelled, labelsJson } from '../core/labels.ts'
import type { Scope } from '../replay/scope.ts'
import type { Entry } from '../replay/types.ts'
import type { SessionState } from './conversation.ts'

// A session is where a conversation that several asks share stands. It is kept as a board cell, so that it rolls back
// with its scope and counts as read. Two asks that go on with one session at once both start from the same place, and
// the one that finishes last is where it stands.

function cellName(role: string, session: string): string {
  return `~session:${role}:${session}`
}

export function sessionOf(scope: Scope, role: string, session: string): SessionState | undefined {
  const key = cellName(role, session)
  const value = scope.cell(key)?.value
  scope.noteRead({
    kind: 'board',
    key,
    at: value === undefined ? '' : sha256(JSON.stringify(value)).slice(0, 16),
  })
  return value as unknown as SessionState | undefined
}

/** Moves the session on when the record of an ask says so. */
export function keepSession(scope: Scope, entry: Entry): void {
  const session = (entry.payload['value'] as JsonObject | undefined)?.['session'] as JsonObject | undefined
  if (session === undefined) return
  const { role, name, base, digest, segments } = session
  if (typeof role !== 'string' || typeof name !== 'string') return
  const key = cellName(role, name)
  scope.transaction.board?.set(key, {
    value: {
      base,
      digest,
      segments,
      ...(isLabelled(entry.record.labels) ? { labels: labelsJson(entry.record.labels) } : {}),
    } as unknown as Json,
    version: (scope.cell(key)?.version ?? 0) + 1,
    ref: `${entry.record.stream}@${entry.record.seq}`,
  })
}
