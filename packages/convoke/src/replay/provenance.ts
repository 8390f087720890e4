import type { Labels } from '../core/labels.ts'
import { joinLabels, joinTwo, noLabels } from '../core/labels.ts'
import type { Cause, RecordRef } from '../core/record.ts'

// Where values come from. Results are frozen, so an object that came out of a record stays what it was, and finding it
// inside an argument proves an input cause. Text and numbers carry no identity: `from` declares what they came from,
// and everything the scope had finished before is a control cause anyway.

export interface Origin {
  readonly ref: RecordRef
  readonly labels: Labels
}

const maxVisited = 20_000

export class Provenance {
  readonly #origins = new WeakMap<object, Origin>()

  /** Every object inside a delivered value leads back to its record. */
  register(value: unknown, origin: Origin): void {
    if (typeof value !== 'object' || value === null || this.#origins.has(value)) return
    this.#origins.set(value, origin)
    for (const key in value) this.register((value as Record<string, unknown>)[key], origin)
  }

  of(value: unknown): Origin | undefined {
    return typeof value === 'object' && value !== null ? this.#origins.get(value) : undefined
  }

  /** The origins of what is inside a value, by record. */
  collect(value: unknown): ReadonlyMap<RecordRef, Origin> {
    const into = new Map<RecordRef, Origin>()
    let visited = 0
    const visit = (item: unknown): void => {
      if (typeof item !== 'object' || item === null || ++visited > maxVisited) return
      const origin = this.#origins.get(item)
      if (origin !== undefined) {
        into.set(origin.ref, origin)
        return
      }
      for (const key in item) visit((item as Record<string, unknown>)[key])
    }
    visit(value)
    return into
  }
}

export interface Why {
  readonly causes: readonly Cause[]
  readonly labels: Labels
  /** The labels with those of everything the scope had finished. */
  readonly highWater: Labels
}

/** Causes of an operation: what its arguments contain, what was declared, then what its scope had finished. */
export function whyOf(
  input: ReadonlyMap<RecordRef, Origin>,
  declared: ReadonlyMap<RecordRef, Origin>,
  control: Iterable<readonly [RecordRef, Labels]>,
  more: readonly Cause[],
  dataOnly = false,
): Why {
  if (input.size === 0 && declared.size === 0 && more.length === 0) {
    const causes: Cause[] = []
    let seen = noLabels
    for (const [ref, its] of control) {
      causes.push({ ref, kind: 'control' })
      seen = joinTwo(seen, its)
    }
    return { causes, labels: dataOnly ? noLabels : seen, highWater: seen }
  }
  const causes: Cause[] = []
  const labels: Labels[] = []
  const seen: Labels[] = []
  for (const origin of input.values()) {
    causes.push({ ref: origin.ref, kind: 'input' })
    labels.push(origin.labels)
  }
  for (const origin of declared.values()) {
    if (!input.has(origin.ref)) causes.push({ ref: origin.ref, kind: 'declared' })
    labels.push(origin.labels)
  }
  for (const [ref, its] of control) {
    if (!input.has(ref) && !declared.has(ref)) causes.push({ ref, kind: 'control' })
    seen.push(its)
  }
  causes.push(...more)
  const own = labels.length === 0 ? noLabels : joinLabels(labels)
  const highWater = seen.length === 0 ? own : joinLabels([own, ...seen])
  return { causes, labels: dataOnly ? own : highWater, highWater }
}
