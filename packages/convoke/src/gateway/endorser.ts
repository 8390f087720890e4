import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'

/** A function that the app trusts to judge values. Its name and version are on record with every value it let pass. */
export interface Endorser {
  readonly kind: 'endorser'
  readonly name: string
  readonly version: string
  /** True, or why not. Must be quick, and have no effects. */
  readonly check: (value: Json) => boolean | string
}

/** @throws DEFINITION_INVALID without a name or a function */
export function endorser(definition: {
  readonly name: string
  readonly version?: string
  readonly check: (value: Json) => boolean | string
}): Endorser {
  if (typeof definition.name !== 'string' || definition.name === '' || typeof definition.check !== 'function')
    throw new ConvokeError('DEFINITION_INVALID', 'an endorser needs a name and a check', { next: 'see docs/flow.md' })
  return Object.freeze({
    kind: 'endorser',
    name: definition.name,
    version: definition.version ?? '1',
    check: definition.check,
  })
}
