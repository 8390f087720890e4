import type { Json, JsonObject } from './json.ts'
import type { LedgerRecord } from './record.ts'

// What a ledger keeps beside its records, in the append's own transaction: one row a run, one row an approval. Only
// records that change a status say anything here, so that a step costs no projection. `project` is pure and shared by
// all ledgers; a projection can be thrown away and rebuilt by running it over the records again.

export const projectionVersion = 1

export type RunStatus = 'queued' | 'running' | 'parked' | 'stopped' | 'done' | 'failed' | 'cancelled' | 'continued'
export type ParkKind = 'person' | 'timer' | 'signal' | 'child' | 'limit' | 'budget' | 'breaker'

export interface RunRow {
  readonly tenant: string
  /** The id without the stream's kind: `run/<id>`. */
  readonly run: string
  readonly workflow: string
  readonly version: string
  readonly status: RunStatus
  readonly parkedOn?: ParkKind
  /** When it should be driven next, in milliseconds; absent when nothing is due. */
  readonly due?: number
  readonly priority: number
  readonly tags: readonly string[]
  readonly startedAt: number
  readonly updatedAt: number
  readonly parent?: string
  readonly root: string
  readonly forkOf?: string
  /** Code of the error that ended or stopped it. */
  readonly error?: string
  /** When its records were archived, in milliseconds: this row and its streams' heads are all that is left of it here. */
  readonly archived?: number
}

export type ApprovalStatus = 'pending' | 'approved' | 'rejected' | 'corrected' | 'expired' | 'withdrawn'

export interface ApprovalRow {
  readonly tenant: string
  readonly id: string
  readonly run: string
  readonly path: string
  /** `call`: a held tool call. `decision`: a question of the workflow. `maybe-executed`: an unknown outcome. `held-effect`: a fork's effect. `answer`: what a tool or a model answered. */
  readonly kind: 'call' | 'decision' | 'maybe-executed' | 'held-effect' | 'answer'
  readonly title: string
  readonly category?: string
  /** Group that is asked now; escalation changes it. */
  readonly group?: string
  /** The exact bytes that would be executed, as the gateway holds them; or the question. */
  readonly action: Json
  readonly actionHash: string
  readonly status: ApprovalStatus
  readonly requestedAt: number
  readonly expires?: number
  readonly decidedBy?: string
  readonly decidedAt?: number
  /** The record that requested it. */
  readonly ref: string
}

export type Change =
  | {
      readonly kind: 'run'
      readonly run: string
      readonly set: Partial<RunRow> & { readonly dueClear?: true; readonly parkedClear?: true }
    }
  | { readonly kind: 'approval'; readonly id: string; readonly set: Partial<ApprovalRow> }
  /** Something came in for a run: due now unless it has ended. */
  | { readonly kind: 'wake'; readonly run: string; readonly at: number }

export function runStream(run: string): string {
  return `run/${run}`
}
export function inboxStream(run: string): string {
  return `inbox/${run}`
}
export function runIdOf(stream: string): string {
  return stream.slice(stream.indexOf('/') + 1)
}

const ended = {
  'run.completed': 'done',
  'run.failed': 'failed',
  'run.cancelled': 'cancelled',
  'run.continued': 'continued',
} as const

export function isEnded(status: RunStatus): boolean {
  return status === 'done' || status === 'failed' || status === 'cancelled' || status === 'continued'
}

