import { canonicalize } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json } from '../core/json.ts'
import { joinLabels } from '../core/labels.ts'
import { joinPath } from '../core/path.ts'
import type { RecordRef } from '../core/record.ts'
import type { Claim } from './claim.ts'
import { Provenance, whyOf, type Origin } from './provenance.ts'
import type { Scope } from './scope.ts'
import { StepPromise } from './step-promise.ts'
import type { Operation } from './types.ts'

const noOrigins: ReadonlyMap<RecordRef, Origin> = new Map()
const maxPrints = 1000

/** The runs of a tenant share what they know: steps without arguments have the same fingerprint in all of them. */
const prints = new WeakMap<(text: string) => string, Map<string, string>>()
function printsOf(keyed: (text: string) => string): Map<string, string> {
  let known = prints.get(keyed)
  if (known === undefined) prints.set(keyed, (known = new Map()))
  return known
}

const printedText = 256

/** Makes claims out of operations: path, fingerprint, causes and labels. Owns where delivered values came from. */
export class Claims {
  readonly #keyed: (text: string) => string
  readonly #provenance = new Provenance()
  readonly #prints: Map<string, string>

  constructor(keyed: (text: string) => string) {
    this.#keyed = keyed
    this.#prints = printsOf(keyed)
  }

  /** @throws NOT_CANONICAL, NAME_INVALID, STEP_REPEATED; the scope is unchanged then */
  make(scope: Scope, operation: Operation): Claim {
    const inputText = operation.inputText ?? (operation.input === undefined ? undefined : canonicalize(operation.input))
    const repeat = operation.path === undefined ? enter(scope, operation.name) : 0
    let resolve!: (value: unknown) => void
    let reject!: (error: unknown) => void
    const promise = new StepPromise<unknown>((yes, no) => {
      resolve = yes
      reject = no
    })
    StepPromise.quiet(promise)
    const input = operation.input === undefined ? noOrigins : this.#provenance.collect(operation.input)
    const declared = operation.from === undefined ? noOrigins : this.#provenance.collect(operation.from)
    const { flow, from } = operation
    const dataOnly = flow === 'data' || (flow === 'whole' && this.#provenance.of(from?.[0]) !== undefined)
    const why = whyOf(input, declared, scope.frontier, operation.causes ?? [], dataOnly)
    const more = operation.labels
    return {
      causes: why.causes,
      labels: more === undefined ? why.labels : joinLabels([why.labels, more]),
      highWater: more === undefined ? why.highWater : joinLabels([why.highWater, more]),
      path: operation.path ?? joinPath(scope.path, operation.name, repeat),
      key: operation.name,
      scope,
      operation,
      inputText,
      fingerprint: this.#fingerprint(operation, inputText),
      environment: operation.environment === undefined ? undefined : environmentHash(operation.environment),
      builtOn: [...scope.frontier.keys()],
      history: [],
      promise,
      resolve,
      reject,
      waits: [],
      taken: [],
      state: 'claimed',
    }
  }

  /** Everything inside a delivered value leads back to its record. */
  register(value: unknown, origin: Origin): void {
    this.#provenance.register(value, origin)
  }

  /** Most steps have no arguments, or the same few: their fingerprints are computed once. */
  #fingerprint(operation: Operation, inputText: string | undefined): string {
    const text = `${operation.kind}\n${operation.target ?? ''}\n${operation.version ?? ''}\n${inputText ?? ''}`
    const known = this.#prints.get(text)
    if (known !== undefined) return known
    const print = this.#keyed(text).slice(0, 32)
    if (text.length <= printedText && this.#prints.size < maxPrints) this.#prints.set(text, print)
    return print
  }
}

const environments = new WeakMap<object, string>()

/** Many steps share an environment: that of a frozen one is computed once. */
function environmentHash(environment: Json): string {
  const known = typeof environment === 'object' && environment !== null ? environments.get(environment) : undefined
  if (known !== undefined) return known
  const hash = sha256(canonicalize(environment)).slice(0, 32)
  if (typeof environment === 'object' && environment !== null && Object.isFrozen(environment))
    environments.set(environment, hash)
  return hash
}

/** Takes a name in a scope; `leave` gives it back. @throws STEP_REPEATED while its predecessor is unfinished */
export function enter(scope: Scope, name: string): number {
  const before = scope.names.get(name) ?? 0
  if (scope.underWay.has(name))
    throw new ConvokeError(
      'STEP_REPEATED',
      `${joinPath(scope.path, name, before)} is not finished, so ${JSON.stringify(name)} cannot start again in the same scope`,
      {
        details: { scope: scope.path, name },
        next: 'await the first one, or use all() with named branches or map() with a key per item',
      },
    )
  scope.names.set(name, before + 1)
  scope.underWay.set(name, true)
  return before + 1
}

export function leave(scope: Scope, name: string): void {
  scope.underWay.delete(name)
}
