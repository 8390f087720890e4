import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readInbox, type InboxItem } from '../inbox.ts'
import { readBooks, type Books } from '../counterpart.ts'
import { asData } from '../report.ts'
import { handIn, openClient, settled } from './client.ts'
import { startCluster, type Cluster, type Servers } from './parts.ts'

// The squad on Postgres with an engine, while one part after the other is killed with -9. What counts is counted at the
// ERP: every effect once, and the same answers as when nothing was killed.

export interface ClusterTruth {
  readonly answers: string
  readonly books: Books
  /** How often each named point is reached by a worker that works alone. */
  readonly points: ReadonlyMap<string, number>
}

/** What is killed, and when. */
export interface Trouble {
  readonly name: string
  /** Where the first worker kills itself: `<point>#<n>`. */
  readonly crashAt?: string
  /** Acts once the invoices have been handed in; killed parts must be back when it resolves. */
  readonly act?: (cluster: Cluster) => Promise<void>
}

export interface TroubleResult {
  readonly name: string
  /** Whether the worker that was to kill itself did. */
  readonly killed: boolean
  readonly problems: readonly string[]
  readonly ms: number
}

/** Hands an inbox in, lets `act` do its harm, and waits for the end. */
async function reconcile(
  cluster: Cluster,
  items: readonly InboxItem[],
  act: ((cluster: Cluster) => Promise<void>) | undefined,
): Promise<string> {
  const app = await openClient(cluster)
  try {
    await handIn(app, items)
    await act?.(cluster)
    const reports = await settled(app, items, { withinMs: 120_000 })
    return JSON.stringify(reports.map(asData)).replace(/\bap_[a-z0-9]+/g, 'ap')
  } finally {
    await app.close()
  }
}

/** One worker, killed by nobody, with every named point it passes. */
export async function clusterTruth(inbox: string, servers: Servers): Promise<ClusterTruth> {
  const items = await readInbox(inbox, '')
  const folder = await mkdtemp(join(tmpdir(), 'convoke-points-'))
  const log = join(folder, 'points')
  const cluster = await startCluster({ servers, tenant: 'truth', workers: 1, env: () => ({ CONVOKE_CRASH_LOG: log }) })
  try {
    const answers = await reconcile(cluster, items, undefined)
    const points = new Map<string, number>()
    for (const point of (await readFile(log, 'utf8')).split('\n'))
      if (point !== '') points.set(point, (points.get(point) ?? 0) + 1)
    await cluster.erp.stop()
    return { answers, books: await readBooks(cluster.erpData), points }
  } finally {
    await cluster.close()
    await rm(folder, { recursive: true, force: true })
  }
}

let cases = 0

export async function runTrouble(
  inbox: string,
  truth: ClusterTruth,
  servers: Servers,
  trouble: Trouble,
): Promise<TroubleResult> {
  const began = performance.now()
  const items = await readInbox(inbox, '')
  const problems: string[] = []
  let died = false
  let killed = false
  let cluster: Cluster | undefined
  try {
    const { crashAt } = trouble
    cluster = await startCluster({
      servers,
      tenant: `t${++cases}`,
      // One that is to kill itself works alone until then, so that it is the one that gets there.
      workers: crashAt === undefined ? 2 : 1,
      leaseMs: 2_000,
      env: (n) => (n === 0 && crashAt !== undefined ? { CONVOKE_CRASH_AT: crashAt } : {}),
    })
    void cluster.workers[0]?.ended.then((signal) => (died = signal === 'SIGKILL'))
    const answers = await reconcile(cluster, items, crashAt === undefined ? trouble.act : followed)
    if (answers !== truth.answers) problems.push(`other answers: ${firstDifference(truth.answers, answers)}`)
    // Before the cluster ends and takes its workers with it.
    killed = died && crashAt !== undefined
    await cluster.erp.stop()
    const books = await readBooks(cluster.erpData)
    if (books.repeatedEffects !== 0) problems.push(`${books.repeatedEffects} effects were made twice`)
    if (JSON.stringify(books.payments) !== JSON.stringify(truth.books.payments))
      problems.push(`other payments: ${books.payments.join(' | ')}`)
    if (changesIn(books) !== changesIn(truth.books))
      problems.push(`other changes of the books: ${firstDifference(changesIn(truth.books), changesIn(books))}`)
  } catch (error) {
    problems.push((error as Error).message)
  } finally {
    await cluster?.close()
  }
  return { name: trouble.name, killed, problems, ms: performance.now() - began }
}

/** Payments are numbered in the order in which they come in, which several workers do not keep; their content is compared. */
function changesIn(books: Books): string {
  return books.effects
    .map(({ run, method, path, effect }) => `${run} ${method} ${path} ${effect.replace(/^(payment|credit):.*/, '$1')}`)
    .sort()
    .join('\n')
}

/** Another worker comes once the first has killed itself; when it does not get there, it is helped all the same. */
async function followed(cluster: Cluster): Promise<void> {
  await Promise.race([cluster.workers[0]?.ended, sleep(30_000, undefined, { ref: false })])
  await cluster.addWorker()
}

function firstDifference(a: string, b: string): string {
  let i = 0
  while (i < a.length && a[i] === b[i]) i++
  const around = (text: string): string => JSON.stringify(text.slice(Math.max(0, i - 60), i + 80))
  return `${around(a)} became ${around(b)}`
}
