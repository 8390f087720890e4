import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openSqliteLedger } from '../ledger-sqlite/index.ts'
import type { Dispatcher } from '../ports/dispatcher.ts'
import type { Ledger } from '../ports/ledger.ts'
import { systemClock } from '../system/clock.ts'
import { dispatcherSuite } from '../testing/dispatcher-suite.ts'
import { localDispatcher } from './dispatcher.ts'

dispatcherSuite(
  { describe, it, expect },
  {
    name: 'local, over SQLite',
    async open() {
      const dir = mkdtempSync(join(tmpdir(), 'convoke-dispatch-'))
      const opened: { ledger: Ledger; dispatcher: Dispatcher }[] = []
      const open = async (): Promise<(typeof opened)[number]> => {
        const ledger = await openSqliteLedger({ dir })
        const made = { ledger, dispatcher: localDispatcher({ ledger, clock: systemClock, sweepMs: 500 }) }
        opened.push(made)
        return made
      }
      return {
        ...(await open()),
        another: open,
        async dispose() {
          for (const { dispatcher } of opened) await dispatcher.stop()
          for (const { ledger } of opened) await ledger.close()
          rmSync(dir, { recursive: true, force: true })
        },
      }
    },
  },
)
