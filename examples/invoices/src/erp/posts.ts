/**
 * One POST, after draft-ietf-httpapi-idempotency-key-header.
 * 1. Effect, stored reply and audit row are one transaction: a process that dies leaves all three or none.
 * 2. A key belongs to the first request that used it: method, path and body. The same again gets the stored reply,
 *    refusals of the business (404, 409) included; anything else under that key gets 422.
 * 3. Replies that say nothing about the effect (400, 409 in flight, 429, 500) are not stored.
 */
import { createHash } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import type { z } from 'zod'
import { recordCall } from './audit.ts'
import type { Call } from './audit.ts'
import { transaction } from './database.ts'
import type { EffectContext } from './effects.ts'
import { problem } from './problem.ts'
import type { Result } from './result.ts'

/** The key of a structured string (`"k"`, RFC 8941) or of a bare token; undefined where it is neither. */
export function parseIdempotencyKey(header: string): string | undefined {
  const quoted = /^"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"$/.exec(header.trim())?.[1]
  if (quoted !== undefined) return quoted.replace(/\\(.)/g, '$1')
  return /^[\x21\x23-\x7e]{1,255}$/.exec(header.trim())?.[0]
}

export interface PostContext {
  db: DatabaseSync
  now: number
  call: Call & { key: string }
  /** Runs right before the commit; tests let the process die there. */
  beforeCommit: () => void
}

export function handlePost<Body>(
  context: PostContext,
  json: unknown,
  schema: z.ZodType<Body>,
  effect: (context: EffectContext, body: Body) => Result,
): Result {
  const { db, now, call } = context
  const fingerprint = createHash('sha256')
    .update(stable([call.method, call.path, json]))
    .digest('hex')
  return transaction(db, () => {
    const stored = db.prepare('SELECT * FROM replies WHERE key = ?').get(call.key)
    if (stored !== undefined && stored['fingerprint'] !== fingerprint) {
      const reused = problem(422, 'IDEMPOTENCY_KEY_REUSED', 'this Idempotency-Key was used for another request')
      recordCall(db, now, call, { applied: 'refused', status: reused.status })
      return reused
    }
    if (stored !== undefined) {
      const replay: Result = {
        status: Number(stored['status']),
        body: JSON.parse(String(stored['body'])) as unknown,
        problem: stored['problem'] === 1,
        headers: { 'Idempotency-Replayed': 'true' },
      }
      recordCall(db, now, call, { applied: 'repeated', status: replay.status })
      return replay
    }
    const parsed = schema.safeParse(json)
    if (!parsed.success) {
      const errors = parsed.error.issues.map((issue) => ({ path: issue.path.join('/'), message: issue.message }))
      const invalid = problem(400, 'BODY_INVALID', errors.map((each) => `${each.path}: ${each.message}`).join('; '), {
        errors,
      })
      recordCall(db, now, call, { applied: 'refused', status: invalid.status })
      return invalid
    }
    const result = effect({ db, now, key: call.key, run: call.run }, parsed.data)
    const done = result.effect === undefined ? 'refused' : 'applied'
    recordCall(db, now, call, { applied: done, status: result.status, effect: result.effect })
    db.prepare('INSERT INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)').run(
      call.key,
      fingerprint,
      result.status,
      result.problem === true ? 1 : 0,
      JSON.stringify(result.body),
      result.effect ?? null,
      now,
    )
    context.beforeCommit()
    return result
  })
}

/** JSON with sorted members: the order in which a client writes them does not make another request. */
function stable(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(stable).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${stable(member)}`).join(',')}}`
}
