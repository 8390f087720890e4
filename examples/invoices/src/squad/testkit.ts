import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { convoke, type App, type ConvokeOptions, type Ledger, type LedgerRecord, type RunHandle } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { startErp, type Erp } from '../erp/start.ts'
import { scriptedSquadModel } from './rules/index.ts'
import { everything, type Protections } from './protections.ts'
import { squadOptions } from './squad.ts'
import { termsOf } from './terms.ts'
import type { SquadResult } from './types.ts'

const shipped = fileURLToPath(new URL('../../inbox', import.meta.url))

/** The squad in this process, over a real ERP in its own, in a folder of its own. */
export interface Bench {
  readonly app: App
  readonly ledger: Ledger
  readonly erp: Erp
  readonly folder: string
  start(file: string): Promise<RunHandle<SquadResult>>
  /** The same store and ERP with other options, as after a new build. */
  again(change?: (options: ConvokeOptions) => ConvokeOptions): Promise<App>
  records(run: string): Promise<LedgerRecord[]>
  payments(): Promise<readonly { invoice: string; amount: string; run?: string }[]>
  audit(): Promise<readonly { path: string; run: string | null; applied: string; method: string }[]>
  stop(): Promise<void>
}

export async function startBench(
  change: (options: ConvokeOptions) => ConvokeOptions = (options) => options,
  protections: Protections = everything,
): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'convoke-squad-'))
  const erp = await startErp({ dataDir: join(folder, 'erp') })
  const apps: App[] = []
  const open = async (its: (options: ConvokeOptions) => ConvokeOptions): Promise<{ app: App; ledger: Ledger }> => {
    const ledger = await openSqliteLedger({ dir: join(folder, 'store') })
    const app = convoke(
      its({
        ...(await squadOptions(
          {
            store: async () => ledger,
            erpUrl: async () => erp.url,
            outbox: join(folder, 'outbox'),
            model: scriptedSquadModel(),
          },
          protections,
        )),
      }),
    )
    apps.push(app)
    return { app, ledger }
  }
  const { app, ledger } = await open(change)
  const get = async <T>(path: string): Promise<T> => (await (await fetch(new URL(path, erp.url))).json()) as T
  return {
    app,
    ledger,
    erp,
    folder,
    async start(file) {
      const bytes = await readFile(join(shipped, file))
      const hash = createHash('sha256').update(bytes).digest('hex')
      await ledger.putBlobs('local', [{ hash, bytes, mediaType: 'application/pdf' }])
      return app.start<unknown, SquadResult>(
        'reconcile-invoice',
        { hash, mediaType: 'application/pdf' },
        { ...termsOf(protections), id: `r_${file.replace(/^inv-|\.pdf$/g, '')}` },
      )
    },
    async again(its = (options) => options) {
      await app.close()
      return (await open(its)).app
    },
    records: async (run) => {
      const from = await openSqliteLedger({ dir: join(folder, 'store') })
      try {
        return await from.read({ tenant: 'local', stream: `run/${run}` }, { limit: 10_000 })
      } finally {
        await from.close()
      }
    },
    payments: async () =>
      (await get<{ items: { invoice: string; amount: string; run?: string }[] }>('/payments')).items,
    audit: () => get('/audit'),
    async stop() {
      for (const one of apps) await one.close()
      await erp.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
