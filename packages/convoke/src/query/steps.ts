import type { ErrorData } from '../core/errors.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { nameOf, parentPath } from '../core/path.ts'
import type { RecordRef } from '../core/record.ts'
import { isTerminal, object, text, type Entry, type RunRecords } from './records.ts'
import { addUsage, noUsage, usageOf, type Usage } from './usage.ts'

/** Who carried a step out. */
export interface By {
  readonly role?: string
  readonly agent?: string
  readonly version?: string
  readonly model?: string
  /** Why this agent filled the role: `asked`, `fork`, `default`, … */
  readonly rule?: string
}

export type StepState = 'done' | 'failed' | 'open' | 'rolled back'

/** A step, or a scope that holds steps, as the records at its path tell of it. */
export interface Step {
  readonly path: string
  readonly name: string
  /** `ask`, `call`, `step`, `model`, `checkpoint`, …; `scope` for what only holds others. */
  readonly op: string
  /** The role, tool or model. */
  readonly target?: string
  readonly version?: string
  readonly state: StepState
  /** The record that ended it. */
  readonly ref?: RecordRef
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly endedAt?: number
  readonly by: By
  readonly value?: Json
  readonly error?: ErrorData
  /** Why an attempt's alternative was rolled back. */
  readonly reason?: ErrorData
  readonly usage: Usage
  /** The record of an ancestor that stands for this step in a fork. */
  readonly reused?: RecordRef
  /** The run that executed it, when that is an ancestor of this fork. */
  readonly from?: string
  readonly entries: readonly Entry[]
  readonly children: readonly Step[]
}

interface Node {
  readonly path: string
  readonly entries: Entry[]
  readonly notes: Entry[]
  readonly children: Node[]
}

/** Scopes note what became of them at paths of their own: `<alternative>~rolledback`. */
const notePattern = /~(committed|rolledback)$/

/** All steps of a run as a tree; scopes are in it, the notes that asks and attempts make about themselves are not. */
export function stepsOf(run: RunRecords): readonly Step[] {
  const nodes = new Map<string, Node>()
  const roots: Node[] = []
  const nodeAt = (path: string): Node => {
    let node = nodes.get(path)
    if (node !== undefined) return node
    node = { path, entries: [], notes: [], children: [] }
    nodes.set(path, node)
    const parent = parentPath(path)
    ;(parent === '' ? roots : nodeAt(parent).children).push(node)
    return node
  }
  for (const entry of run.all) {
    const { path } = entry.record
    if (path === undefined || nameIn(path).startsWith('~')) continue
    if (notePattern.test(path)) nodeAt(path.replace(notePattern, '')).notes.push(entry)
    else if (nameIn(path).startsWith('@')) nodeAt(parentPath(path)).notes.push(entry)
    else nodeAt(path).entries.push(entry)
  }
  return roots.map((node) => stepOf(node, run))
}

