import {
  ConvokeError,
  decideApproval,
  decode,
  diffActions,
  escalateApproval,
  parseStrict,
  setAt,
  type ApprovalRow,
  type Json,
  type JsonObject,
} from 'convoke'
import { brief, changeLine, exact, line, moment } from 'convoke/views'
import { confirm } from '../confirm.ts'
import { clock, findRun, osUser, withStore, type Context, type Opened } from '../context.ts'
import { exit } from '../exit.ts'
import { ago, table } from '../output.ts'

export interface Decider {
  readonly by?: string
  readonly reason?: string
}

export interface LsOptions {
  readonly run?: string
  readonly all?: boolean
}

export async function approvalsLs(context: Context, options: LsOptions): Promise<number> {
  const { out } = context
  return withStore(context, async (opened) => {
    const { ledger, tenant } = opened
    const run = options.run === undefined ? undefined : await findRun(opened, options.run)
    const rows = await ledger.approvals({
      tenant,
      limit: 1_000,
      ...(options.all === true ? {} : { status: 'pending' as const }),
      ...(run === undefined ? {} : { run }),
    })
    const now = clock.now()
    out.list(rows, () =>
      rows.length === 0
        ? ''
        : table(
            ['APPROVAL', 'RUN', 'ASKED', ...(options.all === true ? ['STATUS'] : []), 'OF', 'WHAT'],
            rows.map((r) => [
              r.id,
              r.run,
              ago(r.requestedAt, now),
              ...(options.all === true ? [statusOf(r)] : []),
              r.group ?? 'anybody',
              line(r.title, 200),
            ]),
            out.style,
            out.width,
            (cell, column) => (column === 0 ? out.style.strong(cell) : cell),
          ),
    )
    const first = rows.find((r) => r.status === 'pending')
    if (out.format === 'text')
      out.note(
        out.errStyle.faint(
          first === undefined ? 'nothing waits for a person' : `next: convoke approvals show ${first.id}`,
        ),
      )
    return exit.ok
  })
}

function statusOf(row: ApprovalRow): string {
  return row.decidedBy === undefined ? row.status : `${row.status} by ${row.decidedBy}`
}

async function find({ ledger, tenant }: Opened, id: string): Promise<ApprovalRow> {
  const row = await ledger.approval(tenant, id)
  if (row !== undefined) return row
  throw new ConvokeError('APPROVAL_UNKNOWN', `no approval ${id}`, { details: { id }, next: 'convoke approvals ls' })
}

/** What would be done, from the gateway's own bytes. */
async function actionOf({ ledger, tenant }: Opened, row: ApprovalRow): Promise<JsonObject> {
  const action = row.action as JsonObject
  const blob = action['$blob']
  if (typeof blob !== 'string') return action
  const bytes = await ledger.getBlob(tenant, blob)
  if (bytes === undefined)
    throw new ConvokeError('BLOB_MISSING', `the action of approval ${row.id} is in blob ${blob}, which is not there`, {
      next: 'convoke audit verify',
    })
  return decode(Buffer.from(bytes).toString('utf8')) as JsonObject
}

export async function approvalsShow(context: Context, id: string): Promise<number> {
  const { out } = context
  return withStore(context, async (opened) => {
    const row = await find(opened, id)
    const action = await actionOf(opened, row)
    out.data({ ...row, action }, () => showText(row, action, context))
    if (out.format === 'text' && row.status === 'pending')
      out.note(out.errStyle.faint(`next: convoke approvals approve ${id}, or reject, correct, escalate`))
    return exit.ok
  })
}

function showText(row: ApprovalRow, action: JsonObject, { out }: Context): string {
  const { style } = out
  const now = clock.now()
  const facts: (readonly [string, string])[] = [
    ['run', `${row.run}, step ${row.path}`],
    ['asked', `${moment(row.requestedAt)} UTC, ${ago(row.requestedAt, now)}`],
    ['of', row.group ?? 'anybody'],
  ]
  if (row.expires !== undefined) facts.push(['lapses', `${moment(row.expires)} UTC, ${ago(row.expires, now)}`])
  const { ancestor, sent, question, show, ...rest } = action
  const body = row.kind === 'decision' ? (show === undefined ? {} : { show }) : rest
  return [
    `${style.strong(row.id)}  ${line(row.title, 200)}  ${style.warn(statusOf(row))}`,
    ...facts.map(([name, text]) => `  ${style.faint(name.padEnd(6))}  ${text}`),
    ...(question === undefined ? [] : ['', `  ${brief(question, 400)}`]),
    ...(Object.keys(body).length === 0 ? [] : ['', indent(JSON.stringify(body, null, 2))]),
    ...(sent === undefined ? [] : ['', `  it was sent: ${exact(sent, 300)}`]),
    ...(ancestor === undefined ? [] : ['', '  the original already did:', indent(JSON.stringify(ancestor, null, 2))]),
  ].join('\n')
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ')
}

export interface ApproveOptions extends Decider {
  readonly value?: string
  readonly repeat?: boolean
}

