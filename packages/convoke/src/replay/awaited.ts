import { joinPath } from '../core/path.ts'
import type { Scope } from './scope.ts'
import { StepPromise } from './step-promise.ts'

/** Remembers which promises nobody has looked at yet: a step that is never awaited is an error (R11). */
export class Awaited {
  readonly #suspects: { readonly scope: Scope; readonly path: string; readonly promise: StepPromise<unknown> }[] = []

  note(scope: Scope, path: string, promise: StepPromise<unknown>): void {
    if (!promise.observed) this.#suspects.push({ scope, path, promise })
  }

  /** Watches over a promise that is made of others, such as a fan-out's; given-up code hears nothing of it either. */
  watch<T>(scope: Scope, name: string, promise: Promise<T>): StepPromise<T> {
    const watched = new StepPromise<T>((resolve, reject) => {
      promise.then(
        (value) => (scope.dead ? undefined : resolve(value)),
        (error: unknown) => (scope.dead ? undefined : reject(error as Error)),
      )
    })
    StepPromise.quiet(watched)
    this.note(scope, joinPath(scope.path, name, 1), watched)
    return watched
  }

  unobserved(): string[] {
    return this.#suspects.filter((s) => !s.promise.observed && !s.scope.dead).map((s) => s.path)
  }
}
