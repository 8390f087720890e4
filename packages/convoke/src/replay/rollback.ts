import { ConvokeError, toErrorData } from '../core/errors.ts'
import type { Scope } from './scope.ts'
import type { Operation } from './types.ts'

/** Takes scopes back, one at a time: a run that ends while an attempt takes back waits for it. */
export class Rollbacks {
  #last: Promise<void> = Promise.resolve()
  #unheard: Error | undefined

  /** Runs a scope's compensations, last first. @throws COMPENSATION_FAILED */
  take(scope: Scope, claim: (operation: Operation) => Promise<unknown>): Promise<void> {
    const done = this.#last.then(() => takeBack(scope, claim))
    this.#last = done.catch((error: unknown) => {
      // Whose code was given up meanwhile hears nothing any more.
      if (scope.parent?.dead) this.#unheard ??= error as Error
    })
    return done
  }

  /** Resolves when nothing is being taken back. @throws COMPENSATION_FAILED of a scope whose code had been given up */
  async done(): Promise<void> {
    await this.#last
    if (this.#unheard !== undefined) throw this.#unheard
  }
}

async function takeBack(scope: Scope, claim: (operation: Operation) => Promise<unknown>): Promise<void> {
  const failed: string[] = []
  const lastFirst = scope.compensations.splice(0).sort((a, b) => b.order - a.order)
  for (const { path, operation, ref } of lastFirst) {
    const causes = [...(operation.causes ?? []), { ref, kind: 'control' as const }]
    try {
      await claim({ ...operation, path: `${path}~undo`, causes })
    } catch (error) {
      failed.push(`${path}: ${toErrorData(error).message}`)
    }
  }
  if (failed.length > 0)
    throw new ConvokeError(
      'COMPENSATION_FAILED',
      `${failed.length} of the scope's effects could not be taken back: ${failed.join('; ')}`,
      { details: { failed }, next: 'take them back by hand; convoke why shows what they were' },
    )
}
