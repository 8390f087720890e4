import { isInside } from '../core/path.ts'
import type { CauseKind, RecordRef } from '../core/record.ts'
import { isTerminal, readRef, text, type Entry, type Readable, type RunRecords } from './records.ts'

// Walks causes backwards. A record inside a finished ask is told as part of that ask, unless the question is about the
// inside of it.

export interface Link {
  readonly ref: RecordRef
  readonly entry: Entry
  /** Path of the step that tells it; absent for what is no step. */
  readonly path?: string
  readonly from: readonly { readonly ref: RecordRef; readonly kind: CauseKind; readonly path?: string }[]
}

export interface Trace {
  /** In ledger order; what stands in other streams first. */
  readonly links: readonly Link[]
  readonly apart: readonly string[]
  /** Verdicts about what a record gave, by that record; where they are no links themselves. */
  readonly verdicts: ReadonlyMap<RecordRef, readonly Entry[]>
}

/** A step by its path, else a record by `<stream>@<seq>` or its seq. */
export function findTarget(run: RunRecords, target: string): Entry | undefined {
  const step = run.all.findLast((e) => e.record.path === target && isTerminal(e))
  if (step !== undefined) return step
  const begun = run.all.findLast((e) => e.record.path === target)
  if (begun !== undefined) return begun
  return /^\d+$/.test(target) ? run.own.find((e) => e.record.seq === Number(target)) : run.byRef.get(target)
}

const maxLinks = 5_000

export async function traceBack(
  ledger: Readable,
  run: RunRecords,
  about: Entry | undefined,
  control: boolean,
): Promise<Trace> {
  const terminals = new Map(run.all.filter(isTerminal).map((e) => [e.record.path as string, e]))
  const lift = lifter(run, terminals, about)
  const links = new Map<RecordRef, Link>()
  const notes = new Map<RecordRef, Link['from']>()
  const queue: RecordRef[] = about === undefined ? endsOf(run, terminals) : [about.ref]
  for (let i = 0; i < queue.length && links.size < maxLinks; i++) {
    const found = run.byRef.get(queue[i] as string) ?? (await readRef(ledger, run.tenant, queue[i] as string))
    if (found === undefined) continue
    const entry = lift(found)
    if (links.has(entry.ref) || notes.has(entry.ref)) continue
    const from = followed(causesOf(run, entry, lift), control)
    queue.push(...from.map((f) => f.ref))
    // A note that a scope made about itself only passes on what it came after.
    if (isNote(entry)) {
      notes.set(entry.ref, from)
      continue
    }
    const path = stepPath(entry)
    links.set(entry.ref, { ref: entry.ref, entry, from, ...(path === undefined ? {} : { path }) })
  }
  const told = new Map<string, Link>()
  for (const link of links.values()) told.set(link.path ?? link.ref, { ...link, from: throughNotes(link.from, notes) })
  const order = new Map(run.all.map((e, i) => [e.ref, i]))
  const givenUp = run.all.flatMap((e) =>
    e.record.type === 'attempt.rolledback' ? [(e.record.path as string).replace(/~rolledback$/, '')] : [],
  )
  const verdicts = new Map<RecordRef, Entry[]>()
  for (const e of terminals.values()) {
    if (e.payload['op'] !== 'verify' || told.has(e.record.path as string)) continue
    for (const { ref } of e.record.causes.filter((c) => c.kind !== 'control' && links.has(c.ref)))
      verdicts.set(ref, [...(verdicts.get(ref) ?? []), e])
  }
  const judged = [...verdicts.values()].flat().map((e) => e.record.path as string)
  const outside = [...givenUp, ...told.keys(), ...judged]
  return {
    links: [...told.values()].sort((a, b) => (order.get(a.ref) ?? -1) - (order.get(b.ref) ?? -1)),
    apart: [...terminals.values()]
      .filter((e) => lift(e) === e && !isNote(e) && !outside.some((path) => isInside(e.record.path as string, path)))
      .map((e) => e.record.path as string),
    verdicts,
  }
}

type From = Link['from'][number]

