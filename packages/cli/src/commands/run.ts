import { readFileSync } from 'node:fs'
import { text as streamText } from 'node:stream/consumers'
import { resolve } from 'node:path'
import { ConvokeError, isEnded, parseStrict, type Json, type RunRow } from 'convoke'
import { clock, openApp, osUser, type Context } from '../context.ts'
import { exit, exitCodeOfRun } from '../exit.ts'
import { follow } from '../follow.ts'
import { interruptible } from '../interrupt.ts'
import { progressLine, tell } from '../progress.ts'
import { settle, troubleOf } from '../settle.ts'
import { endOf, type Ended } from './ending.ts'

export interface RunOptions {
  readonly input?: string
  readonly id?: string
  readonly tag?: readonly string[]
  readonly wait?: boolean
}

/** JSON as it stands, `@file`, or `-` for stdin. @throws JSON_INVALID, INPUT_INVALID */
export async function readInput(given: string | undefined, cwd: string): Promise<Json | undefined> {
  if (given === undefined) return undefined
  if (given === '-') return parseStrict(await streamText(process.stdin))
  if (!given.startsWith('@')) return parseStrict(given)
  const file = resolve(cwd, given.slice(1))
  let content: string
  try {
    content = readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConvokeError('INPUT_INVALID', `${file} cannot be read: ${(error as Error).message}`, {
      details: { file },
      next: 'name a file that is there: --input @FILE',
      cause: error,
    })
  }
  return parseStrict(content)
}

/** `convoke run`: starts a run, or finds the one with that id, and drives it here until it is done or waits. */
export async function runCommand(context: Context, workflow: string, options: RunOptions): Promise<number> {
  const { out } = context
  const input = await readInput(options.input, context.cwd)
  const trouble = troubleOf()
  const { app, dir } = await openApp(context, (ref, error) => trouble.heard(ref.stream.slice(4), error))
  const stop = interruptible(out, 'parking; once more to quit at once')
  const began = clock.now()
  let run: string | undefined
  try {
    const handle = await app.start(workflow, input, {
      ...(options.id === undefined ? {} : { id: options.id }),
      ...(options.tag === undefined ? {} : { tags: options.tag }),
      by: { kind: 'person', id: osUser(context.env) },
    })
    run = handle.id
    const at = out.errStyle
    out.note(`${at.strong(run)}  ${workflow}  ${at.faint(`store ${dir ?? 'of the configuration'}. Ctrl-C is safe.`)}`)
    const ledger = await app.ledger()
    const watching = new AbortController()
    const lines = (async () => {
      for await (const record of follow(ledger, app.tenant, handle.id, watching.signal)) {
        const told = record.type === 'run.started' || record.at < began - 1000 ? undefined : tell(record, at)
        if (told !== undefined) out.note(progressLine(told, record.at - began, at))
      }
    })().catch(() => undefined)
    const done = (async () => {
      let row = await settle(app, handle.id)
      while (options.wait === true && row.status === 'parked') row = await nextSettled(app, handle.id)
      return row
    })()
    const row = await Promise.race([done, trouble.of(run), aborted(stop.signal)])
    if (row === undefined) {
      watching.abort()
      done.catch(() => undefined)
      return await interrupted(context, app, [run])
    }
    // Its last records are told before its result.
    await Promise.race([isEnded(row.status) ? lines : sleep(30), sleep(1000)])
    watching.abort()
    const ended = await endOf(ledger, app.tenant, row, clock.now())
    printEnd(context, ended)
    return exitCodeOfRun(row)
  } finally {
    stop.off()
    await app.close()
  }
}

/** Waits for a change of status, then until it has settled again. */
async function nextSettled(app: Parameters<typeof settle>[0], run: string): Promise<RunRow> {
  for (;;) {
    const row = await settle(app, run)
    if (row.status !== 'parked') return row
    await sleep(100)
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms))
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((done) => {
    if (signal.aborted) done(undefined)
    signal.addEventListener('abort', () => done(undefined), { once: true })
  })
}

export function printEnd({ out }: Context, ended: Ended): void {
  const { row } = ended
  if (row.status === 'done') {
    out.data(ended.data, () => (ended.result === undefined ? '' : JSON.stringify(ended.result, null, 2)))
    out.note(out.errStyle.faint(`${out.errStyle.good('done')} in ${ended.took}${ended.spent}  next: ${ended.next}`))
    return
  }
  if (out.format !== 'text') out.data(ended.data, () => '')
  if (ended.error !== undefined) {
    out.error(ended.error)
    return
  }
  out.note(`${out.errStyle.warn('waits')} for ${ended.waits}`)
  for (const one of ended.asks) out.note(`  ${one}`)
  out.note(out.errStyle.faint(`next: ${ended.next}`))
}

/** After the first Ctrl-C: what acted outside is settled, the rest is left as it is recorded. */
async function interrupted(
  { out }: Context,
  app: { close(): Promise<void> },
  runs: readonly string[],
): Promise<number> {
  await app.close()
  const which = runs.length === 1 ? ` ${runs[0] as string}` : ''
  out.error(new ConvokeError('INTERRUPTED', 'interrupted; nothing is lost', { next: `convoke resume${which}` }))
  return exit.interrupted
}

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
    await app.work()
    const ends = Promise.all(
      unfinished.map(async (run) => {
        try {
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
    for (const ask of one.asks) out.note(`  ${ask}`)
  }
  const next = all.find((one): one is Ended => 'row' in one && one.row.status !== 'done')?.next
  if (next !== undefined) out.note(out.errStyle.faint(`next: ${next}`))
  return code
}

/** `convoke worker`: drives whatever becomes ready until it is told to stop. */
export async function workerCommand(context: Context): Promise<number> {
  const { out } = context
  const { app, dir } = await openApp(context, (ref, error) => {
    out.note(`${out.errStyle.faint(ref.stream.slice(4))}  ${out.errStyle.bad(error.code)}  ${error.message}`)
  })
  const stop = interruptible(out, 'finishing what acts outside; once more to quit at once')
  const began = clock.now()
  try {
    const ledger = await app.ledger()
    await app.work()
    out.note(`works on ${dir ?? 'the store of the configuration'}, tenant ${app.tenant}. Ctrl-C is safe.`)
    const records = ledger.watch(app.tenant, 'now')[Symbol.asyncIterator]()
    stop.signal.addEventListener('abort', () => void records.return?.(), { once: true })
    for (let next = await records.next(); next.done !== true && !stop.signal.aborted; next = await records.next()) {
      const { record } = next.value
      if (!record.stream.startsWith('run/')) continue
      const told = tell(record, out.errStyle)
      if (told !== undefined) out.note(progressLine(told, record.at - began, out.errStyle, record.stream.slice(4)))
    }
    return stop.by() === 'SIGTERM' ? exit.ok : exit.interrupted
  } finally {
    stop.off()
    await app.close()
  }
}
