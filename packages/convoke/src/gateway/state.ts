import type { Json, JsonObject } from '../core/json.ts'
import { refOf, type Actor, type RecordRef } from '../core/record.ts'
import type { Entry } from '../replay/types.ts'
import type { Escalation } from '../policy/policy.ts'

// A call's state is a fold over the records at its path, so that going on after a crash and going on after an await are
// the same code: act, append, fold again. Nothing else remembers where a call stands.

export interface Dispatch {
  readonly ref: RecordRef
  readonly generation: number
  readonly attempt: number
  readonly worker: string
  /** Milliseconds since the epoch, by the old worker's clock. */
  readonly at: number
  /** How long that try could take. */
  readonly timeoutMs: number
  readonly tenant: string
  /** As recorded: whole, or a reference to its blob. */
  readonly action: JsonObject
}

export interface Open {
  readonly id: string
  readonly ref: RecordRef
  readonly kind: 'call' | 'held-effect' | 'maybe-executed' | 'decision' | 'answer'
  /** Which hold it answers; '' for other kinds. */
  readonly hold: string
  /** What a decision about it must name: of the action and all it is bound to, or of the question. */
  readonly actionHash: string
  readonly policyVersion: string
  readonly at: number
  /** The group that is asked now. */
  readonly group: string | undefined
  /** When it goes ahead unless somebody stops it. */
  readonly actsAt: number | undefined
  readonly expires: number | undefined
  readonly escalate: readonly Escalation[]
  /** Escalations so far, and when the last of them (or the request) was. */
  readonly level: number
  readonly since: number
  readonly worker: string | undefined
  /** So many different people have to agree. */
  readonly quorum: number
  /** Whoever started the run may not. */
  readonly fourEyes: boolean
  readonly category: string | undefined
}

export interface Decision {
  readonly open: Open
  readonly ref: RecordRef
  readonly decision: 'approved' | 'rejected' | 'corrected'
  readonly by: Actor
  readonly reason: string | undefined
  readonly payload: JsonObject
}

export interface Grant {
  readonly hold: string
  readonly binding: string
  readonly policyVersion: string
  readonly expires: number | undefined
  readonly ref: RecordRef
  readonly id: string
  /** Who gave it. */
  readonly by: string
}

export interface CallState {
  /** Input and business key after a person's correction. */
  readonly corrected: { readonly input: Json; readonly businessKey?: string } | undefined
  readonly generation: number
  /** Approvals requested so far. */
  readonly asked: number
  readonly open: Open | undefined
  /** The last decision, until something was made of it. */
  readonly decided: Decision | undefined
  readonly grants: readonly Grant[]
  readonly expired: Open | undefined
  /** Why the last approval was asked again. */
  readonly problem: string | undefined
  /** Sent, and how it ended is not known. */
  readonly dispatch: Dispatch | undefined
  /** The worker that sent it said itself that it does not know the end, and why. */
  readonly doubted: boolean
  readonly doubt: string | undefined
  /** A try of this generation may have had an effect that nobody knows of. */
  readonly uncertain: boolean
  /** Sent so far, of all generations. */
  readonly dispatches: number
  readonly retry: { readonly attempt: number; readonly until: number } | undefined
  readonly retries: number
  /** Times that a reconcilable tool could not say, and when to ask it next. */
  readonly unknowns: number
  readonly reconcileAt: number | undefined
  /** Records by persons that the call rests on. */
  readonly approvals: readonly RecordRef[]
}

/** Kinds of questions whose yes lets something pass, and says nothing else. */
const granting: ReadonlySet<Open['kind']> = new Set(['call', 'held-effect', 'answer'])

/** Most calls have no records of their own yet, and some never do. */
export function fold(history: readonly Entry[]): CallState {
  return history.length === 0 ? untouched : foldAll(history)
}

