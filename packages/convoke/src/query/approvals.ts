import type { ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { RecordRef } from '../core/record.ts'
import { list, object, text, type Entry } from './records.ts'

/** One place where a correction differs from what was asked for; a side that has nothing there is absent. */
export interface Change {
  /** JSON Pointer (RFC 6901) into the action. */
  readonly pointer: string
  readonly before?: Json
  readonly after?: Json
}

/** What became of one question to a person. Times in milliseconds since the epoch. */
export interface ApprovalStory {
  readonly id: string
  readonly ref: RecordRef
  readonly path: string
  readonly kind: string
  readonly title: string
  readonly category?: string
  readonly group?: string
  readonly requestedAt: number
  readonly expires?: number
  readonly action: Json
  readonly state: 'pending' | 'approved' | 'rejected' | 'corrected' | 'expired' | 'withdrawn'
  readonly by?: string
  readonly at?: number
  readonly reason?: string
  /** Where several people have to agree: how many, and who has so far. */
  readonly quorum?: number
  readonly agreed?: readonly { readonly by: string; readonly at: number }[]
  readonly answer?: Json
  readonly changes: readonly Change[]
  readonly escalated: readonly { readonly group: string; readonly at: number; readonly by: string }[]
  /** Why it was withdrawn, or asked again. */
  readonly problem?: string
}

type Draft = { -readonly [K in keyof ApprovalStory]: ApprovalStory[K] } & {
  escalated: { group: string; at: number; by: string }[]
}

/** The questions asked at one path, in order, each with its end. */
export function approvalsIn(entries: readonly Entry[]): readonly ApprovalStory[] {
  const stories = new Map<string, Draft>()
  for (const { ref, record, payload: p } of entries) {
    const id = text(p['id'])
    if (id === undefined) continue
    if (record.type === 'approval.requested') {
      stories.set(id, {
        id,
        ref,
        path: record.path ?? '',
        kind: text(p['kind']) ?? 'call',
        title: text(p['title']) ?? id,
        requestedAt: record.at,
        action: p['action'] ?? null,
        state: 'pending',
        changes: [],
        escalated: [],
        ...(text(p['category']) === undefined ? {} : { category: text(p['category']) as string }),
        ...(text(p['group']) === undefined ? {} : { group: text(p['group']) as string }),
        ...(typeof p['expires'] === 'number' ? { expires: p['expires'] } : {}),
        ...(text(p['problem']) === undefined ? {} : { problem: text(p['problem']) as string }),
        ...(typeof p['quorum'] === 'number' ? { quorum: p['quorum'], agreed: [] } : {}),
      })
      continue
    }
    const story = stories.get(id)
    if (story === undefined) continue
    switch (record.type) {
      case 'approval.escalated':
        story.group = text(p['group']) ?? ''
        story.escalated.push({ group: story.group, at: record.at, by: record.actor.id })
        break
      case 'approval.expired':
      case 'approval.withdrawn':
        story.state = record.type === 'approval.expired' ? 'expired' : 'withdrawn'
        story.at = record.at
        if (text(p['problem']) !== undefined) story.problem = text(p['problem']) as string
        break
      case 'approval.discounted':
        story.problem = text(p['problem']) ?? ''
        break
      case 'approval.decided':
        if (story.quorum !== undefined && p['decision'] === 'approved') {
          story.agreed = [...(story.agreed ?? []), { by: record.actor.id, at: record.at }]
          if (Number(object(p['quorum'])?.['have']) < story.quorum) break
        }
        story.state = p['decision'] as ApprovalStory['state']
        story.by = record.actor.id
        story.at = record.at
        if (text(p['reason']) !== undefined) story.reason = text(p['reason']) as string
        if (p['value'] !== undefined) story.answer = p['value']
        break
      case 'action.corrected':
        story.changes = list(p['diff']).map((change) => object(change) as unknown as Change)
        break
      default:
        break
    }
  }
  return [...stories.values()]
}

/** A call that was sent: how often, and what is known of its effect. */
export interface Sent {
  readonly times: number
  readonly effect?: string
  readonly idempotencyKey?: string
  readonly businessKey?: string
  readonly retries: readonly ErrorData[]
}

export function sentBy(entries: readonly Entry[]): Sent | undefined {
  const sent = entries.filter((e) => e.record.type === 'tool.dispatched')
  const last = sent.at(-1)
  if (last === undefined) return undefined
  const pick = (key: string): string | undefined => text(last.payload[key])
  const effect = pick('effect')
  const idempotencyKey = pick('idempotencyKey')
  const businessKey = pick('businessKey')
  return {
    times: sent.length,
    ...(effect === undefined ? {} : { effect }),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    ...(businessKey === undefined ? {} : { businessKey }),
    retries: entries
      .filter((e) => e.record.type === 'tool.retrying')
      .map((e) => e.payload['error'] as unknown as ErrorData),
  }
}
