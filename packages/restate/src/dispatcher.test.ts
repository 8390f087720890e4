import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openPostgresLedger } from '@convoke/postgres'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@convoke/postgres/embedded'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock, type Dispatcher, type Ledger } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { dispatcherSuite, type DispatcherFixture } from 'convoke/testing'
import { freePort } from '../test/ports.ts'
import { restateDispatcher } from './dispatcher.ts'
import { startEmbeddedRestate, type EmbeddedRestate } from './embedded.ts'

const isLong = process.env['CONVOKE_TEST_LONG'] === '1'
let restate: EmbeddedRestate
let postgres: EmbeddedPostgres | undefined
let port = 0
beforeAll(async () => {
  restate = await startEmbeddedRestate({ fsync: false })
  if (isLong) postgres = await startEmbeddedPostgres({ fsync: false })
  port = await freePort()
}, 60_000)
afterAll(async () => {
  await restate.close()
  await postgres?.close()
})

async function fixture(openLedger: () => Promise<Ledger>, remove: () => void): Promise<DispatcherFixture> {
  const opened: { ledger: Ledger; dispatcher: Dispatcher }[] = []
  const open = async (): Promise<(typeof opened)[number]> => {
    const ledger = await openLedger()
    const { ingress, admin } = restate
    const listen = { host: '127.0.0.1', port }
    // So much patience that what is driven is driven through the engine.
    const dispatcher = restateDispatcher({ ledger, clock: systemClock, ingress, admin, listen, patienceMs: 20_000 })
    const made = { ledger, dispatcher }
    opened.push(made)
    return made
  }
  return {
    ...(await open()),
    another: open,
    async dispose() {
      for (const { dispatcher } of opened) await dispatcher.stop()
      for (const { ledger } of opened) await ledger.close()
      remove()
    },
  }
}

dispatcherSuite(
  { describe, it, expect },
  {
    name: 'Restate, over SQLite',
    async open() {
      const dir = mkdtempSync(join(tmpdir(), 'convoke-restate-'))
      return await fixture(
        () => openSqliteLedger({ dir }),
        () => rmSync(dir, { recursive: true, force: true }),
      )
    },
  },
)

if (isLong)
  dispatcherSuite(
    { describe, it, expect },
    {
      name: 'Restate, over Postgres',
      async open() {
        const url = await (postgres as EmbeddedPostgres).newDatabase()
        return await fixture(
          () => openPostgresLedger({ url }),
          () => undefined,
        )
      },
    },
  )
