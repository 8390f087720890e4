/** DBOS Transact on Postgres (`fsync=on`, `synchronous_commit=on`), whose server the parent process starts. */
import { DBOS } from '@dbos-inc/dbos-sdk'
import pg from 'pg'
import { type Body, type Engine, type Order, eachOf, serve } from './lib.ts'

const LANES = 100

const peer = {
  async open(_order: Order, body: Body): Promise<Engine> {
    const url = process.env['BENCH_POSTGRES_URL'] ?? ''
    if (url === '') throw new Error('BENCH_POSTGRES_URL is not set: run.ts starts Postgres and sets it')
    const database = new pg.Client({ connectionString: url })
    const one = async (sql: string): Promise<string> =>
      String(Object.values((await database.query(sql)).rows[0] ?? {})[0])
    const step = (name: string, run: string, i: number): Promise<unknown> =>
      DBOS.runStep(async () => body(run, i), { name })
    let onTurn: (turn: number) => void = () => undefined
    let messages = 0

    const chain = DBOS.registerWorkflow(
      async (run: string, size: number) => {
        for (let i = 0; i < size; i++) await step(`s${i}`, run, i)
      },
      { name: 'chain' },
    )
    const talk = DBOS.registerWorkflow(
      async (run: string, size: number) => {
        const history: unknown[] = []
        for (let turn = 0; turn < size; turn++) {
          onTurn(turn)
          history.push(await step(`q${turn}`, run, 2 * turn), await step(`a${turn}`, run, 2 * turn + 1))
        }
        messages = history.length
      },
      { name: 'talk' },
    )
    const fan = DBOS.registerWorkflow(
      async (run: string, size: number) => {
        await Promise.all(Array.from({ length: size }, (_, i) => step(`b${i}`, run, i)))
        await step('join', run, size)
      },
      { name: 'fan' },
    )
    const wait = DBOS.registerWorkflow(
      async (run: string, _size: number) => {
        await DBOS.recv('go', 86_400)
        await step('after', run, 0)
      },
      { name: 'wait' },
    )
    DBOS.setConfig({
      name: 'bench',
      systemDatabaseUrl: url,
      logLevel: 'error',
      applicationVersion: '1',
      systemDatabasePoolSize: 20,
    })
    await DBOS.launch()
    await database.connect()
    const start = (flow: typeof chain, run: string, size: number) =>
      DBOS.startWorkflow(flow, { workflowID: run })(run, size)
    const finish = async (flow: typeof chain, run: string, size: number): Promise<void> => {
      await (await start(flow, run, size)).getResult()
    }
    const waiting = new Map<string, { getResult(): Promise<unknown> }>()

    return {
      chain: (run, steps) => finish(chain, run, steps),
      // launch() has taken up what this executor left; only the end remains to be awaited.
      async resume(run) {
        await DBOS.retrieveWorkflow(run).getResult()
      },
      async converse(run, turns, before) {
        onTurn = before
        await finish(talk, run, turns)
        return messages
      },
      fanout: (run, branches) => finish(fan, run, branches),
      park: (runs) =>
        eachOf(runs, LANES, async (run) => {
          waiting.set(run, await start(wait, run, 0))
        }),
      async wake(runs) {
        await eachOf(runs, LANES, (run) => DBOS.send(run, 'go', 'go'))
        await Promise.all(runs.map((run) => waiting.get(run)?.getResult()))
      },
      storedBytes: async () => Number(await one('SELECT pg_database_size(current_database())')),
      async syncs() {
        await database.query('SELECT pg_stat_force_next_flush()')
        // Every backend reports its own counts about once a second.
        await new Promise((resolve) => setTimeout(resolve, 2500))
        return Number(await one("SELECT coalesce(sum(fsyncs), 0) FROM pg_stat_io WHERE object = 'wal'"))
      },
      async durability() {
        const [fsync, commit] = [await one('SHOW fsync'), await one('SHOW synchronous_commit')]
        return `Postgres, fsync=${fsync}, synchronous_commit=${commit}`
      },
      async close() {
        await database.end()
        await DBOS.shutdown()
      },
    }
  },
}

await serve(peer)
