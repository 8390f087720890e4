import { canonicalize } from '../core/canonical.ts'
import { ConvokeError, toErrorData, type ErrorData } from '../core/errors.ts'
import { runIdOf } from '../core/projections.ts'
import type { Lease, StreamRef } from '../ports/ledger.ts'
import { unknownWorkflow } from './children.ts'
import { Engine } from './engine.ts'
import { loadHistory, type History } from './history.ts'
import { outcomeOf, type End } from './outcome.ts'
import { rest } from './rest.ts'
import { reuseFrom } from './reuse.ts'
import type { Runtime } from './runtime.ts'
import { Sequencer } from './sequencer.ts'
import { keyedBy } from './tenant-key.ts'
import type { Entry } from './types.ts'
import { actorOf } from './workflow.ts'

/** What a replay that starts nothing and writes nothing has found. */
export interface DryReplay {
  readonly agrees: boolean
  /** Records of the run that the code was held against. */
  readonly records: number
  /** Whether the code came to its end, as opposed to asking for something that is not recorded. */
  readonly ended: boolean
  /** Steps that the code asks for next. */
  readonly asks: readonly string[]
  /** REPLAY_DIVERGED with the difference, when it does not agree. */
  readonly error?: ErrorData
}

/** How many turns code without open steps gets to come to its end. */
const patience = 100

/**
 * Holds a workflow's code against everything a run has recorded (R8). Nothing starts: the lease it works with has
 * passed. A run that has ended must come to the same end.
 * @throws RUN_UNKNOWN, WORKFLOW_UNKNOWN, RECORD_UNSUPPORTED, LEDGER_CORRUPT
 */
export async function dryReplay(parts: Omit<Runtime, 'lease' | 'live' | 'probe'>, ref: StreamRef): Promise<DryReplay> {
  const { ledger, clock, ids, redact } = parts
  const run = runIdOf(ref.stream)
  const history = await loadHistory(ledger, ref.tenant, run)
  await history.proved
  const { payload } = history.started
  const workflow = parts.workflows.get(payload['workflow'] as string)
  if (workflow === undefined) throw unknownWorkflow(payload['workflow'] as string)
  const lease: Lease = { worker: 'dry', remaining: () => 0, release: () => Promise.resolve() }
  const { seq, hash } = history.last.record
  const keyed = await keyedBy(ledger, ref.tenant)
  const engine = new Engine({
    ref,
    run,
    sequencer: new Sequencer({ ledger, ref, claim: { epoch: 0, seq, hash }, lease, clock, ids, redact }),
    history: history.entries,
    clock,
    keyed,
    seed: payload['seed'] as string,
    actor: actorOf(workflow),
    reuse: reuseFrom(history),
    supersede: history.supersede,
  })
  let end: End | undefined
  let crashed: unknown
  const driven = { runtime: { ...parts, lease }, tenant: ref.tenant, run, keyed, history }
  void outcomeOf(workflow, driven, engine).then(
    (its) => (end = its),
    (error: unknown) => (crashed = error),
  )
  const found = (error?: unknown): DryReplay => ({
    agrees: error === undefined,
    records: history.entries.length,
    ended: end !== undefined,
    asks: [...engine.claims.keys()].slice(0, 20),
    ...(error === undefined ? {} : { error: toErrorData(error, 'REPLAY_DIVERGED') }),
  })
  try {
    do {
      await rest()
      if (crashed !== undefined || engine.stopped !== undefined) return found(crashed ?? engine.stopped)
    } while (await engine.replayNext(() => end !== undefined))
    for (let turn = 0; turn < patience && end === undefined && engine.claims.size === 0; turn++) await rest()
    return found(crashed ?? differentEnd(history, end))
  } catch (error) {
    return found(error)
  } finally {
    engine.ended.abort(new ConvokeError('INTERRUPTED', 'a dry replay starts nothing'))
  }
}

/** Why the end of the code is not the end that was recorded, if one was. */
function differentEnd(history: History, end: End | undefined): ConvokeError | undefined {
  const { record, payload }: Entry = history.last
  const recorded = /^run\.(completed|failed|cancelled|continued)$/.test(record.type) ? record.type : undefined
  if (recorded === undefined) return undefined
  // Who goes on in its place is the ledger's to say; that somebody does is the code's.
  const same =
    end !== undefined &&
    end.type === recorded &&
    (end.type === 'run.continued' || canonicalize(end.payload) === canonicalize(payload))
  if (same) return undefined
  const was = `${recorded} ${canonicalize(payload).slice(0, 400)}`
  const is = end === undefined ? 'goes on' : `${end.type} ${canonicalize(end.payload).slice(0, 400)}`
  return new ConvokeError('REPLAY_DIVERGED', `the run ended with ${was}, but the code now ${is}`, {
    details: { seq: record.seq, recorded: was, now: is },
    next: 'a result must come from the recorded steps alone: no clock, randomness or state of the process',
  })
}
