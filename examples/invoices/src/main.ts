import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConvokeError, convoke, keyHint, resolveModel, type App, type Ledger, type Model } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { probeFromEnv } from 'convoke/testing'
import { readArgs, usage, UsageError, type Args } from './args.ts'
import { ErpError } from './erp/error.ts'
import { startErp, type Erp } from './erp/start.ts'
import { forget, makeFolder } from './folders.ts'
import { readInbox, type InboxItem } from './inbox.ts'
import { numberIn } from './lines.ts'
import { readReports, table, writeReports, type FileReport } from './report.ts'
import { follow, relative, type Screen } from './screen.ts'
import { scriptedSquadModel } from './squad/rules/index.ts'
import { squadOptions } from './squad/squad.ts'
import { termsOf } from './squad/terms.ts'

// The main job: a folder of invoices in, each reconciled to a stated status. Everything that matters stands in the
// store and in the ERP's books; this process may end at any moment and be started again.

const shipped = fileURLToPath(new URL('../inbox', import.meta.url))
const tenant = 'local'
const cwd = process.env['INIT_CWD'] ?? process.cwd()

async function modelOf(args: Args): Promise<Model> {
  if (args.model === undefined || args.model === 'scripted') return scriptedSquadModel()
  return resolveModel(args.model, process.env)
}

async function main(args: Args): Promise<number> {
  const items = await readInbox(args.inbox, args.ignoreAttachments ? '-text' : '')
  const model = await modelOf(args)
  if (args.fresh) await forget(args)
  for (const folder of [args.store, args.erpData, args.outbox]) await makeFolder(folder).catch(unusable(folder))
  const erp = await startErp({
    dataDir: args.erpData,
    portFile: join(args.store, 'erp.port'),
    ...(args.erpPort === undefined ? {} : { port: args.erpPort }),
  })
  try {
    return await reconcile(args, items, model, erp)
  } finally {
    await erp.stop()
  }
}

async function reconcile(args: Args, items: readonly InboxItem[], model: Model, erp: Erp): Promise<number> {
  const probe = probeFromEnv()
  const ledger = await openSqliteLedger({ dir: args.store, ...(probe === undefined ? {} : { probe }) })
  const options = await squadOptions({
    store: async () => ledger,
    erpUrl: async () => erp.url,
    outbox: args.outbox,
    model,
  })
  const app = convoke({
    ...options,
    tenant,
    concurrency: args.concurrency,
    ...(probe === undefined ? {} : { probe }),
  })
  const roles = new Set(options.agents?.map((agent) => agent.role.name)).size
  const screen = follow(ledger, tenant, items)
  let stopping = false
  let done = false
  let closing: Promise<void> | undefined
  const stop = (): void => {
    if (stopping) process.exit(130)
    stopping = true
    // Nothing is under way any more; what was done is still said.
    if (done) return
    screen.note('stopping: what is under way is brought to rest; press Ctrl-C again to quit at once')
    closing = app.close()
    // Heard below.
    closing.catch(() => undefined)
  }
  process.on('SIGINT', stop).on('SIGTERM', stop)
  try {
    screen.header({ store: args.store, model, erp: erp.url, files: items.length, roles, concurrency: args.concurrency })
    if (args.model === undefined) {
      const hint = keyHint(process.env)
      if (hint !== undefined) screen.note(hint)
    }
    const work = startRuns(app, ledger, items, args, screen).then(() => atRest(app, ledger, items))
    // Once asked to stop, what still looks at the ledger finds it closed.
    await Promise.race([work, app.closed]).catch((error: unknown) => {
      if (!stopping) throw error
    })
    work.catch(() => undefined)
    if (stopping) {
      await closing
      screen.note(`parked. Go on with: ${again(args)}`)
      return 130
    }
    done = true
    await screen.settle()
    const reports = await readReports(ledger, tenant, items)
    if (args.out !== undefined) await writeReports(args.out, reports)
    await conclude(screen, reports, erp, args)
    return reports.every((report) => report.status !== 'failed') ? 0 : 1
  } finally {
    screen.stop()
    process.off('SIGINT', stop).off('SIGTERM', stop)
    await app.close()
    // The app closes what it has opened: stopped early, it has not asked for the ledger yet.
    await ledger.close()
  }
}

