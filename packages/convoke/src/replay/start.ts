import { decode } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { noLabels, type Labels } from '../core/labels.ts'
import { inboxStream, runStream } from '../core/projections.ts'
import {
  emptyHead,
  seal,
  type Actor,
  type Blob,
  type Cause,
  type Draft,
  type LedgerRecord,
  type Sealed,
} from '../core/record.ts'
import type { Claim, InboxMessage, Ledger, StreamAppend, WorkerId } from '../ports/ledger.ts'
import type { Clock, Ids } from '../ports/runtime.ts'
import type { Begun } from './begun.ts'
import type { Successor } from './outcome.ts'
import type { AnyWorkflow } from './workflow.ts'

export interface RunStart {
  readonly tenant: string
  readonly run: string
  readonly workflow: AnyWorkflow
  readonly input: unknown
  readonly actor: Actor
  readonly labels?: Labels
  readonly tags?: readonly string[]
  readonly priority?: number
  readonly notBefore?: number
  readonly parent?: { readonly run: string; readonly path: string }
  readonly root?: string
  readonly continues?: string
  readonly source?: JsonObject
  readonly causes?: readonly Cause[]
  /** Set for forks only. */
  readonly fork?: JsonObject
  readonly seed?: string
  /** What the run is bound to; rooms above know what it means. Children are bound to it as well. */
  readonly bounds?: Json
}

/** What a run that goes on in another's place, or is a fork of it, has from that one. */
export function inherited(started: JsonObject): Pick<RunStart, 'tags' | 'bounds'> {
  const { tags, bounds } = started
  return {
    tags: (tags as readonly string[] | undefined) ?? [],
    ...(bounds === undefined ? {} : { bounds }),
  }
}

export interface StartDeps {
  readonly ledger: Ledger
  readonly clock: Clock
  readonly ids: Ids
  readonly redact: (value: Json) => Json
  /** Told of the run, where this process may drive it. */
  readonly begun?: Begun | undefined
}

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._:~-]{0,127}$/

/** The first two records of a run: what it is, then what it was given. */
export function startRecords(
  start: RunStart,
  deps: Omit<StartDeps, 'ledger'>,
): { readonly append: StreamAppend; readonly blobs: Blob[]; readonly records: LedgerRecord[] } {
  if (!idPattern.test(start.run))
    throw new ConvokeError('NAME_INVALID', `${JSON.stringify(start.run)} cannot be a run id`, {
      next: 'use letters, digits, and . _ : ~ - after the first, 128 at most',
    })
  const stream = runStream(start.run)
  const at = Math.floor(deps.clock.now())
  const place = { tenant: start.tenant, stream, epoch: 0, at }
  const who = { actor: start.actor, labels: start.labels ?? noLabels }
  const first = seal(
    {
      ...who,
      type: 'run.started',
      critical: true,
      causes: start.causes ?? [],
      payload: deps.redact({
        workflow: start.workflow.name,
        version: start.workflow.version,
        digest: start.workflow.digest,
        root: start.root ?? start.run,
        seed: start.seed ?? deps.ids.salt(),
        ...(start.parent === undefined ? {} : { parent: start.parent.run, parentPath: start.parent.path }),
        ...(start.continues === undefined ? {} : { continues: start.continues }),
        ...(start.tags === undefined || start.tags.length === 0 ? {} : { tags: start.tags }),
        ...(start.priority === undefined ? {} : { priority: start.priority }),
        ...(start.notBefore === undefined ? {} : { notBefore: start.notBefore }),
        ...(start.source === undefined ? {} : { source: start.source }),
        ...(start.bounds === undefined ? {} : { bounds: start.bounds }),
        ...(start.fork === undefined ? {} : { fork: start.fork, forkOf: start.fork['run'] as string }),
      }),
    },
    { ...place, head: emptyHead, salt: deps.ids.salt() },
  )
  const second = seal(
    {
      ...who,
      type: 'run.input',
      critical: true,
      payload: deps.redact(start.input === undefined ? {} : { value: start.input as Json }),
    },
    { ...place, head: first.record, salt: deps.ids.salt() },
  )
  const sealed: Sealed[] = [first, second]
  const records = sealed.map((s) => s.record)
  return {
    append: { ref: { tenant: start.tenant, stream }, epoch: 0, records },
    blobs: sealed.flatMap((s) => s.spilled ?? []),
    records,
  }
}

