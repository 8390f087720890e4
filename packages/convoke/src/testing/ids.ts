import { sha256 } from '../core/hash.ts'
import type { Ids } from '../ports/runtime.ts'

/** Ids that come out the same in every process with the same seed: `<seed>000001`, … Never for production. */
export function fakeIds(seed = 't'): Ids {
  let ids = 0
  let salts = 0
  return {
    next: () => seed + String(++ids).padStart(6, '0'),
    salt: () => sha256(`${seed}/${++salts}`).slice(0, 32),
  }
}