async function startRuns(
  app: App,
  ledger: Ledger,
  items: readonly InboxItem[],
  args: Args,
  screen: Screen,
): Promise<void> {
  for (const { run, hash, bytes, file } of items) {
    for (const record of await ledger.read({ tenant, stream: `run/${run}` }, { limit: 50, outline: true })) {
      const number = numberIn(record)
      if (number !== undefined) screen.know(run, number)
    }
    await ledger.putBlobs(tenant, [{ hash, bytes, mediaType: 'application/pdf' }])
    await app.start(
      'reconcile-invoice',
      { hash, mediaType: 'application/pdf', ...(args.ignoreAttachments ? { ignoreAttachments: true } : {}) },
      { ...termsOf(), id: run, tags: [file.slice(0, 120)] },
    )
  }
  await app.work()
}

/** Waits until every run has ended or waits for somebody; a run that only waits for a time is waited for. */
async function atRest(app: App, ledger: Ledger, items: readonly InboxItem[]): Promise<void> {
  for (;;) {
    await app.idle()
    const rows = await Promise.all(items.map(({ run }) => ledger.run({ tenant, stream: `run/${run}` })))
    const due = rows.flatMap((row) => (row?.due === undefined ? [] : [row.due]))
    if (due.length === 0) return
    await new Promise((resolve) => setTimeout(resolve, Math.min(1_000, Math.max(20, Math.min(...due) - Date.now()))))
  }
}

/** The command that goes on with the same folders. */
function again(args: Args): string {
  return args.words.length === 0 ? 'npm start' : `npm start -- ${args.words.map(quoted).join(' ')}`
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
}

async function conclude(screen: Screen, reports: readonly FileReport[], erp: Erp, args: Args): Promise<void> {
  const summary = (await (await fetch(new URL('/audit/summary', erp.url))).json()) as {
    calls: number
    repeatedEffects: number
  }
  const approval = reports.flatMap((r) => r.approvals)[0]
  const store = args.ownStore ? ` --store ${quoted(relative(args.store))}` : ''
  const tricked = reports.find((r) => r.refused !== undefined)
  const explained = reports.find((r) => r.status === 'exception') ?? reports[0]
  screen.end({
    // Only a terminal has an end of the line; a file or a pipe is searched for ids.
    table: table(reports, process.stdout.isTTY === true ? process.stdout.columns : Infinity),
    lookAt: reports.flatMap((r) => (r.refused === undefined ? [] : [r.document?.number ?? r.file])),
    erp: `ERP audit: ${summary.calls} calls, ${summary.repeatedEffects} repeated effects`,
    next: [
      ...(explained === undefined ? [] : [`npx convoke why ${explained.run}${store}`]),
      ...(tricked === undefined ? [] : [`npx convoke why ${tricked.run}${store}`]),
      ...(approval === undefined ? [] : [`npx convoke approvals approve ${approval}${store}`, again(args)]),
      'npm run demo:kill',
    ],
  })
}

function unusable(folder: string) {
  return (error: unknown): never => {
    throw new ConvokeError('STORE_UNUSABLE', `the folder ${folder} cannot be written: ${(error as Error).message}`, {
      details: { folder },
      next: 'name another with --store DIR',
    })
  }
}

// Whoever read the output has gone, as with `| head`: being ended at any moment is safe.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(141)
  throw error
})

try {
  const args = readArgs(process.argv.slice(2), process.env, cwd, shipped)
  if (args.help) process.stdout.write(usage)
  else process.exitCode = await main(args)
} catch (error) {
  const known = error instanceof ConvokeError || error instanceof ErpError
  const code = known ? error.code : error instanceof UsageError ? 'USAGE' : undefined
  const next =
    error instanceof ConvokeError ? error.next : error instanceof UsageError ? 'npm start -- --help' : undefined
  if (code === undefined) throw error
  process.stderr.write(`${code}: ${(error as Error).message}\n${next === undefined ? '' : `next: ${next}\n`}`)
  process.exitCode =
    error instanceof UsageError || (error instanceof ConvokeError && error.handling === 'usage') ? 2 : 1
}
