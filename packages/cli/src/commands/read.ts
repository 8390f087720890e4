import { ConvokeError, isEnded, type Json, type RunRow, type RunStatus } from 'convoke'
import {
  brief,
  duration,
  line,
  moment,
  renderWhy,
  showRun,
  spent,
  waitsFor,
  why,
  type ShownRun,
  type ShownStep,
  type Style,
} from 'convoke/views'
import { clock, findRun, withStore, type Context } from '../context.ts'
import { exit } from '../exit.ts'
import { follow } from '../follow.ts'
import { interruptible } from '../interrupt.ts'
import { ago, table } from '../output.ts'
import { progressLine, tell } from '../progress.ts'

export interface RunsOptions {
  readonly status?: readonly string[]
  readonly workflow?: string
  readonly tag?: string
  readonly limit: number
}

const statuses: readonly RunStatus[] = [
  'queued',
  'running',
  'parked',
  'stopped',
  'done',
  'failed',
  'cancelled',
  'continued',
]

export async function runsCommand(context: Context, options: RunsOptions): Promise<number> {
  const { out } = context
  const wrong = options.status?.find((s) => !statuses.includes(s as RunStatus))
  if (wrong !== undefined)
    throw new ConvokeError('USAGE', `no status is called ${wrong}`, { next: `use one of: ${statuses.join(', ')}` })
  return withStore(context, async ({ ledger, tenant }) => {
    const rows = await ledger.runs({
      tenant,
      limit: options.limit,
      ...(options.status === undefined ? {} : { status: options.status as readonly RunStatus[] }),
      ...(options.workflow === undefined ? {} : { workflow: options.workflow }),
      ...(options.tag === undefined ? {} : { tag: options.tag }),
    })
    out.list(rows, () => runsTable(rows, out.style, out.width, clock.now()))
    if (out.format === 'text' && rows.length === 0) out.note(out.errStyle.faint('no runs'))
    else if (rows.length === options.limit)
      out.note(out.errStyle.faint(`the newest ${rows.length}; --limit N shows more`))
    return exit.ok
  })
}

export function statusOf(row: RunRow): string {
  if (row.status === 'parked') return `waits: ${(row.parkedOn ?? 'signal').replace('child', 'run')}`
  return row.error === undefined || row.status === 'cancelled' ? row.status : `${row.status} ${row.error}`
}

function paintStatus(text: string, style: Style): string {
  if (/^done|^continued/.test(text)) return style.good(text)
  if (/^failed|^stopped/.test(text)) return style.bad(text)
  return text.startsWith('waits') ? style.warn(text) : text
}

function runsTable(rows: readonly RunRow[], style: Style, width: number, now: number): string {
  if (rows.length === 0) return ''
  const tagged = rows.some((r) => r.tags.length > 0)
  return table(
    ['RUN', 'WORKFLOW', 'STATUS', 'STARTED', 'TOOK', ...(tagged ? ['TAGS'] : [])],
    rows.map((r) => [
      r.run,
      `${r.workflow}@${r.version}`,
      statusOf(r),
      ago(r.startedAt, now),
      isEnded(r.status) ? duration(r.updatedAt - r.startedAt) : '',
      ...(tagged ? [r.tags.join(', ')] : []),
    ]),
    style,
    width,
    (cell, column) => (column === 0 ? style.strong(cell) : column === 2 ? paintStatus(cell, style) : cell),
  )
}

export interface ShowOptions {
  readonly all?: boolean
}

export async function showCommand(context: Context, said: string, options: ShowOptions): Promise<number> {
  const { out } = context
  return withStore(context, async (opened) => {
    const run = await findRun(opened, said)
    const shown = await showRun(opened.ledger, opened.tenant, run, clock.now())
    out.data(shown, () => showText(shown, out.style, options.all === true, clock.now()))
    if (out.format === 'text') out.note(out.errStyle.faint(`next: ${shown.next}`))
    return exit.ok
  })
}