function foldAll(history: readonly Entry[]): CallState {
  const s = {
    corrected: undefined as CallState['corrected'],
    generation: 0,
    asked: 0,
    open: undefined as Open | undefined,
    decided: undefined as Decision | undefined,
    grants: [] as Grant[],
    expired: undefined as Open | undefined,
    problem: undefined as string | undefined,
    dispatch: undefined as Dispatch | undefined,
    doubted: false,
    doubt: undefined as string | undefined,
    uncertain: false,
    dispatches: 0,
    retry: undefined as CallState['retry'],
    retries: 0,
    unknowns: 0,
    reconcileAt: undefined as number | undefined,
    approvals: [] as RecordRef[],
  }
  for (const { record, payload: p } of history) {
    const ref = refOf(record)
    switch (record.type) {
      case 'approval.requested':
        s.open = opened(ref, record.at, p)
        s.asked++
        s.decided = undefined
        break
      case 'approval.escalated':
        if (s.open !== undefined)
          s.open = {
            ...s.open,
            group: (p['group'] as string | undefined) ?? s.open.group,
            level: (p['level'] as number | undefined) ?? s.open.level,
            since: record.at,
            expires: (p['expires'] as number | undefined) ?? s.open.expires,
          }
        break
      case 'approval.expired':
        s.expired = s.open
        s.open = undefined
        break
      case 'approval.unopposed':
        if (s.open === undefined) break
        s.grants.push(grant(s.open, s.open.actionHash, ref, 'nobody objected'))
        s.open = undefined
        break
      case 'approval.withdrawn':
        s.open = undefined
        s.decided = undefined
        s.problem = p['problem'] as string | undefined
        break
      case 'approval.decided':
        if (s.open === undefined) break
        s.decided = {
          open: s.open,
          ref,
          decision: p['decision'] as Decision['decision'],
          by: record.actor,
          reason: p['reason'] as string | undefined,
          payload: p,
        }
        s.approvals.push(ref)
        s.problem = undefined
        if (p['decision'] === 'approved' && granting.has(s.open.kind)) {
          s.grants.push(grant(s.open, s.open.actionHash, ref, record.actor.id))
          s.decided = undefined
          // All of the group are asked at once; the question stands until enough of them have agreed.
          if (agreed(s.grants, s.open).length < s.open.quorum) break
        }
        s.open = undefined
        break
      case 'action.corrected': {
        const to = p['to'] as JsonObject
        s.corrected = {
          input: to['input'] as Json,
          ...(typeof to['businessKey'] === 'string' ? { businessKey: to['businessKey'] } : {}),
        }
        s.generation = p['generation'] as number
        s.grants =
          s.decided === undefined ? [] : [grant(s.decided.open, p['toHash'] as string, s.decided.ref, s.decided.by.id)]
        s.decided = undefined
        break
      }
      case 'tool.dispatched':
        // A try that left neither an end nor a word about it.
        if (s.dispatch !== undefined && s.retry === undefined) s.uncertain = true
        s.doubted = false
        s.doubt = undefined
        s.dispatch = {
          ref,
          tenant: record.tenant,
          action: p['action'] as JsonObject,
          generation: p['generation'] as number,
          attempt: p['attempt'] as number,
          worker: p['worker'] as string,
          at: record.at,
          timeoutMs: p['timeoutMs'] as number,
        }
        s.dispatches++
        s.retry = undefined
        s.unknowns = 0
        s.reconcileAt = undefined
        break
      case 'tool.retrying':
        s.retry = { attempt: p['attempt'] as number, until: p['until'] as number }
        if (p['ordered'] !== true) s.retries++
        if (p['certain'] !== true) s.uncertain = true
        break
      case 'tool.doubted':
        s.doubted = true
        s.doubt = (p['error'] as JsonObject)['message'] as string
        break
      case 'tool.unreconciled':
        s.unknowns++
        s.reconcileAt = p['until'] as number
        break
      case 'tool.not-executed':
        s.generation = p['generation'] as number
        s.dispatch = undefined
        s.retry = undefined
        s.decided = undefined
        s.uncertain = false
        break
      default:
        break
    }
  }
  return s
}

const untouched: CallState = Object.freeze(foldAll([]))

function opened(ref: RecordRef, at: number, p: JsonObject): Open {
  return {
    id: p['id'] as string,
    ref,
    kind: p['kind'] as Open['kind'],
    // Earlier versions asked one after the other, under `<hold>#2`, `<hold>#3`.
    hold: ((p['hold'] as string | undefined) ?? '').replace(/#\d+$/, ''),
    actionHash: p['actionHash'] as string,
    policyVersion: p['policyVersion'] as string,
    at,
    group: p['group'] as string | undefined,
    actsAt: p['actsAt'] as number | undefined,
    expires: p['expires'] as number | undefined,
    escalate: (p['escalate'] as unknown as readonly Escalation[] | undefined) ?? [],
    level: 0,
    since: at,
    worker: p['worker'] as string | undefined,
    quorum: (p['quorum'] as number | undefined) ?? 1,
    fourEyes: p['fourEyes'] === true,
    category: p['category'] as string | undefined,
  }
}

/** Who has agreed to what a question is about, each once. */
export function agreed(
  grants: readonly Grant[],
  about: { readonly hold: string; readonly actionHash: string; readonly policyVersion: string },
): readonly Grant[] {
  const by = new Map<string, Grant>()
  for (const g of grants)
    if (g.hold === about.hold && g.binding === about.actionHash && g.policyVersion === about.policyVersion)
      by.set(g.by, g)
  return [...by.values()]
}

function grant(open: Open, binding: string, ref: RecordRef, by: string): Grant {
  return { hold: open.hold, binding, policyVersion: open.policyVersion, expires: open.expires, ref, id: open.id, by }
}
