import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { readInbox } from '../inbox.ts'
import { table } from '../report.ts'
import { follow } from '../screen.ts'
import { scriptedSquadModel } from '../squad/rules/index.ts'
import { handIn, openClient, settled } from './client.ts'
import { startCluster, startServers, type Cluster, type Engine, type Servers } from './parts.ts'

// npm run cluster                       Postgres, Restate, three workers and the ERP on this machine; workers are killed
// npm run cluster -- --engine postgres  the dispatcher that needs nothing but Postgres
// npm run cluster -- --nodes 3          a Restate cluster of three, of which one is killed as well
// npm run cluster -- --kills 0          let them live

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'restate' },
    nodes: { type: 'string', default: '1' },
    workers: { type: 'string', default: '3' },
    kills: { type: 'string', default: '4' },
    inbox: { type: 'string' },
  },
})
if (values.engine !== 'restate' && values.engine !== 'postgres') usage(`--engine is restate or postgres`)
if (values.nodes !== '1' && values.nodes !== '3') usage('--nodes is 1 or 3')
const counts = [values.workers, values.kills].map(Number)
if (!counts.every((n) => Number.isInteger(n) && n >= 0) || counts[0] === 0) usage('--workers and --kills are numbers')

function usage(says: string): never {
  process.stderr.write(
    `USAGE: ${says}\nnext: npm run cluster -- --engine restate|postgres --nodes 1|3 --workers 3 --kills 4\n`,
  )
  process.exit(2)
}

const say = (text: string): void => void process.stdout.write(`${text}\n`)
let servers: Servers | undefined
let cluster: Cluster | undefined
let interrupted = false

async function end(): Promise<void> {
  const parts = [cluster, servers]
  cluster = servers = undefined
  for (const part of parts) await part?.close()
}

process.once('SIGINT', () => {
  interrupted = true
  say('ending the cluster; what it had done is in its database, which goes with it')
  void end().then(() => process.exit(130))
})

try {
  say('Starting Postgres, the engine, the ERP and the workers; the first time takes some seconds.')
  const inbox = values.inbox ?? fileURLToPath(new URL('../../inbox', import.meta.url))
  const items = await readInbox(inbox, '')
  servers = await startServers({
    engine: values.engine as Engine,
    nodes: values.nodes === '3' ? 3 : 1,
  })
  cluster = await startCluster({ servers, tenant: 'local', workers: Number(values.workers), leaseMs: 2_000 })
  say(`Postgres 127.0.0.1:${servers.postgres.port} · engine ${cluster.engine}`)
  const app = await openClient(cluster)
  const ledger = await app.ledger()
  const screen = follow(ledger, app.tenant, items)
  screen.header({
    store: 'postgres',
    model: scriptedSquadModel(),
    erp: cluster.erp.url,
    files: items.length,
    roles: 12,
    concurrency: 4 * Number(values.workers),
  })
  const began = performance.now()
  await handIn(app, items)
  const killing = kill(cluster, Number(values.kills))
  const reports = await settled(app, items)
  const seconds = ((performance.now() - began) / 1_000).toFixed(1)
  await killing.stop()
  await screen.settle()
  screen.stop()
  const summary = (await (await fetch(new URL('/audit/summary', cluster.erp.url))).json()) as {
    readonly calls: number
    readonly repeatedEffects: number
  }
  say(`\n${table(reports, process.stdout.columns ?? 140)}\n`)
  say(
    `${items.length} invoices in ${seconds} s by ${values.workers} workers, ${killing.count()} of them killed with -9 on the way.`,
  )
  say(`ERP audit: ${summary.calls} calls, ${summary.repeatedEffects} repeated effects`)
  await app.close()
  if (summary.repeatedEffects !== 0 || reports.some((report) => report.status === 'failed')) process.exitCode = 1
} catch (error) {
  if (!interrupted) {
    const { code, message, next } = error as { code?: string; message: string; next?: string }
    process.stderr.write(`${code ?? 'FAILED'}: ${message}\n${next === undefined ? '' : `next: ${next}\n`}`)
    process.exitCode = 1
  }
} finally {
  if (!interrupted) await end()
}

/** Kills one worker after the other while they work, and starts a new one for each. */
function kill(its: Cluster, times: number): { count(): number; stop(): Promise<void> } {
  let killed = 0
  let stopped = false
  const done = (async () => {
    while (!stopped && killed < times) {
      await new Promise((resolve) => setTimeout(resolve, 700))
      const victim = its.workers[killed % its.workers.length]
      if (stopped || victim === undefined) return
      victim.kill('SIGKILL')
      await victim.ended
      killed++
      say(`      kill -9 ${victim.pid}`)
      await its.addWorker()
    }
  })()
  done.catch(() => undefined)
  return {
    count: () => killed,
    async stop() {
      stopped = true
      await done
    },
  }
}
