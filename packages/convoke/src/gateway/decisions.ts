import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { inboxStream, runStream, type ApprovalRow } from '../core/projections.ts'
import { parseRef, type Actor, type LedgerRecord } from '../core/record.ts'
import type { Ledger } from '../ports/ledger.ts'
import { entryOf } from '../replay/history.ts'

// What people do with approvals, from any process. The run's own process checks every decision again (R10).

export interface DecideOptions {
  readonly tenant: string
  readonly id: string
  /**
   * For a held action: do it, do not, or do `action` instead. For a question (`decision`): `approved` with `value`. For
   * an unknown outcome (`maybe-executed`): `approved` says that it happened and `value` what it gave, `rejected` gives
   * the call up; only `answer: 'repeat'` has it done again.
   */
  readonly decision: 'approved' | 'rejected' | 'corrected'
  readonly by: Actor
  readonly reason?: string
  /** The corrected input, with its business key where that changes. */
  readonly action?: { readonly input: Json; readonly businessKey?: string }
  readonly value?: Json
  readonly answer?: 'happened' | 'repeat' | 'give-up'
  /** The group that decides, where groups are known; must be the one that is asked. */
  readonly group?: string
  /** Hash of what the person was shown, where that is known. */
  readonly actionHash?: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

/**
 * Decides an approval once: of many at the same time, one counts. Where several people have to agree, each says so once.
 * @throws APPROVAL_UNKNOWN, APPROVAL_DECIDED, APPROVAL_EXPIRED, APPROVAL_MISMATCH, SCOPE_DENIED for another group,
 *   INPUT_INVALID for a correction without an action
 */
export async function decideApproval(ledger: Ledger, o: DecideOptions): Promise<void> {
  const row = await pending(ledger, o.tenant, o.id)
  if (row.expires !== undefined && o.at > row.expires)
    throw new ConvokeError('APPROVAL_EXPIRED', `approval ${o.id} lapsed; the action will not be done`, {
      details: { id: o.id, expires: row.expires },
      next: `convoke show ${row.run}`,
    })
  if (o.group !== undefined && row.group !== undefined && o.group !== row.group)
    throw new ConvokeError('SCOPE_DENIED', `approval ${o.id} is asked of ${row.group}, not of ${o.group}`, {
      details: { id: o.id, asked: row.group, group: o.group },
      next: `have somebody of ${row.group} decide, or escalate it: convoke approvals escalate ${o.id}`,
    })
  if (o.actionHash !== undefined && o.actionHash !== row.actionHash)
    throw new ConvokeError('APPROVAL_MISMATCH', `approval ${o.id} is about other bytes than were shown`, {
      details: { id: o.id },
      next: 'look at it again: convoke approvals ls',
    })
  if (o.decision === 'corrected' && o.action === undefined && o.answer === undefined)
    throw new ConvokeError('INPUT_INVALID', `a correction of ${o.id} needs the corrected action`, {
      next: 'give the new input',
    })
  const decision = o.answer === undefined ? o.decision : byAnswer[o.answer]
  const vote = ((await requestOf(ledger, row))['quorum'] as number | undefined) !== undefined
  const posted = await ledger.post(
    { tenant: o.tenant, stream: inboxStream(row.run) },
    {
      id: vote ? JSON.stringify(['approval', o.id, decision, o.by.kind, o.by.id, row.group ?? '']) : `approval:${o.id}`,
      type: 'approval.decided',
      at: o.at,
      actor: o.by,
      payload: {
        id: o.id,
        decision,
        actionHash: row.actionHash,
        ...(vote ? { vote: true } : {}),
        ...(o.reason === undefined ? {} : { reason: o.reason }),
        ...(o.action === undefined ? {} : { action: { ...o.action } }),
        ...(o.value === undefined ? {} : { value: o.value }),
        ...(o.answer === undefined ? {} : { answer: o.answer }),
      },
    },
  )
  if (posted.duplicate && vote)
    throw new ConvokeError('APPROVAL_DECIDED', `${o.by.id} has already said so about approval ${o.id}`, {
      details: { id: o.id, status: 'pending', by: o.by.id },
      next: 'somebody else has to agree as well',
    })
  if (posted.duplicate) throw decided(await ledger.approval(o.tenant, o.id), o.id)
}

const byAnswer = { happened: 'approved', repeat: 'corrected', 'give-up': 'rejected' } as const

export interface EscalateOptions {
  readonly tenant: string
  readonly id: string
  readonly by: Actor
  readonly group?: string
  readonly reason?: string
  readonly at: number
}

/**
 * Asks another group instead: the named one, or the next of the chain.
 * @throws APPROVAL_UNKNOWN, APPROVAL_DECIDED, INPUT_INVALID when there is no next one and none was named
 */
export async function escalateApproval(ledger: Ledger, o: EscalateOptions): Promise<{ readonly group: string }> {
  const row = await pending(ledger, o.tenant, o.id)
  const group = o.group ?? (await nextGroup(ledger, row))
  if (group === undefined)
    throw new ConvokeError('INPUT_INVALID', `approval ${o.id} has nobody further to go to`, {
      details: { id: o.id, group: row.group ?? null },
      next: 'name a group',
    })
  await ledger.post(
    { tenant: o.tenant, stream: inboxStream(row.run) },
    {
      id: `escalate:${o.id}:${row.group ?? ''}:${group}`,
      type: 'approval.decided',
      at: o.at,
      actor: o.by,
      payload: {
        id: o.id,
        decision: 'escalated',
        group,
        ...(o.reason === undefined ? {} : { reason: o.reason }),
      },
    },
  )
  return { group }
}

async function nextGroup(ledger: Ledger, row: ApprovalRow): Promise<string | undefined> {
  const chain = ((await requestOf(ledger, row))['escalate'] as readonly JsonObject[] | undefined) ?? []
  const at = chain.findIndex((step) => step['group'] === row.group)
  return chain[at + 1]?.['group'] as string | undefined
}

/** What was asked, as it was recorded. */
async function requestOf(ledger: Ledger, row: ApprovalRow): Promise<JsonObject> {
  const { seq } = parseRef(row.ref)
  const [record] = await ledger.read({ tenant: row.tenant, stream: runStream(row.run) }, { from: seq, limit: 1 })
  return (await entryOf(ledger, record as LedgerRecord)).payload
}

async function pending(ledger: Ledger, tenant: string, id: string): Promise<ApprovalRow> {
  const row = await ledger.approval(tenant, id)
  if (row === undefined)
    throw new ConvokeError('APPROVAL_UNKNOWN', `no approval ${id}`, {
      details: { id },
      next: 'convoke approvals ls',
    })
  if (row.status !== 'pending') throw decided(row, id)
  return row
}

function decided(row: ApprovalRow | undefined, id: string): ConvokeError {
  const by = row?.decidedBy === undefined ? '' : ` by ${row.decidedBy}`
  return new ConvokeError('APPROVAL_DECIDED', `approval ${id} is already ${row?.status ?? 'decided'}${by}`, {
    details: {
      id,
      status: row?.status ?? 'decided',
      ...(row?.decidedBy === undefined ? {} : { by: row.decidedBy }),
      ...(row?.decidedAt === undefined ? {} : { at: row.decidedAt }),
    },
    next: row === undefined ? 'convoke approvals ls' : `convoke why ${row.run} ${row.path}`,
  })
}