function nameIn(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function stepOf(node: Node, run: RunRecords): Step {
  const children = node.children.map((child) => stepOf(child, run))
  const ending = node.entries.findLast(isTerminal)
  const payload: JsonObject = ending?.payload ?? {}
  const rolledBack = node.notes.findLast((e) => e.record.type === 'attempt.rolledback')
  const committed = node.notes.some((e) => e.record.type === 'attempt.committed')
  const error = payload['error'] as unknown as ErrorData | undefined
  const isScope = node.entries.length === 0
  const reason = object(rolledBack?.payload['value'])?.['reason'] as unknown as ErrorData | undefined
  const endedAt = isScope
    ? (rolledBack?.record.at ?? scopeEnd(children, committed, run))
    : ending === undefined
      ? undefined
      : ending.record.at
  const executedBy = (ending ?? node.entries[0])?.record.stream
  const reused = text(payload['reused'])
  const target = text(payload['target']) ?? text(node.notes[0]?.payload['role']) ?? toolOf(node)
  const version = text(payload['version'])
  return {
    path: node.path,
    name: node.path.endsWith('~undo') ? `undo ${nameOf(node.path.slice(0, -5))}` : nameOf(node.path),
    op: text(payload['op']) ?? openOp(node),
    ...(target === undefined ? {} : { target }),
    ...(version === undefined ? {} : { version }),
    state:
      rolledBack !== undefined
        ? 'rolled back'
        : endedAt === undefined
          ? 'open'
          : error === undefined
            ? 'done'
            : 'failed',
    ...(ending === undefined ? {} : { ref: ending.ref }),
    startedAt: startOf(node, children, ending, run),
    ...(endedAt === undefined ? {} : { endedAt }),
    by: byOf(node, payload),
    ...(payload['value'] === undefined ? {} : { value: payload['value'] }),
    ...(error === undefined ? {} : { error }),
    ...(reason === undefined ? {} : { reason }),
    usage: [
      ...node.entries.filter((e) => e.record.stream === run.started.record.stream).map(usageOf),
      ...children.map((c) => c.usage),
    ].reduce(addUsage, noUsage),
    ...(reused === undefined ? {} : { reused }),
    ...(executedBy === undefined || executedBy === run.started.record.stream ? {} : { from: executedBy.slice(4) }),
    entries: [...node.notes, ...node.entries],
    children,
  }
}

/** A scope keeps no record of its own end: it ended with the last of its steps, unless one is still open. */
function scopeEnd(children: readonly Step[], committed: boolean, run: RunRecords): number | undefined {
  const over = committed || /^run\.(completed|failed|cancelled|continued)$/.test(run.own.at(-1)?.record.type ?? '')
  if (!over && children.some((c) => c.endedAt === undefined)) return undefined
  return children.reduce((last, c) => Math.max(last, c.endedAt ?? c.startedAt), 0)
}

/**
 * What has no records from on its way says at its end how long it took: a model's answer, and a plain step, which says
 * nothing where it took no time. All else began at the earliest when the last thing it was built on had been delivered.
 */
function startOf(node: Node, children: readonly Step[], ending: Entry | undefined, run: RunRecords): number {
  const took = ending === undefined ? undefined : tookOf(ending)
  const first = Math.min(
    ...(ending === undefined || took === undefined ? [] : [ending.record.at - took]),
    ...[...node.notes, ...node.entries].filter((e) => e !== ending).map((e) => e.record.at),
    ...children.map((c) => c.startedAt),
  )
  if (Number.isFinite(first)) return first
  let began = run.byRef.get(run.started.ref)?.record.at ?? 0
  for (const cause of ending?.record.causes ?? []) began = Math.max(began, run.byRef.get(cause.ref)?.record.at ?? 0)
  return Math.min(Math.max(began, wokenBefore(ending, run)), ending?.record.at ?? Infinity)
}

/** In milliseconds. */
function tookOf({ record, payload }: Entry): number | undefined {
  const said = payload['ms'] ?? object(payload['usage'])?.['ms']
  if (typeof said === 'number') return said
  return record.type === 'step.completed' && payload['op'] === 'step' ? 0 : undefined
}

/** While a run is parked no step without records of its own is under way. */
function wokenBefore(ending: Entry | undefined, { own }: RunRecords): number {
  const at = ending === undefined ? -1 : own.indexOf(ending)
  for (let i = at - 1; i >= 0; i--) {
    if ((own[i] as Entry).record.type !== 'run.parked') continue
    const next = own[i + 1] as Entry
    return (next.record.type === 'inbox.received' ? next : (own[i] as Entry)).record.at
  }
  return 0
}

/** The tool of a call that is not finished, from what is asked or was sent. */
function toolOf(node: Node): string | undefined {
  for (const { payload: p } of node.entries) {
    const tool = text(p['tool']) ?? text(object(p['action'])?.['tool'])
    if (tool !== undefined) return tool
  }
  return undefined
}

function openOp(node: Node): string {
  const types = new Set([...node.notes, ...node.entries].map((e) => e.record.type))
  if (types.has('task.requested')) return 'ask'
  if (types.has('child.requested')) return 'child'
  if (types.has('timer.set')) return 'timer'
  if (types.has('model.retrying')) return 'model'
  if (types.has('tool.dispatched') || types.has('approval.requested')) return 'call'
  return node.entries.length === 0 ? 'scope' : 'step'
}

function byOf(node: Node, ending: JsonObject): By {
  const resolved = object(node.notes.findLast((e) => e.record.type === 'role.resolved')?.payload['value'])
  const outcome = ending['op'] === 'ask' ? object(ending['value']) : undefined
  const said = outcome ?? resolved ?? {}
  const by: Record<string, string> = {}
  for (const key of ['role', 'agent', 'version', 'model'] as const) {
    const value = text(said[key]) ?? text(resolved?.[key])
    if (value !== undefined) by[key] = value
  }
  const rule = text(resolved?.['rule'])
  if (rule !== undefined) by['rule'] = rule
  if (ending['op'] === 'ask' && by['role'] === undefined && typeof ending['target'] === 'string')
    by['role'] = ending['target']
  if (ending['op'] === 'model') by['model'] = text(ending['target']) ?? ''
  return by
}

/** Depth first, in the order in which things began. */
export function* walkSteps(steps: readonly Step[]): Generator<Step> {
  for (const step of steps) {
    yield step
    yield* walkSteps(step.children)
  }
}
