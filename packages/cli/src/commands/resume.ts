import { ConvokeError, inboxStream, runStream, type Ledger, type RunRow } from 'convoke'
import { clock, openApp, osUser, type Context } from '../context.ts'
import { exit, exitCodeOfRun } from '../exit.ts'
import { follow } from '../follow.ts'
import { interruptible } from '../interrupt.ts'
import { progressLine, tell } from '../progress.ts'
import { settle, troubleOf } from '../settle.ts'
import { endOf, type Ended } from './ending.ts'
import { listed } from './fork.ts'
import { aborted, interrupted, nextSettled, sleep } from './run.ts'

export interface ResumeOptions {
  readonly wait?: boolean
}

/** `convoke resume`: drives what is unfinished, or the runs that are named, until each is done or waits. */
export async function resumeCommand(
  context: Context,
  named: readonly string[],
  options: ResumeOptions,
): Promise<number> {
  const { out } = context
  const trouble = troubleOf()
  const { app } = await openApp(context, (ref, error) => trouble.heard(ref.stream.slice(4), error))
  const stop = interruptible(out, 'parking; once more to quit at once')
  const began = clock.now()
  const watching = new AbortController()
  try {
    const ledger = await app.ledger()
    for (const run of named) await (await app.run(run)).status()
    const unfinished =
      named.length > 0
        ? [...named]
        : (await app.runs({ status: ['queued', 'running', 'parked', 'stopped'], limit: 10_000 }))
            .map((r) => r.run)
            .reverse()
    if (unfinished.length === 0) {
      out.list([], () => '')
      out.note(out.errStyle.faint('nothing is unfinished'))
      return exit.ok
    }
    out.note(`${unfinished.length} unfinished ${unfinished.length === 1 ? 'run' : 'runs'}. Ctrl-C is safe.`)
    const tails = Promise.all(
      unfinished.map((run) => tail(context, ledger, app.tenant, run, began, watching.signal, unfinished.length > 1)),
    )
    tails.catch(() => undefined)
    // Only who names a stopped run asks for another try; it stops again if nothing was mended.
    const stopped = new Map<string, number>()
    for (const run of named) {
      const { seq } = await ledger.head({ tenant: app.tenant, stream: runStream(run) })
      if (await tryAgain(context, ledger, app.tenant, run)) stopped.set(run, seq)
    }
    await app.work()
    const ends = Promise.all(
      unfinished.map(async (run) => {
        try {
          const begin = stopped.get(run)
          if (begin !== undefined) await Promise.race([changed(ledger, app.tenant, run, begin), trouble.of(run)])
          const once = options.wait === true ? untilEnded(app, run) : settle(app, run)
          once.catch(() => undefined)
          const row = await Promise.race([once, trouble.of(run)])
          return await endOf(ledger, app.tenant, row, clock.now())
        } catch (error) {
          if (!(error instanceof ConvokeError)) throw error
          return { run, error }
        }
      }),
    )
    ends.catch(() => undefined)
    const all = await Promise.race([ends, aborted(stop.signal)])
    if (all === undefined) return await interrupted(context, app, named)
    await sleep(30)
    watching.abort()
    return report(context, all)
  } finally {
    watching.abort()
    stop.off()
    await app.close()
  }
}

async function tryAgain(context: Context, ledger: Ledger, tenant: string, run: string): Promise<boolean> {
  const row = await ledger.run({ tenant, stream: runStream(run) })
  if (row?.status !== 'stopped') return false
  await ledger.post(
    { tenant, stream: inboxStream(run) },
    {
      id: `resume:${run}:${row.updatedAt}`,
      type: 'run.resume',
      at: clock.now(),
      actor: { kind: 'person', id: osUser(context.env) },
      payload: {},
    },
  )
  return true
}

/** Resolves once the run has a record after `seq`. */
async function changed(ledger: Ledger, tenant: string, run: string, seq: number): Promise<void> {
  while ((await ledger.head({ tenant, stream: runStream(run) })).seq === seq) await sleep(50)
}

async function untilEnded(app: Parameters<typeof settle>[0], run: string): Promise<RunRow> {
  const row = await settle(app, run)
  return row.status === 'parked' ? nextSettled(app, run) : row
}

/** Progress of one run from where it stands. */
async function tail(
  { out }: Context,
  ledger: Parameters<typeof follow>[0],
  tenant: string,
  run: string,
  began: number,
  signal: AbortSignal,
  many: boolean,
): Promise<void> {
  const { seq } = await ledger.head({ tenant, stream: `run/${run}` })
  for await (const record of follow(ledger, tenant, run, signal, seq + 1)) {
    const told = tell(record, out.errStyle)
    if (told !== undefined) out.note(progressLine(told, record.at - began, out.errStyle, many ? run : undefined))
  }
}

type Resumed = Ended | { readonly run: string; readonly error: ConvokeError }

function report({ out }: Context, all: readonly Resumed[]): number {
  let code: number = exit.ok
  const worse = (other: number): void => {
    // A failure says more than a wait, and a wait more than nothing.
    if (code === exit.ok || (code === exit.waiting && other !== exit.ok)) code = other === exit.ok ? code : other
  }
  out.list(
    all.map((one) => ('row' in one ? one.data : { run: one.run, error: one.error.toJSON() })),
    () =>
      all
        .map((one) =>
          'row' in one
            ? `${one.row.run}  ${one.row.status}${one.waits === '' ? '' : `, waits for ${one.waits}`}`
            : `${one.run}  ${one.error.code}`,
        )
        .join('\n'),
  )
  for (const one of all) {
    if (!('row' in one)) {
      out.error(one.error)
      worse(exit.failed)
      continue
    }
    worse(exitCodeOfRun(one.row))
    if (one.error !== undefined) out.error(one.error)
    listed(out, 'executed again', one.fork?.again ?? [])
    listed(out, 'kept of the original', one.fork?.kept ?? [])
    for (const ask of one.asks) out.note(`  ${ask}`)
  }
  const next = all.find((one): one is Ended => 'row' in one && one.row.status !== 'done')?.next
  if (next !== undefined) out.note(out.errStyle.faint(`next: ${next}`))
  return code
}