export function project(record: LedgerRecord): readonly Change[] {
  if (record.stream.startsWith('inbox/')) return projectInbox(record)
  if (!record.stream.startsWith('run/')) return []
  const run = runIdOf(record.stream)
  const p = record.payload as JsonObject
  switch (record.type) {
    case 'run.started':
      return [{ kind: 'run', run, set: started(record, run, p) }]
    case 'run.parked':
      return [
        {
          kind: 'run',
          run,
          set: {
            status: 'parked',
            parkedOn: p['kind'] as ParkKind,
            updatedAt: record.at,
            ...(typeof p['next'] === 'number' ? { due: p['next'] } : { dueClear: true }),
          },
        },
      ]
    case 'run.resumed':
      return [{ kind: 'run', run, set: { status: 'running', parkedClear: true, updatedAt: record.at } }]
    case 'run.stopped':
      return [
        {
          kind: 'run',
          run,
          set: {
            status: 'stopped',
            error: p['code'] as string,
            parkedClear: true,
            dueClear: true,
            updatedAt: record.at,
          },
        },
      ]
    case 'run.completed':
    case 'run.failed':
    case 'run.cancelled':
    case 'run.continued': {
      const code = (p['error'] as JsonObject | undefined)?.['code'] as string | undefined
      return [
        {
          kind: 'run',
          run,
          set: {
            status: ended[record.type],
            updatedAt: record.at,
            dueClear: true,
            parkedClear: true,
            ...(code === undefined ? {} : { error: code }),
          },
        },
      ]
    }
    case 'approval.requested':
      return [{ kind: 'approval', id: p['id'] as string, set: requested(record, run, p) }]
    case 'approval.escalated':
      return [
        {
          kind: 'approval',
          id: p['id'] as string,
          set: { group: p['group'] as string, ...(typeof p['expires'] === 'number' ? { expires: p['expires'] } : {}) },
        },
      ]
    case 'approval.decided': {
      // One of several who have to agree: the question stands until enough have, or one says no. Others are decided by
      // the message itself.
      const quorum = p['quorum'] as { readonly have: number; readonly of: number } | undefined
      if (quorum === undefined || (p['decision'] === 'approved' && quorum.have < quorum.of)) return []
      const status = p['decision'] as 'approved' | 'rejected' | 'corrected'
      return [
        {
          kind: 'approval',
          id: p['id'] as string,
          set: { status, decidedBy: record.actor.id, decidedAt: record.at },
        },
      ]
    }
    case 'approval.unopposed':
      return [
        {
          kind: 'approval',
          id: p['id'] as string,
          set: { status: 'approved', decidedBy: 'nobody', decidedAt: record.at },
        },
      ]
    case 'approval.expired':
    case 'approval.withdrawn':
      return [
        {
          kind: 'approval',
          id: p['id'] as string,
          set: { status: record.type === 'approval.expired' ? 'expired' : 'withdrawn', decidedAt: record.at },
        },
      ]
    default:
      return []
  }
}

function projectInbox(record: LedgerRecord): readonly Change[] {
  const run = runIdOf(record.stream)
  const wake: Change = { kind: 'wake', run, at: record.at }
  if (record.type !== 'approval.decided') return [wake]
  const p = record.payload as JsonObject
  // A person may pass the question on; it stays open.
  if (p['decision'] === 'escalated')
    return [wake, { kind: 'approval', id: p['id'] as string, set: { group: p['group'] as string } }]
  // One of several: the run counts it.
  if (p['vote'] === true) return [wake]
  const decision = p['decision'] as 'approved' | 'rejected' | 'corrected'
  return [
    wake,
    {
      kind: 'approval',
      id: p['id'] as string,
      set: { status: decision, decidedBy: record.actor.id, decidedAt: record.at },
    },
  ]
}

function started(record: LedgerRecord, run: string, p: JsonObject): Partial<RunRow> {
  return {
    tenant: record.tenant,
    run,
    workflow: p['workflow'] as string,
    version: p['version'] as string,
    status: 'queued',
    due: (p['notBefore'] as number | undefined) ?? record.at,
    priority: (p['priority'] as number | undefined) ?? 0,
    tags: (p['tags'] as readonly string[] | undefined) ?? [],
    startedAt: record.at,
    updatedAt: record.at,
    root: (p['root'] as string | undefined) ?? run,
    ...(typeof p['parent'] === 'string' ? { parent: p['parent'] } : {}),
    ...(typeof p['forkOf'] === 'string' ? { forkOf: p['forkOf'] } : {}),
  }
}

function requested(record: LedgerRecord, run: string, p: JsonObject): Partial<ApprovalRow> {
  return {
    tenant: record.tenant,
    id: p['id'] as string,
    run,
    path: record.path ?? '',
    kind: p['kind'] as ApprovalRow['kind'],
    title: p['title'] as string,
    action: p['action'] as Json,
    actionHash: p['actionHash'] as string,
    status: 'pending',
    requestedAt: record.at,
    ref: `${record.stream}@${record.seq}`,
    ...(typeof p['category'] === 'string' ? { category: p['category'] } : {}),
    ...(typeof p['group'] === 'string' ? { group: p['group'] } : {}),
    ...(typeof p['expires'] === 'number' ? { expires: p['expires'] } : {}),
  }
}
