import type { Json } from '../core/json.ts'
import type { AnyWorkflow, BoardKey, Signal, Workflow } from './workflow.ts'
import type { StepPromise } from './step-promise.ts'

export interface Retry {
  /** Tries after the first, 0 to 100. */
  readonly times: number
  /** Milliseconds before the second try; 100 unless said. Doubles each time up to `maxDelay` (60,000). */
  readonly delay?: number
  readonly maxDelay?: number
}

export interface StepOptions {
  /** What the body depends on. It enters the fingerprint, and a fork may reuse a step that says so. */
  readonly input?: unknown
  /** Outcomes and values that it builds on but that are not in `input`. */
  readonly from?: readonly unknown[]
  readonly version?: string
  /** Milliseconds for one try of the body. */
  readonly timeout?: number
  readonly retry?: Retry
  /**
   * The body only computes: it reads and changes nothing outside of itself, so that doing it again does no harm. It may
   * then begin before what it builds on is on disk, and such steps share a commit instead of waiting for one each. After
   * a crash the last of them run again, at most 256 and what was being written; nobody has seen what they gave.
   */
  readonly pure?: boolean
}

export interface StepContext {
  readonly signal: AbortSignal
  /** The same at every try and after every crash. */
  readonly idempotencyKey: string
  /** 1 for the first try. */
  readonly attempt: number
}

export type Branches<R, T> = { readonly [K in keyof T]: (run: R) => Promise<T[K]> }

export interface MapOptions<I> {
  /** Names an item by what it is, never by where it stands (R11). */
  readonly key: (item: I) => string
  /** How many at once; 8 unless said. */
  readonly concurrency?: number
}

export interface Verdict {
  readonly ok: boolean
  readonly problems?: readonly string[]
}

export interface AttemptOptions<R, T> {
  readonly verify?: (value: T, run: R) => Promise<Verdict>
}

export interface Board {
  /** The value as of the last delivered step in this scope. */
  get<T>(key: BoardKey<T>): T | undefined
  put<T>(key: BoardKey<T>, value: T): StepPromise<void>
}

export interface ChildOptions {
  /** Part of the child's id; the child is the same one for the same id. */
  readonly id?: string
  readonly tags?: readonly string[]
  readonly name?: string
}

/**
 * What orchestrating code may do. Everything it awaits goes through here; the rest of it must be deterministic. Names
 * make paths: a name may repeat in a scope once its predecessor has finished.
 */
export interface DurableRun {
  readonly id: string
  readonly tenant: string
  /**
   * Aborts when this scope is given up or the run is cancelled. Its code then stops where it is, as it does when the run
   * parks: what it awaits never comes, and `finally` does not run. Take effects back with compensations.
   */
  readonly signal: AbortSignal

  /**
   * Reads and computation whose result is kept; effects belong in tools.
   * @throws what the body throws, as code, message and details; STEP_TIMEOUT; NOT_CANONICAL for a result without JSON form
   */
  step<T>(name: string, body: (context: StepContext) => T | Promise<T>): StepPromise<T>
  step<T>(name: string, options: StepOptions, body: (context: StepContext) => T | Promise<T>): StepPromise<T>

  /** All branches at once. The first failure gives the others up and is thrown. */
  all<T extends object>(name: string, branches: Branches<this, T>): Promise<T>
  /** The first branch to end, well or not, wins; the others are given up, and effects they dispatched are settled. */
  race<T extends object>(
    name: string,
    branches: Branches<this, T>,
  ): Promise<{ readonly winner: keyof T & string; readonly value: T[keyof T] }>
  /** Results in the order of the items. The first failure gives the others up and is thrown. */
  map<I, T>(
    name: string,
    items: readonly I[],
    options: MapOptions<I>,
    each: (run: this, item: I) => Promise<T>,
  ): Promise<T[]>
  /** As `map`, but a failed item is a result, and the others go on. */
  mapSettled<I, T>(
    name: string,
    items: readonly I[],
    options: MapOptions<I>,
    each: (run: this, item: I) => Promise<T>,
  ): Promise<PromiseSettledResult<T>[]>
  /**
   * Alternatives in order. One that throws or fails its verifier is rolled back (its board writes vanish, its
   * compensations run) and the next is tried.
   * @throws ATTEMPTS_EXHAUSTED with each alternative's reason
   */
  attempt<T>(
    name: string,
    alternatives: Readonly<Record<string, (run: this) => Promise<T>>>,
    options?: AttemptOptions<this, T>,
  ): Promise<T>

  /** A named milestone that `fork --at` finds. */
  checkpoint(name: string): StepPromise<void>
  readonly board: Board
  /** Waits for a signal; undefined when `timeout` milliseconds pass first. The run parks meanwhile. */
  receive<T>(signal: Signal<T>, options: { readonly timeout: number }): StepPromise<T | undefined>
  receive<T>(signal: Signal<T>): StepPromise<T>
  sleep(ms: number): StepPromise<void>
  /** Milliseconds since the epoch at the last delivered step: the same on replay. */
  now(): number
  /** From 0 up to 1, drawn from the run's seed and this scope: the same on replay. */
  random(): number
  uuid(): string
  /** Another run whose result is awaited here. @throws RUN_FAILED, RUN_CANCELLED */
  child<I, O>(workflow: Workflow<I, O>, input: I, options?: ChildOptions): StepPromise<O>
  /** Ends this run and lets a fresh one go on, so that a long life does not drag its history along. Never returns. */
  continueAs(input: unknown, workflow?: AnyWorkflow): Promise<never>
  /** Guards a deliberate edit: false for runs that passed this place before the edit, true for the others. */
  patched(id: string): StepPromise<boolean>
  /** For watchers of the live run only; nothing is recorded. */
  log(message: string, data?: Json): void
}
