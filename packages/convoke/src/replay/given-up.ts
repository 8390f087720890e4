import { ConvokeError } from '../core/errors.ts'
import type { Claim } from './claim.ts'
import type { Scope } from './scope.ts'

export function givenUp(scope: Scope): ConvokeError {
  const reason: unknown = scope.signal.reason
  return new ConvokeError(
    'SCOPE_CANCELLED',
    `scope ${scope.path === '' ? 'of the run' : scope.path} was given up${reason instanceof Error ? `: ${reason.message}` : ''}`,
  )
}

function within(inner: Scope, outer: Scope): boolean {
  for (let scope: Scope | undefined = inner; scope !== undefined; scope = scope.parent) if (scope === outer) return true
  return false
}

interface Claims {
  values(): Iterable<Claim>
}

/** Who waits until nothing that may have acted outside is pending in a scope that was given up. */
export class Settlers {
  #waiting: { readonly scope: Scope; readonly resolve: () => void }[] = []

  wait(scope: Scope, claims: Claims): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ scope, resolve })
      this.check(claims)
    })
  }

  check(claims: Claims): void {
    if (this.#waiting.length === 0) return
    const pending = [...claims.values()].filter((c) => c.operation.effect === true && c.scope.dead)
    this.#waiting = this.#waiting.filter(({ scope, resolve }) => {
      const waits = pending.some((c) => within(c.scope, scope))
      if (!waits) resolve()
      return waits
    })
  }
}