export async function approvalsApprove(context: Context, id: string, options: ApproveOptions): Promise<number> {
  const value = options.value === undefined ? undefined : parseStrict(options.value)
  return withStore(
    context,
    async (opened) => {
      const row = await find(opened, id)
      if (options.repeat === true && row.kind !== 'maybe-executed')
        throw new ConvokeError('USAGE', `--repeat is for calls whose outcome is unknown; ${id} is none`, {
          next: `convoke approvals show ${id}`,
        })
      await decide(context, opened, row, options, {
        decision: 'approved',
        ...(value === undefined ? {} : { value: opened.redact(value) }),
        ...(options.repeat === true ? { answer: 'repeat' as const } : {}),
      })
      return said(context, row, options.repeat === true ? 'to be done again' : 'approved')
    },
    { writes: true },
  )
}

export async function approvalsReject(context: Context, id: string, options: Decider): Promise<number> {
  return withStore(
    context,
    async (opened) => {
      const row = await find(opened, id)
      await decide(context, opened, row, options, { decision: 'rejected' })
      return said(context, row, 'rejected')
    },
    { writes: true },
  )
}

export interface CorrectOptions extends Decider {
  readonly set: readonly string[]
  readonly businessKey?: string
  readonly yes?: boolean
}

/** Changes the input of a held action, shows the difference, and approves what it became. */
export async function approvalsCorrect(context: Context, id: string, options: CorrectOptions): Promise<number> {
  const { out } = context
  const changes = options.set.map(parseSet)
  return withStore(
    context,
    async (opened) => {
      const row = await find(opened, id)
      if (row.kind !== 'call' && row.kind !== 'held-effect')
        throw new ConvokeError('USAGE', `${id} asks a question; there is no action to correct`, {
          next: `convoke approvals approve ${id} --value JSON`,
        })
      const action = await actionOf(opened, row)
      const before = action['input'] ?? null
      const after = changes.reduce<Json>((value, { pointer, value: to }) => setAt(value, pointer, to), before)
      const key = action['businessKey']
      const businessKey = options.businessKey ?? (typeof key === 'string' ? key : undefined)
      const difference = diffActions(
        { input: before, ...(typeof key === 'string' ? { businessKey: key } : {}) },
        { input: after, ...(businessKey === undefined ? {} : { businessKey }) },
      )
      if (difference.length === 0)
        throw new ConvokeError('USAGE', 'nothing would change', { next: `convoke approvals approve ${id}` })
      out.note(`${out.errStyle.strong(id)}  ${line(row.title, 200)}`)
      for (const change of difference) out.note(`  ${changeLine(change)}`)
      if (row.status === 'pending' && !(await confirm(out, 'Do this instead?', options.yes === true))) {
        out.note('left as it was')
        return exit.failed
      }
      await decide(context, opened, row, options, {
        decision: 'corrected',
        action: { input: opened.redact(after), ...(businessKey === undefined ? {} : { businessKey }) },
      })
      return said(context, row, 'corrected', { difference: difference as unknown as Json })
    },
    { writes: true },
  )
}

/** `/pointer=JSON` into the action's input. */
function parseSet(text: string): { readonly pointer: string; readonly value: Json } {
  const cut = text.indexOf('=')
  if (cut < 0 || !(text.startsWith('/') || cut === 0))
    throw new ConvokeError('USAGE', `${JSON.stringify(text)} is not /pointer=JSON`, {
      next: `for example --set '/amount="90.00"'`,
    })
  return { pointer: text.slice(0, cut), value: parseStrict(text.slice(cut + 1)) }
}

export interface EscalateOptions extends Decider {
  readonly to?: string
}

export async function approvalsEscalate(context: Context, id: string, options: EscalateOptions): Promise<number> {
  return withStore(
    context,
    async (opened) => {
      const row = await find(opened, id)
      const { group } = await escalateApproval(opened.ledger, {
        tenant: opened.tenant,
        id,
        by: { kind: 'person', id: options.by ?? osUser(context.env) },
        at: clock.now(),
        ...(options.to === undefined ? {} : { group: options.to }),
        ...(options.reason === undefined ? {} : { reason: opened.redact(options.reason) as string }),
      })
      return said(context, row, `passed on to ${group}`, { group })
    },
    { writes: true },
  )
}

type Decision = Omit<Parameters<typeof decideApproval>[1], 'tenant' | 'id' | 'by' | 'at' | 'actionHash'>

async function decide(
  context: Context,
  opened: Opened,
  row: ApprovalRow,
  options: Decider,
  decision: Decision,
): Promise<void> {
  await decideApproval(opened.ledger, {
    ...decision,
    tenant: opened.tenant,
    id: row.id,
    actionHash: row.actionHash,
    by: { kind: 'person', id: options.by ?? osUser(context.env) },
    at: clock.now(),
    ...(options.reason === undefined ? {} : { reason: opened.redact(options.reason) as string }),
  })
}

function said({ out }: Context, row: ApprovalRow, what: string, more: JsonObject = {}): number {
  const next = `convoke resume ${row.run}`
  out.data({ id: row.id, run: row.run, decision: what, ...more, next }, () => `${row.id} ${what}`)
  out.note(out.errStyle.faint(`a worker that runs goes on by itself; else: ${next}`))
  return exit.ok
}
