import type { ErrorData } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { isEnded, type ApprovalRow, type RunRow } from '../core/projections.ts'
import { doneByFork } from './fork.ts'
import { readRun, text, type Entry, type Readable } from './records.ts'
import { stepsOf, walkSteps, type By, type Step, type StepState } from './steps.ts'
import { addUsage, noUsage, type Usage } from './usage.ts'

/** A step of the tree without its records. Times in milliseconds since the epoch; `ms` counts up to now while it is open. */
export interface ShownStep {
  readonly path: string
  readonly name: string
  readonly op: string
  readonly target?: string
  readonly state: StepState
  readonly startedAt: number
  readonly ms: number
  readonly by: By
  readonly usage: Usage
  readonly value?: Json
  readonly error?: ErrorData
  /** The record that ended it. */
  readonly ref?: string
  readonly reused?: string
  readonly from?: string
  readonly children: readonly ShownStep[]
}

/** Something a run cannot go on without. */
export type Waiting =
  | {
      readonly kind: 'person'
      readonly id: string
      readonly title: string
      readonly group?: string
      readonly expires?: number
    }
  | { readonly kind: 'timer'; readonly path: string; readonly until: number }
  | { readonly kind: 'child'; readonly path: string; readonly run: string }
  | { readonly kind: 'other'; readonly what: string; readonly until?: number }

export interface ShownRun {
  readonly row: RunRow
  readonly input?: Json
  readonly result?: Json
  readonly error?: ErrorData
  readonly records: number
  readonly ms: number
  readonly usage: Usage
  readonly fork?: {
    readonly run: string
    readonly at: number
    readonly reuse: string
    readonly effects: string
    /** Paths that it has executed again after the point, and those that it kept of the original. */
    readonly again: readonly string[]
    readonly kept: readonly string[]
  }
  readonly checkpoints: readonly string[]
  readonly steps: readonly ShownStep[]
  readonly waiting: readonly Waiting[]
  /** The command that helps most now. */
  readonly next: string
}

/** A run as it stands: its steps, what it used, what it waits for. `now` in milliseconds. @throws RUN_UNKNOWN */
export async function showRun(ledger: Readable, tenant: string, run: string, now: number): Promise<ShownRun> {
  const records = await readRun(ledger, tenant, run)
  const { row, own, fork } = records
  const steps = stepsOf(records)
  const last = own.at(-1) as Entry
  const pending = isEnded(row.status) ? [] : await ledger.approvals({ tenant, run, status: 'pending' })
  const waiting = waitingFor(row, steps, pending)
  const stopped = row.status === 'stopped' ? own.findLast((e) => e.record.type === 'run.stopped') : undefined
  const error = (stopped?.payload ?? last.payload['error']) as unknown as ErrorData | undefined
  const ended = isEnded(row.status)
  return {
    row,
    ...(records.input === undefined ? {} : { input: records.input }),
    ...(row.status === 'done' && last.payload['value'] !== undefined ? { result: last.payload['value'] } : {}),
    ...(error === undefined || !(ended || row.status === 'stopped') ? {} : { error }),
    records: own.length,
    ms: (ended ? row.updatedAt : now) - row.startedAt,
    usage: steps.map((s) => s.usage).reduce(addUsage, noUsage),
    ...(fork === undefined
      ? {}
      : { fork: { run: fork.run, at: fork.at, reuse: fork.reuse, effects: fork.effects, ...doneByFork(steps) } }),
    checkpoints: records.all.flatMap((e) =>
      e.record.type === 'checkpoint.reached' ? (text(e.payload['name']) ?? []) : [],
    ),
    steps: steps.map((step) => shown(step, ended ? row.updatedAt : now)),
    waiting,
    next: nextFor(row, waiting, error, text(last.payload['next'])),
  }
}

function shown(step: Step, now: number): ShownStep {
  const { entries: _, endedAt, reason, children, ...rest } = step
  const error = step.error ?? reason
  return {
    ...rest,
    ms: Math.max(0, (endedAt ?? now) - step.startedAt),
    ...(error === undefined ? {} : { error }),
    children: children.map((child) => shown(child, now)),
  }
}

function waitingFor(row: RunRow, steps: readonly Step[], pending: readonly ApprovalRow[]): Waiting[] {
  if (isEnded(row.status)) return []
  const found: Waiting[] = pending.map((a) => ({
    kind: 'person',
    id: a.id,
    title: a.title,
    ...(a.group === undefined ? {} : { group: a.group }),
    ...(a.expires === undefined ? {} : { expires: a.expires }),
  }))
  for (const step of walkSteps(steps)) {
    if (step.state !== 'open') continue
    const timer = step.entries.findLast((e) => e.record.type === 'timer.set')
    if (timer !== undefined) found.push({ kind: 'timer', path: step.path, until: timer.payload['due'] as number })
    const child = step.entries.find((e) => e.record.type === 'child.requested')
    if (child !== undefined) found.push({ kind: 'child', path: step.path, run: child.payload['child'] as string })
  }
  if (found.length === 0 && row.status === 'parked' && row.parkedOn !== undefined)
    found.push({ kind: 'other', what: row.parkedOn, ...(row.due === undefined ? {} : { until: row.due }) })
  return found
}

function nextFor(row: RunRow, waiting: readonly Waiting[], error: ErrorData | undefined, continued?: string): string {
  if (row.status === 'continued' && continued !== undefined) return `convoke show ${continued}`
  if (row.status === 'stopped') return error?.next ?? `convoke why ${row.run}`
  if (isEnded(row.status)) return `convoke why ${row.run}`
  const person = waiting.find((w) => w.kind === 'person')
  if (person !== undefined) return `convoke approvals approve ${person.id}`
  const child = waiting.find((w) => w.kind === 'child')
  if (child !== undefined) return `convoke show ${child.run}`
  return row.status === 'running' ? `convoke watch ${row.run}` : `convoke resume ${row.run}`
}
