import type { RecordRef } from '../core/record.ts'
import { isTerminal, readRun, type Readable } from './records.ts'
import { stepsOf, type Step } from './steps.ts'

/**
 * What a fork does with the steps that its original did after the point, by path, if its code goes the same way. What it
 * then really did is in `ShownRun.fork`.
 */
export interface ForkPlan {
  /** Executed again in any case: all of them with `reuse: before`, else those that do not declare what they depend on. */
  readonly again: readonly string[]
  /** Kept if arguments, agent, prompt, tool and everything they read are the same, else executed again. */
  readonly compared: readonly string[]
}

/** Steps whose result is a fact of its own; a checkpoint or a note of the board is only reached again. */
const work = (step: Step): boolean => step.op !== 'checkpoint' && step.op !== 'board.put'

/** Steps of the run itself: what happens inside an ask or a verification is executed or kept with it. */
export function flatSteps(steps: readonly Step[]): Step[] {
  return steps.flatMap((s) =>
    s.op === 'scope'
      ? flatSteps(s.children)
      : s.op === 'ask' || s.op === 'verify'
        ? [s]
        : [s, ...flatSteps(s.children)],
  )
}

/** What a fork that has just been made will do. @throws RUN_UNKNOWN */
export async function planOfFork(ledger: Readable, tenant: string, run: string): Promise<ForkPlan> {
  const { fork } = await readRun(ledger, tenant, run)
  if (fork === undefined) return { again: [], compared: [] }
  const original = await readRun(ledger, tenant, fork.run)
  const later = flatSteps(stepsOf(original)).filter((s) => seqIn(s.ref, fork.run) > fork.at && work(s))
  const isCompared = (step: Step): boolean => fork.reuse === 'unchanged' && declared(step)
  return {
    again: later.filter((s) => !isCompared(s)).map((s) => s.path),
    compared: later.filter(isCompared).map((s) => s.path),
  }
}

/** What a fork has executed again so far, and what it has kept of its original after the point. */
export function doneByFork(steps: readonly Step[]): {
  readonly again: readonly string[]
  readonly kept: readonly string[]
} {
  const own = flatSteps(steps).filter((s) => s.from === undefined && s.ref !== undefined && work(s))
  return {
    again: own.filter((s) => s.reused === undefined).map((s) => s.path),
    kept: own.filter((s) => s.reused !== undefined).map((s) => s.path),
  }
}

function declared(step: Step): boolean {
  return step.entries.some((e) => isTerminal(e) && e.payload['declared'] === true)
}

/** 0 for what is open, and for a record of an ancestor: it stands before every record of the run itself. */
function seqIn(ref: RecordRef | undefined, run: string): number {
  return ref?.startsWith(`run/${run}@`) === true ? Number(ref.slice(ref.lastIndexOf('@') + 1)) : 0
}
