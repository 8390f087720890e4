import type { JsonObject } from '../core/json.ts'
import type { Actor, LedgerRecord, RecordRef } from '../core/record.ts'
import type { Ledger } from '../ports/ledger.ts'
import { appendPolicy, readPolicy, type PolicyDraft } from './log.ts'

// Trust that is earned: the stream `policy/trust` holds what people decided about calls of categories that can earn
// trust, and each change of a category's mode. The mode is a fold over it; nothing else remembers it.

export const trustStream = 'policy/trust'

/** `approval`: people are asked. `monitoring`: the call goes ahead and people are told. */
export type Mode = 'approval' | 'monitoring'

export interface Standing {
  readonly mode: Mode
  /** Approvals in a row without a correction. */
  readonly approvals: number
  /** The record that says why it is so. */
  readonly ref?: RecordRef
}

/** How a person judged one call of a category. */
export interface Judged {
  readonly category: string
  /** Of the approval, or of the remark; the same again counts once. */
  readonly id: string
  readonly unedited: boolean
  readonly by: Actor
  readonly run: string
  readonly path: string
}

export interface TrustBook {
  standing(category: string): Promise<Standing>
  /** Notes a decision; `after` approvals in a row raise the category to monitoring, anything else takes it back. */
  judged(judged: Judged, after: number): Promise<void>
}

const untrusted: Standing = { mode: 'approval', approvals: 0 }

/** @param salt gives 32 random hexadecimal digits */
export function trustBook(ledger: Ledger, tenant: string, clock: { now(): number }, salt: () => string): TrustBook {
  return {
    standing: async (category) => standings(await readPolicy(ledger, tenant, trustStream)).get(category) ?? untrusted,
    async judged(its, after) {
      await appendPolicy(ledger, tenant, trustStream, (records) => {
        const seen = records.some((r) => r.type === 'trust.judged' && (r.payload as JsonObject)['id'] === its.id)
        if (seen) return []
        const { category, id, unedited, by, run, path } = its
        const made = (type: string, payload: JsonObject): PolicyDraft => ({
          type,
          payload: { category, ...payload },
          actor: by,
          at: Math.floor(clock.now()),
          salt: salt(),
        })
        const drafts = [made('trust.judged', { id, unedited, run, path })]
        const { mode, approvals } = standings(records).get(category) ?? untrusted
        if (unedited && mode === 'approval' && approvals + 1 >= after)
          drafts.push(made('trust.mode', { mode: 'monitoring', approvals: approvals + 1, after, id }))
        if (!unedited && mode === 'monitoring') drafts.push(made('trust.mode', { mode: 'approval', id, run, path }))
        return drafts
      })
    },
  }
}

export function standings(records: readonly LedgerRecord[]): ReadonlyMap<string, Standing> {
  const all = new Map<string, Standing>()
  for (const record of records) {
    const p = record.payload as JsonObject
    const category = p['category'] as string
    const before = all.get(category) ?? untrusted
    if (record.type === 'trust.judged')
      all.set(category, { ...before, approvals: p['unedited'] === true ? before.approvals + 1 : 0 })
    if (record.type === 'trust.mode')
      all.set(category, {
        mode: p['mode'] as Mode,
        approvals: p['mode'] === 'monitoring' ? before.approvals : 0,
        ref: `${record.stream}@${record.seq}`,
      })
  }
  return all
}
