import { systemClock } from 'convoke'
import { dispatcherSuite } from 'convoke/testing'
import type { Dispatcher, Ledger } from 'convoke/adapter'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../embedded/server.ts'
import { openPostgresLedger } from '../ledger/open.ts'
import { postgresDispatcher } from './dispatcher.ts'

let server: EmbeddedPostgres
beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false })
}, 60_000)
afterAll(() => server.close())

dispatcherSuite(
  { describe, it, expect },
  {
    name: 'postgres',
    async open() {
      const url = await server.newDatabase()
      const opened: { ledger: Ledger; dispatcher: Dispatcher }[] = []
      const open = async (): Promise<(typeof opened)[number]> => {
        const ledger = await openPostgresLedger({ url })
        const config = { connectionString: url }
        const made = { ledger, dispatcher: postgresDispatcher({ ledger, clock: systemClock, config }) }
        opened.push(made)
        return made
      }
      return {
        ...(await open()),
        another: open,
        async dispose() {
          for (const { dispatcher } of opened) await dispatcher.stop()
          for (const { ledger } of opened) await ledger.close()
        },
      }
    },
  },
)
