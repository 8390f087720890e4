import { openPostgresLedger, postgresDispatcher } from '@convoke/postgres'
import { convoke } from 'convoke'
import { flowsFor } from './flows.ts'

// A worker on a shared store, until its stdin ends. Arguments: the store's URL, the counterpart's, the lease in
// milliseconds. It prints a line of JSON when it is ready and one for each trouble.

const [url, outside, leaseMs] = process.argv.slice(2) as [string, string, string]
const { hold, parcel, tools } = flowsFor(outside)
const tell = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

const app = convoke({
  store: () => openPostgresLedger({ url, leaseMs: Number(leaseMs) }),
  dispatcher: (ledger, clock) =>
    postgresDispatcher({
      ledger,
      clock,
      config: { connectionString: url },
      onTrouble: ({ message }) => tell({ message }),
    }),
  workflows: { hold, parcel },
  tools,
  onTrouble: (run, { code }) => tell({ run: run.stream.slice('run/'.length), code }),
})
await app.work()
tell({ ready: process.pid })
await new Promise((resolve) => process.stdin.once('end', resolve).resume())
await app.close()
