import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Ledger } from '../ports/ledger.ts'
import { ledgerSuite } from '../testing/ledger-suite.ts'
import { openSqliteLedger } from './index.ts'

ledgerSuite(
  { describe, it, expect },
  {
    name: 'sqlite',
    open: async () => {
      const dir = mkdtempSync(join(tmpdir(), 'convoke-suite-'))
      const opened: Ledger[] = [await openSqliteLedger({ dir })]
      return {
        ledger: opened[0]!,
        another: async () => {
          const ledger = await openSqliteLedger({ dir })
          opened.push(ledger)
          return ledger
        },
        dispose: async () => {
          await Promise.all(opened.map((ledger) => ledger.close()))
          rmSync(dir, { recursive: true, force: true })
        },
      }
    },
  },
)
