import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Ledger } from 'convoke'
import { ledgerSuite } from 'convoke/testing'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../embedded.ts'
import { openPostgresLedger } from './open.ts'

let server: EmbeddedPostgres

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false })
}, 60_000)
afterAll(() => server.close())

ledgerSuite(
  { describe, it, expect },
  {
    name: 'postgres',
    open: async () => {
      const url = await server.newDatabase()
      const opened: Ledger[] = [await openPostgresLedger(url)]
      return {
        ledger: opened[0]!,
        another: async () => {
          const ledger = await openPostgresLedger(url)
          opened.push(ledger)
          return ledger
        },
        dispose: async () => {
          await Promise.all(opened.map((ledger) => ledger.close()))
        },
      }
    },
  },
)
