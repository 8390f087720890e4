import { canonicalize } from '../core/canonical.ts'
import { ConvokeError, isConvokeError } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { noLabels } from '../core/labels.ts'
import { runStream } from '../core/projections.ts'
import { seal, type Actor, type Draft } from '../core/record.ts'
import type { Ledger } from '../ports/ledger.ts'
import type { Clock, Ids } from '../ports/runtime.ts'
import { readAll } from '../replay/history.ts'
import { inherited, startRecords } from '../replay/start.ts'
import { isTerminal, type Entry } from '../replay/types.ts'
import type { AnyWorkflow } from '../replay/workflow.ts'
import { corrections, type Change, type OutputOf } from './correct.ts'

export interface ForkOptions {
  /** A path, a checkpoint's name, or a record's seq: the fork shares everything up to and including it. */
  readonly at: string | number
  /**
   * Results to correct: step path, JSON Pointer (RFC 6901), the new value. The pointer begins at what the step gave; for
   * an ask that is its outcome's `value`. The result must fit the output schema of its role or tool.
   */
  readonly set?: readonly Change[]
  /** Which agent version fills a role from here on. */
  readonly use?: Readonly<Record<string, string>>
  /** `before` keeps what is before the point; `unchanged` also every later step that nothing changed for. Default `before`. */
  readonly reuse?: 'before' | 'unchanged'
  /** What happens to effects that the original already made: `hold` for a person (default), `dry` to simulate, `live` to perform. */
  readonly effects?: 'hold' | 'dry' | 'live'
  readonly id?: string
  readonly by?: Actor
}

export interface ForkDeps {
  readonly ledger: Ledger
  readonly clock: Clock
  readonly ids: Ids
  readonly redact: (value: Json) => Json
  readonly digestOf: (workflow: string) => { readonly version: string; readonly digest: string } | undefined
  /** What corrections are held against; not given, or nothing for a target: they are not. */
  readonly outputOf?: OutputOf | undefined
}

/** Where a fork's point stands: by seq, by checkpoint (the last of that name), then by path. @throws RECORD_UNKNOWN */
export function pointOf(entries: readonly Entry[], at: string | number): number {
  const seq = typeof at === 'number' ? at : /^\d+$/.test(at) ? Number(at) : undefined
  if (seq !== undefined && seq >= 2 && entries.some((e) => e.record.seq === seq)) return seq
  const checkpoint = entries.findLast((e) => e.record.type === 'checkpoint.reached' && e.payload['name'] === at)
  const step = entries.findLast((e) => e.record.path === at && isTerminal(e))
  const found = checkpoint ?? step
  if (found !== undefined) return found.record.seq
  const names = entries.filter((e) => e.record.type === 'checkpoint.reached').map((e) => e.payload['name'] as string)
  throw new ConvokeError('RECORD_UNKNOWN', `the run has no checkpoint, finished step or record ${JSON.stringify(at)}`, {
    details: {
      at,
      checkpoints: names,
      steps: entries
        .filter(isTerminal)
        .slice(0, 50)
        .map((e) => e.record.path as string),
    },
    next:
      names.length > 0 ? `use one of the checkpoints: ${names.join(', ')}` : 'convoke show prints the steps of a run',
  })
}

/**
 * Makes a run that shares another's records up to a point. The original is only read. Returns the new id.
 * @throws RUN_UNKNOWN, RECORD_UNKNOWN, INPUT_INVALID for a correction that does not fit, RUN_EXISTS for an id of another
 */
export async function forkRun(deps: ForkDeps, tenant: string, run: string, options: ForkOptions): Promise<string> {
  const entries = await readAll(deps.ledger, tenant, runStream(run))
  const first = entries[0]
  if (first === undefined)
    throw new ConvokeError('RUN_UNKNOWN', `no run ${run}`, { details: { run }, next: 'convoke runs' })
  let at = pointOf(entries, options.at)
  const made = await corrections(entries, options.set ?? [], deps.outputOf)
  // Whatever came after a corrected step may have used its value, if only to decide what to do next: nothing after it is
  // simply kept.
  for (const { step } of made) at = Math.min(at, step.record.seq)
  const started = first.payload
  const workflow = deps.digestOf(started['workflow'] as string) ?? {
    version: started['version'] as string,
    digest: started['digest'] as string,
  }
  const id = options.id ?? `${run}-f${deps.ids.next().slice(-6)}`
  const actor = options.by ?? { kind: 'system' as const, id: 'app' }
  const spec: JsonObject = {
    run,
    at,
    hash: (entries.find((e) => e.record.seq === at) as Entry).record.hash,
    reuse: options.reuse ?? 'before',
    effects: options.effects ?? 'hold',
    use: { ...options.use },
  }
  const fresh = startRecords(
    {
      tenant,
      run: id,
      workflow: { name: started['workflow'] as string, ...workflow } as AnyWorkflow,
      input: entries[1]?.payload['value'],
      actor,
      labels: first.record.labels,
      seed: started['seed'] as string,
      ...inherited(started),
      causes: [{ ref: `${runStream(run)}@${at}`, kind: 'declared' }],
      fork: spec,
    },
    deps,
  )
  const records = [...fresh.records]
  const blobs = [...fresh.blobs]
  const corrected: Json[] = []
  for (const { step, value, pointer, was } of made) {
    const draft: Draft = {
      type: 'value.superseded',
      critical: true,
      causes: [{ ref: `${step.record.stream}@${step.record.seq}`, kind: 'supersedes' }],
      actor,
      labels: actor.kind === 'person' ? noLabels : step.record.labels,
      payload: deps.redact({ path: step.record.path as string, pointer, value, was } satisfies JsonObject),
    }
    corrected.push(draft.payload as Json)
    const sealed = seal(draft, {
      tenant,
      stream: runStream(id),
      epoch: 0,
      head: records[records.length - 1] as Entry['record'],
      at: Math.floor(deps.clock.now()),
      salt: deps.ids.salt(),
    })
    records.push(sealed.record)
    if (sealed.spilled !== undefined) blobs.push(sealed.spilled)
  }
  try {
    await deps.ledger.append([{ ...fresh.append, records }], { blobs })
  } catch (error) {
    if (!isConvokeError(error, 'POSITION_STALE') && !isConvokeError(error, 'EPOCH_STALE')) throw error
    // Asking again for a fork with an id finds it, as for a run.
    const there = await readAll(deps.ledger, tenant, runStream(id), { to: records.length })
    if (askedBy(there) !== canonicalize([spec, ...corrected]))
      throw new ConvokeError('RUN_EXISTS', `run ${id} already exists, and is not this fork`, {
        details: { run: id },
        next: 'choose another id, or look at it with convoke show',
      })
  }
  return id
}

/** What a fork was asked for, by its records: the point and how, then its corrections. */
function askedBy(entries: readonly Entry[]): string {
  const corrected = entries.filter((e) => e.record.type === 'value.superseded').map((e) => e.payload)
  return canonicalize([entries[0]?.payload['fork'] ?? null, ...corrected])
}
