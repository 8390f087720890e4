import { createHash } from 'node:crypto'
import type { Json } from '../core/json.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import { all, attempt, mapSettled, race } from './concurrency.ts'
import type { DurableRun, StepContext, StepOptions } from './durable-run.ts'
import {
  boardPut,
  checkpointOperation,
  childOperation,
  receiveOperation,
  sleepOperation,
  stepOperation,
  type ChildDeps,
} from './operations.ts'
import type { Scope } from './scope.ts'
import { StepPromise } from './step-promise.ts'
import { ContinueAs, type AnyWorkflow, type BoardKey, type Signal } from './workflow.ts'

/** Adds methods of higher rooms (`call`, `ask`, …) to the run object of a scope. */
export type Extension = (scope: Scope, derive: (inner: Scope) => DurableRun) => object

export interface RunDeps {
  readonly keyed: (text: string) => string
  /** What all methods but `step` need: the same for all scopes of a run, made when the first of them is asked for. */
  readonly others: () => OtherDeps
}

export interface OtherDeps extends ChildDeps {
  readonly extensions: readonly Extension[]
  /** Marks that this history holds, and whether a marker may still be set: see `patched`. */
  readonly patches: {
    readonly known: ReadonlySet<string>
    readonly replaying: () => boolean
    /** What was answered before: a place that is passed again gets the same answer. */
    readonly answers: Map<string, StepPromise<unknown>>
  }
}

/** Makes the run object that code of a scope sees. */
export function makeRun(scope: Scope, deps: RunDeps): DurableRun {
  return new RunObject(scope, deps) as unknown as DurableRun
}

/**
 * A run has some thirty methods, and most code uses two: all but `step` are made when the first of them is asked for,
 * through the object that stands behind this one's prototype.
 */
class RunObject {
  readonly id: string
  readonly tenant: string
  readonly step: (
    name: string,
    first: StepOptions | ((context: StepContext) => unknown),
    second?: (context: StepContext) => unknown,
  ) => StepPromise<unknown>
  readonly #scope: Scope
  readonly #deps: RunDeps
  #others: object | undefined

  constructor(scope: Scope, deps: RunDeps) {
    this.#scope = scope
    this.#deps = deps
    this.id = scope.engine.run
    this.tenant = scope.engine.tenant
    this.step = (name, first, second) => {
      const body = typeof first === 'function' ? first : second
      if (typeof body !== 'function')
        throw new ConvokeError('DEFINITION_INVALID', `step ${name} has no body`, {
          next: 'pass a function as the last argument',
        })
      return scope.engine.claim(scope, stepOperation(name, typeof first === 'function' ? {} : first, body, deps.keyed))
    }
  }

