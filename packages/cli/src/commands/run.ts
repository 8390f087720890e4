import { readFileSync } from 'node:fs'
import { text as streamText } from 'node:stream/consumers'
import { resolve } from 'node:path'
import { ConvokeError, isConvokeError, isEnded, parseStrict, type Json, type RunRow } from 'convoke'
import { clock, openApp, osUser, shownPlace, type Context } from '../context.ts'
import { exit, exitCodeOfRun } from '../exit.ts'
import { interruptible } from '../interrupt.ts'
import { progressLine, tell, tellLive } from '../progress.ts'
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
  const { app, place } = await openApp(context, (ref, error) => trouble.heard(ref.stream.slice(4), error))
  const stop = interruptible(out, 'parking; once more to quit at once')
  const began = clock.now()
  let run: string | undefined
  try {
    const handle = await app
      .start(workflow, input, {
        ...(options.id === undefined ? {} : { id: options.id }),
        ...(options.tag === undefined ? {} : { tags: options.tag }),
        by: { kind: 'person', id: osUser(context.env) },
      })
      .catch((error: unknown) => {
        throw input === undefined ? withoutInput(error) : error
      })
    run = handle.id
    const at = out.errStyle
    out.note(
      `${at.strong(run)}  ${workflow}  ${at.faint(`store ${place.kind === 'own' ? 'of the configuration' : shownPlace(place)}. Ctrl-C is safe.`)}`,
    )
    const ledger = await app.ledger()
    const watching = new AbortController()
    const lines = (async () => {
      for await (const event of handle.events({ signal: watching.signal })) {
        if (event.kind === 'live') {
          const said = tellLive(event.event)
          if (said !== undefined) out.note(progressLine(said, clock.now() - began, at))
          continue
        }
        const { record } = event
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

/** Who gave no input is told how, not which fields of it to correct. */
function withoutInput(error: unknown): unknown {
  if (!isConvokeError(error, 'INPUT_INVALID')) return error
  return new ConvokeError(error.code, error.message, {
    ...(error.details === undefined ? {} : { details: error.details }),
    next: 'give it one: --input JSON, --input @FILE, or --input - for stdin',
    cause: error.cause,
  })
}

/** Waits for a change of status, then until it has settled again. */
export async function nextSettled(app: Parameters<typeof settle>[0], run: string): Promise<RunRow> {
  for (;;) {
    const row = await settle(app, run)
    if (row.status !== 'parked') return row
    await sleep(100)
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms))
}

export function aborted(signal: AbortSignal): Promise<undefined> {
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
export async function interrupted(
  { out }: Context,
  app: { close(): Promise<void> },
  runs: readonly string[],
): Promise<number> {
  await app.close()
  const which = runs.length === 1 ? ` ${runs[0] as string}` : ''
  out.error(new ConvokeError('INTERRUPTED', 'interrupted; nothing is lost', { next: `convoke resume${which}` }))
  return exit.interrupted
}
