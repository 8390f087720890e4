import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Ledger } from '../ports/ledger.ts'
import { ledgerSuite } from '../testing/ledger-suite.ts'
import { openLedger } from './index.ts'

// In the ledger's thread, in the caller's, and in both: moving after a few calls.
for (const [name, where] of [
  ['sqlite', undefined],
  ['sqlite in its thread', 'never'],
  ['sqlite here', 'only'],
  ['sqlite here, then in its thread', 4],
] as const)
  ledgerSuite(
    { describe, it, expect },
    {
      name,
      open: async () => {
        const dir = mkdtempSync(join(tmpdir(), 'convoke-suite-'))
        const opened: Ledger[] = [await openLedger({ dir }, where)]
        return {
          ledger: opened[0]!,
          another: async () => {
            const ledger = await openLedger({ dir }, where)
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
