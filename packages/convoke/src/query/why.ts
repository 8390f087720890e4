import { ConvokeError, type ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { isEnded, type RunStatus } from '../core/projections.ts'
import type { CauseKind, RecordRef } from '../core/record.ts'
import { approvalsIn, sentBy, type ApprovalStory, type Sent } from './approvals.ts'
import { findTarget, traceBack, type Link } from './causes.ts'
import { claimsOf, rejectionsIn, verdictOf, type Claim, type Rejection, type Verdict } from './evidence.ts'
import { object, readRun, text, type Entry, type Readable, type RunRecords } from './records.ts'
import { relabelledIn, type RelabelStory } from './relabelled.ts'
import { stepsOf, walkSteps, type By, type Step } from './steps.ts'
import { addUsage, noUsage, type Usage } from './usage.ts'

export interface WhyOptions {
  /** Also follows what a step merely came after. */
  readonly control?: boolean
}

/** One link of the chain: a step, and what is known of how it came about. Times in milliseconds since the epoch. */
export interface WhyStep {
  readonly ref: RecordRef
  readonly path: string
  readonly name: string
  readonly op: string
  readonly target?: string
  readonly by: By & { readonly actor: string }
  readonly state: Step['state'] | 'superseded'
  readonly at: number
  readonly ms: number
  readonly value?: Json
  readonly error?: ErrorData
  readonly confidence?: Json
  readonly reasoning?: string
  readonly claims: readonly Claim[]
  /** Answers that went back to the agent, verdicts against it, and retries of its models and tools. */
  readonly rejected: readonly Rejection[]
  /** What verifiers said of it. */
  readonly verdicts: readonly Verdict[]
  readonly approvals: readonly ApprovalStory[]
  /** Acts of endorsing and declassifying, each with the person or function that vouched for the value. */
  readonly relabelled: readonly RelabelStory[]
  readonly sent?: Sent
  /** What it was built on; `ref` may stand in another stream. */
  readonly from: readonly { readonly ref: RecordRef; readonly kind: CauseKind; readonly path?: string }[]
  readonly usage: Usage
  readonly reused?: RecordRef
  /** The ancestor that executed it, in a fork. */
  readonly run?: string
  /** What stood here before a person put another value in its place. */
  readonly superseded?: { readonly was: Json; readonly pointer: string; readonly by: string; readonly ref: RecordRef }
}

export interface WhyAttempt {
  readonly path: string
  readonly alternatives: readonly {
    readonly name: string
    readonly path: string
    readonly kept: boolean
    readonly by: readonly By[]
    readonly reason?: ErrorData
    readonly rejected: readonly Rejection[]
  }[]
}

export interface Why {
  readonly tenant: string
  readonly run: string
  readonly workflow: string
  readonly version: string
  readonly status: RunStatus
  /** What a parked run waits for. */
  readonly parkedOn?: string
  readonly startedAt: number
  readonly ms: number
  readonly input?: Json
  /** What was asked about, when not the run as a whole. */
  readonly about?: { readonly ref: RecordRef; readonly path?: string; readonly type: string }
  readonly decided: {
    readonly ref?: RecordRef
    readonly value?: Json
    readonly error?: ErrorData
    readonly waiting?: string
    readonly next?: string
  }
  readonly fork?: {
    readonly run: string
    readonly at: number
    readonly reuse: string
    readonly effects: string
    readonly use: Readonly<Record<string, string>>
  }
  /** In the order in which things happened. */
  readonly chain: readonly WhyStep[]
  readonly attempts: readonly WhyAttempt[]
  /** Paths of finished steps that nothing in the chain was built on. */
  readonly apart: readonly string[]
  /** Of the whole run. */
  readonly usage: Usage
}

/**
 * Why a run, a step or a record is as it is: causes walked backwards, and at each what was tried, cited and approved.
 * `target` is a step's path or a record, `<stream>@<seq>` or its seq in the run.
 * @throws RUN_UNKNOWN, RECORD_UNKNOWN
 */
export async function why(
  ledger: Readable,
  tenant: string,
  run: string,
  target?: string,
  options: WhyOptions = {},
): Promise<Why> {
  const records = await readRun(ledger, tenant, run)
  const steps = stepsOf(records)
  const about = target === undefined ? undefined : findTarget(records, target)
  if (target !== undefined && about === undefined)
    throw new ConvokeError('RECORD_UNKNOWN', `run ${run} has no step or record ${JSON.stringify(target)}`, {
      details: { run, target },
      next: `convoke show ${run}`,
    })
  const trace = await traceBack(ledger, records, about, options.control === true)
  const byPath = new Map([...walkSteps(steps)].map((step) => [step.path, step]))
  const chain: WhyStep[] = []
  for (const link of trace.links) {
    const step = link.path === undefined ? undefined : byPath.get(link.path)
    chain.push(step === undefined ? otherStep(link) : stepWhy(step, link, records, trace.verdicts.get(link.ref) ?? []))
  }
  const { row } = records
  return {
    tenant,
    run,
    workflow: row.workflow,
    version: row.version,
    status: row.status,
    ...(row.parkedOn === undefined ? {} : { parkedOn: row.parkedOn }),
    startedAt: row.startedAt,
    ms: row.updatedAt - row.startedAt,
    ...(records.input === undefined ? {} : { input: records.input }),
    ...(about === undefined
      ? {}
      : {
          about: {
            ref: about.ref,
            type: about.record.type,
            ...(about.record.path === undefined ? {} : { path: about.record.path }),
          },
        }),
    decided: about === undefined ? ofRun(records) : ofRecord(about),
    ...(records.fork === undefined ? {} : { fork: records.fork }),
    chain,
    attempts: attemptsIn(steps, about),
    apart: about === undefined ? trace.apart : [],
    usage: steps.map((s) => s.usage).reduce(addUsage, noUsage),
  }
}

function stepWhy(step: Step, link: Link, records: RunRecords, verdicts: readonly Entry[]): WhyStep {
  const outcome = step.op === 'ask' ? object(step.value) : undefined
  const superseded = records.all.findLast(
    (e) => e.record.type === 'value.superseded' && e.payload['path'] === step.path,
  )
  const value = superseded?.payload['value'] ?? (outcome === undefined ? step.value : outcome['value'])
  const reasoning = text(outcome?.['reasoning'])
  const inside = [...walkSteps([step])]
  const sent = sentBy(step.entries)
  const ended = step.endedAt ?? records.row.updatedAt
  return {
    ref: link.ref,
    path: step.path,
    name: step.name,
    op: step.op,
    ...(step.target === undefined ? {} : { target: step.target }),
    by: { ...step.by, actor: `${link.entry.record.actor.kind}:${link.entry.record.actor.id}` },
    state: superseded === undefined ? step.state : 'superseded',
    at: link.entry.record.at,
    ms: Math.max(0, ended - step.startedAt),
    ...(value === undefined ? {} : { value: superseded === undefined ? value : valueOfOutcome(step, value) }),
    ...(step.error === undefined ? {} : { error: step.error }),
    ...(outcome?.['confidence'] === undefined ? {} : { confidence: outcome['confidence'] as Json }),
    ...(reasoning === undefined ? {} : { reasoning }),
    claims: claimsOf(outcome, records),
    rejected: inside.flatMap((s) => rejectionsIn(s)),
    verdicts: verdicts.map(verdictOf),
    approvals: approvalsIn(inside.flatMap((s) => s.entries)),
    relabelled: inside.flatMap((s) => relabelledIn(s)),
    ...(sent === undefined ? {} : { sent }),
    from: link.from,
    usage: step.usage,
    ...(step.reused === undefined ? {} : { reused: step.reused }),
    ...(step.from === undefined ? {} : { run: step.from }),
    ...(superseded === undefined
      ? {}
      : {
          superseded: {
            was: valueOfOutcome(step, superseded.payload['was'] ?? null),
            pointer: text(superseded.payload['pointer']) ?? '',
            by: superseded.record.actor.id,
            ref: superseded.ref,
          },
        }),
  }
}

/** An ask's record holds the whole outcome; people ask about its value. */
function valueOfOutcome(step: Step, value: Json): Json {
  return step.op === 'ask' ? (object(value)?.['value'] ?? value) : value
}

/** A record that is no step of this run: a message that came in, or a record of another stream. */
function otherStep(link: Link): WhyStep {
  const { record, payload } = link.entry
  const message = object(payload['message'])
  const inner = object(message?.['payload'])
  const name =
    message === undefined
      ? record.type
      : `${text(message['type']) ?? 'message'} ${text(inner?.['name']) ?? text(inner?.['id']) ?? ''}`.trim()
  const value = inner?.['value'] ?? payload['value']
  return {
    ref: link.ref,
    path: record.path ?? '',
    name,
    op: message === undefined ? 'record' : 'message',
    by: { actor: `${record.actor.kind}:${record.actor.id}` },
    state: 'done',
    at: record.at,
    ms: 0,
    ...(value === undefined ? {} : { value }),
    claims: [],
    rejected: [],
    verdicts: [],
    approvals: [],
    relabelled: [],
    from: link.from,
    usage: noUsage,
  }
}

function ofRun({ own, row }: RunRecords): Why['decided'] {
  const last = own.at(-1) as Entry
  if (isEnded(row.status)) {
    const error = last.payload['error'] as unknown as ErrorData | undefined
    const next = text(last.payload['next'])
    return {
      ref: last.ref,
      ...(last.payload['value'] === undefined ? {} : { value: last.payload['value'] }),
      ...(error === undefined ? {} : { error }),
      ...(next === undefined ? {} : { next }),
    }
  }
  const stopped = own.findLast((e) => e.record.type === 'run.stopped')
  if (row.status === 'stopped' && stopped !== undefined)
    return { ref: stopped.ref, error: stopped.payload as unknown as ErrorData }
  return row.parkedOn === undefined ? {} : { waiting: row.parkedOn }
}

function ofRecord(about: Entry): Why['decided'] {
  const { payload: p } = about
  const value = p['op'] === 'ask' ? object(p['value'])?.['value'] : p['value']
  const error = p['error'] as unknown as ErrorData | undefined
  return {
    ref: about.ref,
    ...(value === undefined ? {} : { value }),
    ...(error === undefined ? {} : { error }),
  }
}

/** What was tried and given up: of the whole run, or up to the record that is asked about in its own scopes. */
function attemptsIn(steps: readonly Step[], about: Entry | undefined): readonly WhyAttempt[] {
  const found: WhyAttempt[] = []
  for (const step of walkSteps(steps)) {
    const tried = step.children.filter((c) =>
      c.entries.some((e) => e.record.type === 'attempt.rolledback' || e.record.type === 'attempt.committed'),
    )
    if (step.op !== 'scope' || tried.length === 0) continue
    if (about !== undefined && !(about.record.path ?? '').startsWith(`${step.path}/`)) continue
    found.push({
      path: step.path,
      alternatives: tried.map((alternative) => ({
        name: alternative.name,
        path: alternative.path,
        kept: alternative.state !== 'rolled back',
        by: [...walkSteps(alternative.children)].filter((s) => s.op === 'ask').map((s) => s.by),
        ...(alternative.reason === undefined ? {} : { reason: alternative.reason }),
        rejected: [...walkSteps([alternative])].flatMap((s) => rejectionsIn(s)),
      })),
    })
  }
  return found
}
