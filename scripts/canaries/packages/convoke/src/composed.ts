// Control: a composition root may import every floor, adapters included.
import { when } from './app/knows-adapter.ts'
import { at } from './ledger-sqlite/reaches-replay.ts'

export const both: readonly (() => number)[] = [at, when]
