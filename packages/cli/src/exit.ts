import { codes, type ConvokeError, type Handling, type RunRow } from 'convoke'

/** Exit codes are API: scripts branch on them. */
export const exit = {
  ok: 0,
  failed: 1,
  usage: 2,
  waiting: 3,
  denied: 4,
  unreachable: 5,
  budget: 6,
  interrupted: 130,
} as const

const byHandling: Readonly<Record<Handling, number>> = {
  usage: exit.usage,
  conflict: exit.failed,
  lost: exit.failed,
  stopped: exit.failed,
  failed: exit.failed,
  denied: exit.denied,
  limit: exit.failed,
  unreachable: exit.unreachable,
  corrupt: exit.failed,
}

const byCode: Readonly<Record<string, number>> = {
  BUDGET_EXCEEDED: exit.budget,
  COUNTER_EXCEEDED: exit.budget,
  INTERRUPTED: exit.interrupted,
  MAYBE_EXECUTED: exit.waiting,
  EFFECT_HELD: exit.waiting,
}

export function exitCodeOf(error: ConvokeError): number {
  const inner = (error.details?.['error'] as { code?: unknown } | undefined)?.code
  if (error.code === 'RUN_FAILED' && typeof inner === 'string') return ofRunError(inner)
  return byCode[error.code] ?? byHandling[error.handling]
}

/** What ended a run is nothing that whoever started it typed wrongly. */
function ofRunError(code: string): number {
  const handling = (codes as Readonly<Record<string, { readonly handling: Handling }>>)[code]?.handling
  const mapped = byCode[code] ?? (handling === undefined ? exit.failed : byHandling[handling])
  return mapped === exit.usage || mapped === exit.waiting ? exit.failed : mapped
}

/** How a run stands, as an exit code. */
export function exitCodeOfRun(row: RunRow): number {
  switch (row.status) {
    case 'done':
    case 'continued':
      return exit.ok
    case 'parked':
      return row.parkedOn === 'budget' ? exit.budget : exit.waiting
    case 'failed':
      return row.error === undefined ? exit.failed : ofRunError(row.error)
    case 'stopped':
      return row.error === 'MAYBE_EXECUTED' || row.error === 'EFFECT_HELD' ? exit.waiting : exit.failed
    case 'cancelled':
    case 'queued':
    case 'running':
      return exit.failed
  }
}
