import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { convoke } from '../../src/convoke.ts'
import { recordHistory } from '../../src/testing/history.ts'
import { go, rooms, workflows } from './code.ts'

// Records the histories of a release, once: node --conditions=convoke-source packages/convoke/test/histories/record.ts 0.1.0
// What stands in a released folder is never recorded again.

const release = process.argv[2] ?? ''
if (!/^\d+\.\d+\.\d+$/.test(release)) throw new Error('say which release, such as 0.1.0')
const into = join(import.meta.dirname, release)
const store = mkdtempSync(join(tmpdir(), 'convoke-record-'))
const app = convoke({ store, workflows, ...rooms })
const ledger = await app.ledger()
mkdirSync(into, { recursive: true })

async function keep(run: string): Promise<void> {
  writeFileSync(join(into, `${run}.json`), await recordHistory(ledger, app.tenant, run))
}

const durable = await app.start(workflows.durable, undefined, { id: 'durable' })
await durable.settled()
await keep('durable')
const fresh = join(into, 'parked.json')
writeFileSync(fresh, await recordHistory(ledger, app.tenant, 'durable'))
await durable.signal(go, { amount: '7.00' })
await durable.result()
await keep('durable')

const fork = await durable.fork({
  id: 'fork',
  at: 'middle',
  set: [{ step: 'first', pointer: '/n', value: 2 }],
  reuse: 'unchanged',
  effects: 'dry',
})
await fork.settled()
await fork.signal(go, { amount: '8.00' })
await fork.result()
await keep('fork')

const failing = await app.start(workflows.failing, undefined, { id: 'failing' })
await failing.result().catch(() => undefined)
await keep('failing')

const asking = await app.start(workflows.asking, { text: 'this' }, { id: 'asking' })
await asking.result()
await keep('asking')

const cancelled = await app.start(workflows.durable, undefined, { id: 'cancelled' })
await cancelled.settled()
await cancelled.cancel('not needed')
await cancelled.result().catch(() => undefined)
await keep('cancelled')

for (const run of ['counted', 'counted~3']) {
  if (run === 'counted') await (await app.start(workflows.child, { n: 1 }, { id: run })).result()
  await keep(run)
}
await app.close()
rmSync(store, { recursive: true, force: true })
