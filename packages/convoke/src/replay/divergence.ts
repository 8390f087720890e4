import { ConvokeError } from '../core/errors.ts'
import type { Claim } from './claim.ts'
import { isTerminal, type Entry } from './types.ts'

const choices = 'run the build that began it, fork it from before this place, or cancel it'

/** The code at rest does not ask for the step that its record says came next. */
export function unclaimed(entry: Entry, claims: Iterable<Claim>, finished: boolean): ConvokeError {
  const asked = [...claims].filter((c) => !c.scope.dead).map((c) => c.path)
  const now = finished
    ? 'the workflow has ended'
    : asked.length === 0
      ? 'the workflow asks for nothing'
      : `the workflow asks for ${asked.slice(0, 5).join(', ')}`
  return new ConvokeError(
    'REPLAY_DIVERGED',
    `record ${entry.record.seq} is step ${entry.record.path ?? ''}, but ${now}`,
    {
      details: { seq: entry.record.seq, recorded: entry.record.path ?? '', asked: asked.slice(0, 20), ended: finished },
      next: choices,
    },
  )
}

/** The step asks for something else than its record says it did. */
export function mismatch(entry: Entry, claim: Claim): ConvokeError {
  const recorded = entry.payload['input']
  const was = recorded === undefined ? '(not kept)' : JSON.stringify(recorded)
  const is = claim.inputText === undefined ? '(none)' : claim.inputText
  const op = entry.payload['op']
  const kinds = typeof op === 'string' && op !== claim.operation.kind ? `${op} became ${claim.operation.kind}; ` : ''
  return new ConvokeError(
    'REPLAY_DIVERGED',
    `step ${claim.path} was recorded with other arguments: ${kinds}recorded ${clip(was)}, now ${clip(is)}`,
    {
      details: { seq: entry.record.seq, path: claim.path, recorded: clip(was), now: clip(is) },
      next: choices,
    },
  )
}

export function changed(cause: ConvokeError, from: string, to: string): ConvokeError {
  return new ConvokeError(
    'WORKFLOW_CHANGED',
    `the workflow's code changed (${from} to ${to}) and no longer fits the run: ${cause.message}`,
    {
      details: { from, to, ...(cause.details ?? {}) },
      next: choices,
      cause,
    },
  )
}

export function fits(entry: Entry, claim: Claim): boolean {
  const key = isTerminal(entry) ? 'fp' : 'fingerprint'
  const recorded = entry.payload[key]
  return recorded === undefined || recorded === claim.fingerprint
}

function clip(text: string): string {
  return text.length <= 400 ? text : text.slice(0, 400) + '…'
}
