import { appending } from './ledger-suite/appending.ts'
import { archiving } from './ledger-suite/archiving.ts'
import { following } from './ledger-suite/following.ts'
import { guarding } from './ledger-suite/guarding.ts'
import { owning } from './ledger-suite/owning.ts'
import { projecting } from './ledger-suite/projecting.ts'
import { reading } from './ledger-suite/reading.ts'
import type { Framework, LedgerFixture } from './ledger-suite/support.ts'

export type { Framework, LedgerFixture } from './ledger-suite/support.ts'

/**
 * The behaviour of the ledger port, the same for every adapter. Pass the functions of the test framework, and how to
 * open a fresh, empty store:
 *
 *     ledgerSuite({ describe, it, expect }, { name: 'sqlite', open })
 */
export function ledgerSuite(
  framework: Framework,
  adapter: { readonly name: string; readonly open: () => Promise<LedgerFixture> },
): void {
  framework.describe(`ledger: ${adapter.name}`, () => {
    for (const part of [appending, reading, guarding, owning, projecting, following, archiving])
      part(framework, adapter.open)
  })
}
