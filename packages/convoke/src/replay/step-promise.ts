/**
 * The promise a step returns. It remembers whether anybody ever looked at it, so that a step nobody awaits is an error
 * (R11) and a rejection nobody handles yet does not end the process.
 */
export class StepPromise<T> extends Promise<T> {
  observed = false

  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  // oxlint-disable-next-line unicorn/no-thenable -- a promise that notes who looks at it has to see `then`
  override then<A = T, B = never>(
    onFulfilled?: ((value: T) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.observed = true
    return super.then(onFulfilled, onRejected)
  }

  /** What given-up code gets: it goes no further. */
  static never(): StepPromise<never> {
    return new StepPromise<never>(() => undefined)
  }

  /** Handles a rejection without counting as observed. */
  static quiet(promise: StepPromise<unknown>): void {
    void Promise.prototype.then.call(promise, undefined, () => undefined)
  }
}
