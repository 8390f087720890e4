import type { Json } from '../core/json.ts'
import { SmallMap } from '../core/small-map.ts'
import { isLabelled, type Labels } from '../core/labels.ts'
import { refOf, type Cause, type RecordRef } from '../core/record.ts'
import type { StepPromise } from './step-promise.ts'
import type { Entry, Operation, Read } from './types.ts'

/** What the engine offers to the rooms that build operations; a scope is their handle on it. */
export interface EngineHandle {
  readonly tenant: string
  readonly run: string
  claim(scope: Scope, operation: Operation): StepPromise<unknown>
  /** Gives a scope up: pending steps are aborted, what they dispatched is still settled, and nothing is delivered. */
  abandon(scope: Scope, reason: unknown): void
  /** Resolves when nothing that may have acted outside is pending in a given-up scope. */
  settled(scope: Scope): Promise<void>
  /** Runs a scope's compensations, last first. @throws COMPENSATION_FAILED */
  rollback(scope: Scope): Promise<void>
  /** Fails the run at once: an error no code may catch. */
  stop(error: Error): void
  live(scope: Scope, type: string, data: Json): void
  /** A promise made of steps, which somebody must look at before the workflow returns. */
  watched<T>(scope: Scope, name: string, promise: Promise<T>): StepPromise<T>
  /** Whether recorded steps still wait to be delivered. */
  readonly replaying: boolean
  /** Milliseconds since the epoch as of the last delivered record: the same live and on replay. */
  readonly time: number
  readonly seed: string
}

export interface BoardCell {
  readonly value: Json | undefined
  readonly version: number
  readonly ref: RecordRef
  /** Of its record, where they say more than where it came from. */
  readonly labels?: Labels
}

/** How to take back one step that has taken effect. */
export interface Compensation {
  readonly path: string
  readonly operation: Operation
  /** The record of what it takes back. */
  readonly ref: RecordRef
  /** Rises with each delivered step: the last goes first. */
  readonly order: number
}

/**
 * A region of a run. Owns: the names used in it, what it has finished that nothing else builds on yet (`frontier`), its
 * board writes and its compensations, both not visible outside until the scope commits.
 */
export class Scope {
  readonly path: string
  readonly parent: Scope | undefined
  readonly engine: EngineHandle
  /** Nearest enclosing foldable path, this scope's own included. */
  readonly fold: string | undefined
  /** How often each name was used here. */
  readonly names: Map<string, number> = new Map()
  /** Names whose last use is not finished. */
  readonly underWay: SmallMap<string, true> = new SmallMap()
  readonly frontier: SmallMap<RecordRef, Labels> = new SmallMap()
  #children: Set<Scope> | undefined
  compensations: Compensation[] = []
  /** Given up from outside: what it did is now the enclosing transaction's to take back. */
  handedUp = false
  board: Map<string, BoardCell> | undefined
  reads: Read[] | undefined
  dead = false
  readonly #began: readonly RecordRef[]
  #controller: AbortController | undefined
  #reason: unknown
  #randoms = 0

  constructor(
    engine: EngineHandle,
    path: string,
    parent: Scope | undefined,
    options: { readonly fold?: boolean; readonly transaction?: boolean; readonly tracksReads?: boolean } = {},
  ) {
    this.engine = engine
    this.path = path
    this.parent = parent
    this.fold = options.fold ? path : parent?.fold
    if (parent === undefined || options.transaction) this.board = new Map()
    if (options.tracksReads) this.reads = []
    this.#began = parent === undefined ? [] : [...parent.frontier.keys()]
    if (parent !== undefined) {
      ;(parent.#children ??= new Set()).add(this)
      for (const [ref, labels] of parent.frontier) this.frontier.set(ref, labels)
      if (parent.dead) this.kill(parent.#reason)
    }
  }

  /** Aborts when the scope is given up. Made when first asked for: most code never looks. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.dead) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  /** The nearest scope whose writes commit or roll back together. */
  get transaction(): Scope {
    let scope: Scope = this
    while (scope.board === undefined) scope = scope.parent as Scope
    return scope
  }

  cell(key: string): BoardCell | undefined {
    for (let scope: Scope | undefined = this; scope !== undefined; scope = scope.parent) {
      const cell = scope.board?.get(key)
      if (cell !== undefined) return cell
    }
    return undefined
  }

  /** Looks at a cell: what the code does next rests on it, also when another branch wrote it. */
  look(key: string): BoardCell | undefined {
    const cell = this.cell(key)
    if (cell?.labels !== undefined) this.frontier.set(cell.ref, cell.labels)
    return cell
  }

  /** Notes what was read for every enclosing scope that tracks it. */
  noteRead(read: Read): void {
    for (let scope: Scope | undefined = this; scope !== undefined; scope = scope.parent)
      if (
        scope.reads !== undefined &&
        !scope.reads.some((r) => r.kind === read.kind && r.key === read.key && r.at === read.at)
      )
        scope.reads.push(read)
  }

  /** What a run was given is in front of everything it does, where it is anything but plain trusted input. */
  given(history: readonly Entry[]): this {
    for (const { record } of history)
      if (record.type === 'run.input' && isLabelled(record.labels)) this.frontier.set(refOf(record), record.labels)
    return this
  }

  /** Begins with what its arguments rest on, and with nothing else of what the scope around it has seen. */
  begin(causes: readonly Cause[], labels: Labels): void {
    this.frontier.clear()
    for (const { ref, kind } of causes) if (kind !== 'control') this.frontier.set(ref, labels)
  }

  /** A finished step stands in front of what it built on. */
  finished(ref: RecordRef, labels: Labels, builtOn: Iterable<RecordRef>): void {
    for (const old of builtOn) this.frontier.delete(old)
    this.frontier.set(ref, labels)
  }

  /** Hands what this scope did to its parent: its ends become the parent's. */
  join(): void {
    const parent = this.parent
    if (parent === undefined) return
    parent.#children?.delete(this)
    for (const ref of this.#began) if (!this.frontier.has(ref)) parent.frontier.delete(ref)
    for (const [ref, labels] of this.frontier) parent.frontier.set(ref, labels)
  }

  /** Makes board writes and compensations of a transaction part of the enclosing one. */
  commit(): void {
    const outer = this.parent?.transaction
    if (outer === undefined || this.board === undefined) return
    for (const [key, cell] of this.board) outer.board?.set(key, cell)
    outer.compensations.push(...this.compensations)
    this.board = new Map()
    this.compensations = []
  }

  /** The transaction that takes back what this scope did. */
  get responsible(): Scope {
    let scope = this.transaction
    while (scope.handedUp) scope = (scope.parent as Scope).transaction
    return scope
  }

  kill(reason: unknown): void {
    if (!this.dead) {
      this.dead = true
      this.#reason = reason
      this.#controller?.abort(reason)
    }
    for (const child of this.#children ?? []) {
      child.kill(reason)
      child.#handUp()
    }
  }

  #handUp(): void {
    if (this.board === undefined) return
    this.handedUp = true
    this.responsible.compensations.push(...this.compensations.splice(0))
  }

  /** Counts draws of this scope, so that parallel branches draw independently of each other's timing. */
  nextDraw(): number {
    return ++this.#randoms
  }
}