  /** Of a run object, or of what somebody has derived from one. */
  static others(run: object): object {
    for (let at: unknown = run; typeof at === 'object' && at !== null; at = Object.getPrototypeOf(at))
      if (#others in at) return (at.#others ??= othersOf(at.#scope, at.#deps))
    return {}
  }
}

Object.setPrototypeOf(
  RunObject.prototype,
  new Proxy(
    {},
    {
      get: (_, name, run: object) => Reflect.get(RunObject.others(run), name) as unknown,
    },
  ),
)

type Named = Readonly<Record<string, (run: DurableRun) => Promise<unknown>>>

/** Composed of plain functions: nothing here holds state of its own. */
function othersOf(scope: Scope, deps: RunDeps): object {
  const { engine } = scope
  const others = deps.others()
  const derive = (inner: Scope): DurableRun => makeRun(inner, deps)
  const watched = <T>(name: string, promise: Promise<T>): StepPromise<T> => engine.watched(scope, name, promise)

  const run = {
    get signal(): AbortSignal {
      return scope.signal
    },
    all: (name: string, branches: Named) => watched(name, all(scope, derive, name, branches)),
    race: (name: string, branches: Named) => watched(name, race(scope, derive, name, branches)),
    map: (
      name: string,
      items: readonly unknown[],
      options: { key: (item: unknown) => string; concurrency?: number },
      each: (run: DurableRun, item: unknown) => Promise<unknown>,
    ) =>
      watched(
        name,
        mapSettled(scope, derive, name, items, options, each, true).then((results) =>
          results.map((r) => (r as PromiseFulfilledResult<unknown>).value),
        ),
      ),
    mapSettled: (
      name: string,
      items: readonly unknown[],
      options: { key: (item: unknown) => string; concurrency?: number },
      each: (run: DurableRun, item: unknown) => Promise<unknown>,
    ) => watched(name, mapSettled(scope, derive, name, items, options, each, false)),
    attempt: (name: string, alternatives: Named, options = {}) =>
      watched(name, attempt(scope, derive, name, alternatives, options)),

    checkpoint: (name: string) => engine.claim(scope, checkpointOperation(name)),
    board: {
      get: (key: BoardKey) => {
        const cell = scope.look(key.name)
        scope.noteRead({
          kind: 'board',
          key: key.name,
          at: cell === undefined ? '' : sha256(JSON.stringify(cell.value)).slice(0, 16),
        })
        return cell?.value
      },
      put: (key: BoardKey, value: unknown) => engine.claim(scope, boardPut(scope, key, value)),
    },
    receive: <T>(signal: Signal<T>, options: { timeout?: number } = {}) =>
      engine.claim(scope, receiveOperation(signal as Signal, options.timeout)),
    sleep: (ms: number) => {
      if (!Number.isFinite(ms) || ms < 0)
        throw new ConvokeError('DEFINITION_INVALID', `cannot sleep ${ms} ms`, {
          next: 'pass a number of milliseconds from 0 up',
        })
      return engine.claim(scope, sleepOperation(ms))
    },
    now: () => engine.time,
    random: () => draw(scope).readUInt32BE(0) / 2 ** 32,
    uuid: () => uuidFrom(draw(scope)),
    child: (
      workflow: { name: string; parseInput: (v: unknown) => Promise<unknown> },
      input: unknown,
      options: { id?: string; tags?: readonly string[]; name?: string } = {},
    ) =>
      engine.claim(
        scope,
        childOperation(
          options.name ?? workflow.name,
          (path) => ({
            run: options.id === undefined ? `${engine.run}.${sha256(path).slice(0, 10)}` : others.childId(options.id),
            workflow: workflow.name,
            input,
            tags: options.tags ?? [],
          }),
          { target: workflow.name, input: { input, ...(options.id === undefined ? {} : { id: options.id }) } },
          others,
        ),
      ),
    continueAs: (input: unknown, workflow?: AnyWorkflow): Promise<never> =>
      watched('continueAs', Promise.reject(new ContinueAs(workflow?.name, input))),
    patched: (id: string): StepPromise<unknown> => {
      const path = scope.path === '' ? `~patch:${id}` : `${scope.path}/~patch:${id}`
      const { known, answers, replaying } = others.patches
      const before = answers.get(path)
      if (before !== undefined) return before
      // A run that is still being replayed and has no marker here passed this place before the edit.
      const answer =
        !known.has(path) && replaying()
          ? new StepPromise<unknown>((resolve) => resolve(false))
          : engine.claim(scope, {
              kind: 'patch',
              name: id,
              path,
              record: 'patch.marked',
              immediate: () => ({ value: true }),
            })
      answers.set(path, answer)
      return answer
    },
    log: (message: string, data?: Json) =>
      engine.live(scope, 'log', data === undefined ? { message } : { message, data }),
  }
  return Object.assign(run, ...others.extensions.map((extend) => extend(scope, derive))) as object
}

function draw(scope: Scope): Buffer {
  return createHash('sha256').update(`${scope.engine.seed}\n${scope.path}\n${scope.nextDraw()}`).digest()
}

/** A version 4 UUID (RFC 9562) from seeded bytes. */
function uuidFrom(bytes: Buffer): string {
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}
