import { describe, expect, it } from 'vitest'
import type { Ledger } from '../ports/ledger.ts'
import { ledgerSuite } from './ledger-suite.ts'
import { createMemoryStore } from './memory-ledger.ts'

ledgerSuite(
  { describe, it, expect },
  {
    name: 'memory',
    open: () => {
      const store = createMemoryStore()
      const opened: Ledger[] = [store.open()]
      return Promise.resolve({
        ledger: opened[0]!,
        another: () => {
          const ledger = store.open()
          opened.push(ledger)
          return Promise.resolve(ledger)
        },
        dispose: async () => {
          for (const ledger of opened) await ledger.close()
        },
      })
    },
  },
)