/**
 * Starts a run, once for its id: the same workflow and input again find the run that is there.
 * @throws RUN_EXISTS when the id belongs to another workflow or input
 */
export async function startRun(start: RunStart, deps: StartDeps): Promise<{ readonly existed: boolean }> {
  return await beginRun(prepareRun(start, deps), deps)
}

/** A run whose records are made and in no ledger yet. */
export interface PreparedRun extends ReturnType<typeof startRecords> {
  readonly start: RunStart
}

export function prepareRun(start: RunStart, deps: Omit<StartDeps, 'ledger'>): PreparedRun {
  return { start, ...startRecords(start, deps) }
}

/**
 * `worker`: for whom it is to be claimed with its first records, where the ledger can; `claim` says whether it was.
 * @throws RUN_EXISTS, as `startRun` does
 */
export async function beginRun(
  prepared: PreparedRun,
  { ledger, begun, worker }: Pick<StartDeps, 'ledger' | 'begun'> & { readonly worker?: WorkerId | undefined },
): Promise<{ readonly existed: boolean; readonly claim?: Claim | undefined }> {
  const { start, append, blobs, records } = prepared
  // Before anybody can drive it, or write to it.
  begun?.add(append.ref, records)
  try {
    if (worker !== undefined && ledger.begin !== undefined)
      return { existed: false, claim: await ledger.begin(append, worker, { blobs }) }
    await ledger.append([append], { blobs })
    return { existed: false }
  } catch (error) {
    begun?.drop(append.ref)
    if (!(error instanceof ConvokeError) || !['POSITION_STALE', 'EPOCH_STALE'].includes(error.code)) throw error
    const there = await ledger.read(append.ref, { limit: 2 })
    const same =
      (there[0]?.payload as JsonObject | undefined)?.['workflow'] === start.workflow.name &&
      (await inputText(there[1], start.tenant, ledger)) === (await inputText(records[1], start.tenant, ledger, blobs))
    if (same) return { existed: true }
    throw new ConvokeError('RUN_EXISTS', `run ${start.run} already exists with another workflow or input`, {
      details: {
        run: start.run,
        workflow: ((there[0]?.payload as JsonObject | undefined)?.['workflow'] as string | undefined) ?? null,
      },
      next: 'choose another id, or look at it with convoke show',
    })
  }
}

/** The run that goes on where this one has ended, with its place among others. */
export function successorOf(
  began: { readonly tenant: string; readonly run: string; readonly started: JsonObject },
  { workflow, input }: Successor,
  by: Pick<Draft, 'actor' | 'labels'>,
  deps: Omit<StartDeps, 'ledger'>,
): { readonly run: string; readonly append: StreamAppend; readonly blobs: readonly Blob[] } {
  const { tenant, started } = began
  const run = `${began.run.replace(/~\d+$/, '')}~${Number(/~(\d+)$/.exec(began.run)?.[1] ?? 1) + 1}`
  const parent = started['parent'] as string | undefined
  const { append, blobs } = startRecords(
    {
      tenant,
      run,
      workflow,
      input,
      actor: by.actor,
      labels: by.labels,
      continues: began.run,
      root: (started['root'] as string | undefined) ?? began.run,
      ...inherited(started),
      ...(parent === undefined ? {} : { parent: { run: parent, path: started['parentPath'] as string } }),
    },
    deps,
  )
  return { run, append, blobs }
}

async function inputText(
  record: LedgerRecord | undefined,
  tenant: string,
  ledger: Ledger,
  blobs: readonly Blob[] = [],
): Promise<string> {
  if (record === undefined) return ''
  if (record.spill === undefined) return JSON.stringify(record.payload)
  const bytes = blobs.find((b) => b.hash === record.spill)?.bytes ?? (await ledger.getBlob(tenant, record.spill))
  return bytes === undefined ? '' : JSON.stringify(decode(Buffer.from(bytes).toString('utf8')))
}

export function cancelMessage(id: string, at: number, actor: Actor, reason: string): InboxMessage {
  return { id, type: 'run.cancel', at, actor, payload: { reason } }
}

export async function cancelRun(
  ledger: Ledger,
  clock: Clock,
  tenant: string,
  run: string,
  actor: Actor,
  reason: string,
): Promise<void> {
  await ledger.post({ tenant, stream: inboxStream(run) }, cancelMessage(`cancel:${run}`, clock.now(), actor, reason))
}