function showText(shown: ShownRun, style: Style, all: boolean, now: number): string {
  const { row } = shown
  const facts = [
    `${row.workflow}@${row.version}`,
    paintStatus(statusOf(row), style),
    duration(shown.ms),
    ...spent(shown.usage),
  ]
  const out = [`${style.strong(row.run)}  ${facts.join(' · ')}`]
  const about: (readonly [string, string])[] = [['started', `${moment(row.startedAt)} UTC, ${ago(row.startedAt, now)}`]]
  if (row.tags.length > 0) about.push(['tags', row.tags.join(', ')])
  if (row.parent !== undefined) about.push(['child of', row.parent])
  if (shown.fork !== undefined) {
    about.push(['fork of', `${shown.fork.run} at ${shown.fork.at}, effects ${shown.fork.effects}`])
    if (shown.fork.again.length > 0) about.push(['again', line(shown.fork.again.join(', '), 240)])
    if (shown.fork.kept.length > 0) about.push(['kept', line(shown.fork.kept.join(', '), 240)])
  }
  if (shown.input !== undefined) about.push(['input', brief(shown.input, 100)])
  if (shown.result !== undefined) about.push(['result', brief(shown.result, 100)])
  if (shown.error !== undefined)
    about.push(['error', `${style.bad(shown.error.code)}  ${line(shown.error.message, 240)}`])
  for (const w of shown.waiting) about.push(['waits for', waitText(w, now)])
  out.push(...about.map(([name, text]) => `  ${style.faint(name.padEnd(9))}  ${text}`))
  const rows: [string, string, string, string][] = []
  for (const step of shown.steps) treeRows(step, '', '', all, style, rows)
  if (rows.length > 0) {
    const width = Math.min(56, Math.max(...rows.map(([name]) => name.length)))
    const took = Math.max(...rows.map((r) => r[1].length))
    const cost = Math.max(...rows.map((r) => r[2].length))
    out.push(
      '',
      ...rows.map(([name, t, c, what]) =>
        `${name.padEnd(width)}  ${style.faint(t.padStart(took))}  ${cost === 0 ? '' : `${style.faint(c.padStart(cost))}  `}${what}`.trimEnd(),
      ),
    )
  }
  return out.join('\n')
}

function waitText(w: ShownRun['waiting'][number], now: number): string {
  switch (w.kind) {
    case 'person': {
      const until = w.expires === undefined ? '' : `, lapses ${ago(w.expires, now)}`
      return `${w.id}  ${line(w.title, 80)}${w.group === undefined ? '' : `  (${w.group}${until})`}`
    }
    case 'timer':
      return `${moment(w.until)} UTC, ${ago(w.until, now)}  (${w.path})`
    case 'child':
      return `run ${w.run}  (${w.path})`
    case 'other':
      return `${waitsFor(w.what)}${w.until === undefined ? '' : `, until ${moment(w.until)} UTC`}`
  }
}

/** What asks and tools do inside is shown with --all. */
function treeRows(
  step: ShownStep,
  lead: string,
  below: string,
  all: boolean,
  style: Style,
  into: [string, string, string, string][],
): void {
  const mark = { done: '✓', failed: '✗', open: '…', 'rolled back': '↩' }[step.state]
  const label = step.target === undefined || step.target === step.name ? step.name : `${step.name} (${step.target})`
  into.push([
    `${lead}${mark} ${line(label, 48)}`,
    step.state === 'done' && step.op === 'checkpoint' ? '' : duration(step.ms),
    spent(step.usage)[0]?.replace(' tokens', ' tok') ?? '',
    whatOf(step, style),
  ])
  const folded = !all && step.op === 'ask' && step.state !== 'open'
  const children = folded ? [] : step.children.filter((c) => all || c.op !== 'model' || c.state !== 'done')
  for (const [i, child] of children.entries()) {
    const last = i === children.length - 1
    treeRows(child, `${below}${last ? '└ ' : '├ '}`, `${below}${last ? '  ' : '│ '}`, all, style, into)
  }
}

function whatOf(step: ShownStep, style: Style): string {
  const marks = [
    ...(step.from === undefined ? [] : [style.faint(`from ${step.from}`)]),
    ...(step.reused === undefined ? [] : [style.faint('kept')]),
  ]
  if (step.error !== undefined) marks.push(`${style.bad(step.error.code)} ${line(step.error.message, 80)}`)
  else if (step.op === 'checkpoint') marks.push(style.faint('checkpoint'))
  else if (step.value !== undefined && step.op !== 'model') marks.push(brief(valueOf(step), 60))
  if (step.state === 'open' && step.op !== 'scope') marks.push(style.warn('open'))
  return marks.join('  ')
}

function valueOf(step: ShownStep): Json | undefined {
  return step.op === 'ask' ? (step.value as { readonly value?: Json } | undefined)?.value : step.value
}

export interface WhyOptions {
  readonly control?: boolean
}

export async function whyCommand(
  context: Context,
  said: string,
  target: string | undefined,
  options: WhyOptions,
): Promise<number> {
  const { out } = context
  return withStore(context, async (opened) => {
    const run = await findRun(opened, said)
    const data = await why(opened.ledger, opened.tenant, run, target, options)
    out.data(data, () => renderWhy(data, out.style))
    return exit.ok
  })
}

export async function watchCommand(context: Context, said: string): Promise<number> {
  const { out } = context
  return withStore(context, async (opened) => {
    const run = await findRun(opened, said)
    const stop = interruptible(out, 'no longer watching; the run goes on where it is driven')
    try {
      const row = await opened.ledger.run({ tenant: opened.tenant, stream: `run/${run}` })
      const began = row?.startedAt ?? clock.now()
      for await (const record of follow(opened.ledger, opened.tenant, run, stop.signal)) {
        if (out.format !== 'text') {
          out.data(record, () => '')
          continue
        }
        const told = tell(record, out.style)
        if (told !== undefined) out.data(record, () => progressLine(told, record.at - began, out.style))
      }
      return stop.signal.aborted ? exit.interrupted : exit.ok
    } finally {
      stop.off()
    }
  })
}