/** The causes of a record that are told elsewhere, each once. */
function causesOf(run: RunRecords, entry: Entry, lift: (entry: Entry) => Entry): readonly From[] {
  const from = new Map<RecordRef, From>()
  for (const { ref, kind } of entry.record.causes) {
    // A message is told by its copy in the run; its original in the inbox says the same.
    if (entry.record.type === 'inbox.received' && ref.startsWith('inbox/')) continue
    const cause = run.byRef.get(ref)
    const step = cause === undefined ? undefined : lift(cause)
    if (step?.ref === entry.ref) continue
    const path = step?.record.path
    const key = step?.ref ?? ref
    if (!from.has(key)) from.set(key, { ref: key, kind, ...(path === undefined ? {} : { path }) })
  }
  return [...from.values()]
}

/**
 * Text and numbers carry no identity, so a step may be linked to what it was made from by nothing but coming after it.
 * Then that is followed, though it proves less.
 */
function followed(from: readonly From[], control: boolean): readonly From[] {
  const linked = from.filter((c) => c.kind !== 'control')
  return control || linked.length === 0 ? from : linked
}

function throughNotes(from: readonly From[], notes: ReadonlyMap<RecordRef, readonly From[]>): readonly From[] {
  const found = new Map<RecordRef, From>()
  const seen = new Set<RecordRef>()
  const queue = [...from]
  for (let i = 0; i < queue.length; i++) {
    const one = queue[i] as From
    const passed = notes.get(one.ref)
    if (passed === undefined) {
      if (!found.has(one.ref)) found.set(one.ref, one)
    } else if (!seen.has(one.ref)) {
      seen.add(one.ref)
      queue.push(...passed)
    }
  }
  return [...found.values()]
}

/** What the run as a whole rests on: the causes of its end, or while it goes on what nothing else was built on yet. */
function endsOf(run: RunRecords, terminals: ReadonlyMap<string, Entry>): RecordRef[] {
  const last = run.own.at(-1) as Entry
  if (/^run\.(completed|failed|cancelled|continued)$/.test(last.record.type))
    return last.record.causes.map((c) => c.ref)
  const built = new Set<RecordRef>()
  for (const e of terminals.values()) if (e.record.fold === undefined) for (const c of e.record.causes) built.add(c.ref)
  const ends = [...terminals.values()].filter((e) => e.record.fold === undefined && !built.has(e.ref)).map((e) => e.ref)
  const open = new Map<string, RecordRef>()
  for (const e of run.own)
    if (e.record.path !== undefined && e.record.fold === undefined && !terminals.has(e.record.path))
      open.set(e.record.path, e.ref)
  return [...ends, ...open.values()]
}

function lifter(
  run: RunRecords,
  terminals: ReadonlyMap<string, Entry>,
  about: Entry | undefined,
): (entry: Entry) => Entry {
  const inside = about?.record.path
  const latest = new Map(run.all.map((e) => [e.record.path, e]))
  return (entry) => {
    let at = entry
    for (let i = 0; i < 64; i++) {
      const { fold, path } = at.record
      if (fold === undefined || (inside !== undefined && inside !== fold && isInside(inside, fold))) break
      const outer = terminals.get(fold)
      if (outer === undefined || outer === at) break
      at = outer
      if (path === fold) break
    }
    // A value that a person put in is told with the step whose value it replaces.
    if (at.record.type === 'value.superseded') return terminals.get(text(at.payload['path']) ?? '') ?? at
    const { path } = at.record
    // A note at a step's path (an intent, a decision) is told with the step.
    return path === undefined || isTerminal(at) ? at : (terminals.get(path) ?? latest.get(path) ?? at)
  }
}

function stepPath(entry: Entry): string | undefined {
  const { path } = entry.record
  if (path === undefined) return undefined
  const name = path.slice(path.lastIndexOf('/') + 1)
  return name.startsWith('@')
    ? path.slice(0, Math.max(0, path.lastIndexOf('/')))
    : path.replace(/~(committed|rolledback)$/, '')
}

/** Milestones, and what scopes note about themselves, are no work that anything would be built on. */
function isNote(entry: Entry): boolean {
  return ['checkpoint', 'attempt', 'patch', 'race'].includes(text(entry.payload['op']) ?? '')
}
