/** The child's half of restate.ts: an app on the store and the engine that the environment names. */
import { openPostgresLedger } from '@convoke/postgres'
import { restateDispatcher } from '@convoke/restate'
import { join } from 'node:path'
import { convoke, type App } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { chainOf, go, waitOf } from './flows.ts'
import { eachOf, type Order, type Scenes } from './harness.ts'
import { peakRss } from './limits.ts'
import { resultOf } from './results.ts'

const lanes = 100
const stepsOfRun = 10

function open({ dir }: Order, concurrency: number): App {
  const [url, ingress, admin] = ['POSTGRES_URL', 'RESTATE_INGRESS', 'RESTATE_ADMIN'].map(
    (it) => process.env[`BENCH_${it}`],
  )
  if (ingress === undefined || admin === undefined) throw new Error('restate.ts starts the engine and says where it is')
  return convoke({
    store: () => (url === undefined ? openSqliteLedger({ dir: join(dir, 'store') }) : openPostgresLedger({ url })),
    dispatcher: (ledger, clock) =>
      restateDispatcher({
        ledger,
        clock,
        concurrency,
        ingress,
        admin,
        listen: { host: '127.0.0.1', port: 0 },
        // What is driven is driven through the engine.
        patienceMs: 600_000,
      }),
    workflows: { chain: chainOf((_run, i) => resultOf(i, 1024)), wait: waitOf(() => resultOf(0, 1024)) },
  })
}

const chain = async (app: App, run: string, steps: number): Promise<unknown> =>
  (await app.start('chain', steps, { id: run })).result()

export const scenes: Scenes = {
  async chain(order, tell) {
    const app = open(order, 64)
    await chain(app, 'warm-up', 100)
    const from = performance.now()
    await chain(app, 'chain', order.size)
    const ms = performance.now() - from
    tell({ metric: 'steps_per_s', value: (order.size / ms) * 1000, unit: 'steps/s', note: 'from start to result' })
    await app.close()
  },

  async concurrent(order, tell) {
    const { size } = order
    const app = open(order, size)
    await chain(app, 'warm-up', stepsOfRun)
    const from = performance.now()
    await Promise.all(Array.from({ length: size }, (_, i) => chain(app, `run-${i}`, stepsOfRun)))
    const ms = performance.now() - from
    tell({ metric: 'steps_per_s', value: ((size * stepsOfRun) / ms) * 1000, unit: 'steps/s' })
    tell({ metric: 'peak_mb', value: peakRss(), unit: 'MB' })
    await app.close()
  },

  async parked(order, tell) {
    const app = open(order, 64)
    const park = async (run: string): Promise<unknown> => (await app.start('wait', null, { id: run })).settled()
    const wake = async (run: string): Promise<void> => {
      const handle = await app.run(run)
      await handle.signal(go, { sent: 0 })
      await handle.result()
    }
    await park('warm-up')
    await wake('warm-up')
    const runs = Array.from({ length: order.size }, (_, i) => `run-${i}`)
    const from = performance.now()
    await eachOf(runs, lanes, park)
    tell({ metric: 'ms_to_park_all', value: performance.now() - from, unit: 'ms' })
    const before = performance.now()
    await eachOf(runs, lanes, wake)
    tell({ metric: 'ms_to_wake_all', value: performance.now() - before, unit: 'ms' })
    await app.close()
  },
}
