/** Archives all that has ended, or brings it back, and ends itself (SIGKILL) at a named point; for archive.test.ts. */
import { createReadStream, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { kill, pid } from 'node:process'
import { archiveFolder, archiveRuns, openStoreAt, restoreRuns, type ArchivePlace, type Ledger } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { fakeClock, fakeIds } from 'convoke/testing'

interface Order {
  readonly store: string
  readonly to: string
  readonly act: 'archive' | 'restore'
  readonly point: string
  /** The how-manieth time. */
  readonly occurrence: number
}

const order = JSON.parse(process.argv[2] ?? '{}') as Order
let left = order.occurrence

function at(point: string): void {
  if (point === order.point && --left === 0) kill(pid, 'SIGKILL')
}

async function* killing<T>(items: AsyncIterable<T>, point: string): AsyncGenerator<T, void, undefined> {
  for await (const item of items) {
    at(point)
    yield item
  }
}

const folder = archiveFolder(order.to)
const place: ArchivePlace = {
  async write(name, bytes) {
    await folder.write(name, killing(bytes, 'writing'))
    at('written')
  },
  read: (name) => killing(folder.read(name) as AsyncIterable<Uint8Array>, 'reading'),
}

async function open(): Promise<Ledger> {
  // Within the ledger's own transaction.
  const crashAt = { point: order.point as 'commit.before', occurrence: order.occurrence }
  if (!order.store.includes('://'))
    return await openSqliteLedger({
      dir: order.store,
      ...(order.point.startsWith('commit.') ? { crashAt } : {}),
    })
  return await openStoreAt(order.store, { clock: fakeClock(), ids: fakeIds() })
}

const opened = await open()
const archive = opened.archive
if (archive === undefined) throw new Error('the store cannot archive')
const ledger: Ledger = {
  ...opened,
  archive: {
    ...archive,
    async drop(...args) {
      const dropped = archive.drop(...args)
      // The question is on its way.
      setImmediate(() => at('dropping'))
      await dropped
      at('dropped')
    },
    restore: (tenant, streams, items) => archive.restore(tenant, streams, killing(items, 'restoring')),
  },
}

if (order.act === 'archive')
  await archiveRuns(ledger, place, { tenant: 'local', before: Number.MAX_SAFE_INTEGER, at: 7, quietMs: 0 })
else
  for (const file of readdirSync(order.to).filter((name) => name.endsWith('.jsonl')))
    await restoreRuns(ledger, createReadStream(join(order.to, file)))
await opened.close()
