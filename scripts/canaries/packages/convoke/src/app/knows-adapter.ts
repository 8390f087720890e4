// Canary: adapters are known to nobody but composition roots.
import { at } from '../ledger-sqlite/reaches-replay.ts'

export const when: () => number = at
