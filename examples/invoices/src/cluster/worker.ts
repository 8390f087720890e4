import { convoke } from 'convoke'
import { probeFromEnv } from 'convoke/testing'
import { scriptedSquadModel } from '../squad/rules/index.ts'
import { squadOptions } from '../squad/squad.ts'

// One worker of a cluster: the same app as `npm start`, on a store and an engine that are elsewhere. It says when it is
// ready, drives what it is handed, and may be killed at any moment.

function need(name: string): string {
  const value = process.env[name]
  if (value === undefined || value === '') throw new Error(`${name} is not set; cluster/main.ts starts workers`)
  return value
}

const probe = probeFromEnv()
const app = convoke({
  ...(await squadOptions({
    store: need('CONVOKE_STORE'),
    erpUrl: async () => need('CLUSTER_ERP'),
    outbox: need('CLUSTER_OUTBOX'),
    model: scriptedSquadModel(),
  })),
  engine: need('CONVOKE_ENGINE'),
  tenant: need('CONVOKE_TENANT'),
  concurrency: 4,
  ...(process.env['CLUSTER_LEASE_MS'] === undefined ? {} : { leaseMs: Number(process.env['CLUSTER_LEASE_MS']) }),
  ...(probe === undefined ? {} : { probe }),
  // What a dead part of the cluster makes workers say is expected here; the ERP's books are what counts.
  onTrouble: (run, error) => process.stderr.write(`${run.stream} ${error.code} ${error.message}\n`),
})

process.once('SIGTERM', () => void app.close())
await app.work()
process.stdout.write('ready\n')
await app.closed
