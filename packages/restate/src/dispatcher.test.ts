import { createServer, type AddressInfo } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock, type Dispatcher, type Ledger } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { dispatcherSuite } from 'convoke/testing'
import { restateDispatcher } from './dispatcher.ts'
import { startEmbeddedRestate, type EmbeddedRestate } from './embedded.ts'

let restate: EmbeddedRestate
let port = 0
beforeAll(async () => {
  restate = await startEmbeddedRestate({ fsync: false })
  port = await freePort()
}, 60_000)
afterAll(async () => {
  await restate.close()
})

dispatcherSuite(
  { describe, it, expect },
  {
    name: 'Restate, over SQLite',
    async open() {
      const dir = mkdtempSync(join(tmpdir(), 'convoke-restate-'))
      const opened: { ledger: Ledger; dispatcher: Dispatcher }[] = []
      const open = async (): Promise<(typeof opened)[number]> => {
        const ledger = await openSqliteLedger({ dir })
        const dispatcher = restateDispatcher({
          ledger,
          clock: systemClock,
          ingress: restate.ingress,
          admin: restate.admin,
          listen: { host: '127.0.0.1', port },
          // So long that what is driven is driven through the engine.
          patienceMs: 20_000,
        })
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
          rmSync(dir, { recursive: true, force: true })
        },
      }
    },
  },
)

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = probe.address() as AddressInfo
      probe.close(() => resolve(free))
    })
  })
}
