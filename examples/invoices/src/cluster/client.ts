import { setTimeout as sleep } from 'node:timers/promises'
import { convoke, isEnded, type App } from 'convoke'
import type { InboxItem } from '../inbox.ts'
import { readReports, type FileReport } from '../report.ts'
import { scriptedSquadModel } from '../squad/rules/index.ts'
import { squadOptions } from '../squad/squad.ts'
import { termsOf } from '../squad/terms.ts'
import type { Cluster } from './parts.ts'

// Whoever hands the invoices in and looks at what became of them. It drives nothing, and its own calls wait out whatever
// the cluster goes through: starting a run twice is starting it once.

export async function openClient({
  store,
  engine,
  tenant,
}: Pick<Cluster, 'store' | 'engine' | 'tenant'>): Promise<App> {
  return convoke({
    ...(await squadOptions({
      store,
      erpUrl: () => Promise.reject(new Error('a client calls no tools')),
      outbox: '',
      model: scriptedSquadModel(),
    })),
    engine,
    tenant,
    drives: false,
  })
}

export async function handIn(app: App, items: readonly InboxItem[]): Promise<void> {
  for (const { run, hash, bytes, file } of items)
    await patiently(async () => {
      const ledger = await app.ledger()
      await ledger.putBlobs(app.tenant, [{ hash, bytes, mediaType: 'application/pdf' }])
      const input = { hash, mediaType: 'application/pdf' }
      await app.start('reconcile-invoice', input, { ...termsOf(), id: run, tags: [file.slice(0, 120)] })
    })
}

/** Waits until every run has ended or waits for a person; then reads what became of them. */
export async function settled(
  app: App,
  items: readonly InboxItem[],
  { withinMs = 300_000 }: { readonly withinMs?: number } = {},
): Promise<FileReport[]> {
  const { tenant } = app
  const ledger = await app.ledger()
  const end = performance.now() + withinMs
  for (;;) {
    const rows = await patiently(() =>
      Promise.all(items.map(({ run }) => ledger.run({ tenant, stream: `run/${run}` }))),
    )
    const open = rows.filter((row) => row === undefined || !(isEnded(row.status) || isWaiting(row)))
    if (open.length === 0) return await patiently(() => readReports(ledger, tenant, items))
    if (performance.now() > end)
      throw new Error(`not at rest: ${open.map((row) => `${row?.run ?? '?'} ${row?.status ?? 'unknown'}`).join(', ')}`)
    await sleep(100)
  }
}

function isWaiting(row: { readonly status: string; readonly due?: number | undefined }): boolean {
  return row.status === 'stopped' || (row.status === 'parked' && row.due === undefined)
}

const retried = new Set(['LEDGER_IO', 'LEDGER_BUSY', 'STORE_UNREACHABLE', 'ENGINE_UNREACHABLE'])

/** Tries again while a part of the cluster is away, for half a minute. */
export async function patiently<T>(act: () => Promise<T>): Promise<T> {
  const end = performance.now() + 30_000
  for (;;) {
    try {
      return await act()
    } catch (error) {
      const code = (error as { readonly code?: unknown }).code
      if (typeof code !== 'string' || !retried.has(code) || performance.now() > end) throw error
      await sleep(250)
    }
  }
}
