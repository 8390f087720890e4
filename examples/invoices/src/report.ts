import { rename, writeFile } from 'node:fs/promises'
import type { ApprovalRow, JsonObject, Ledger, LedgerRecord, RunRow } from 'convoke'
import { refusedIn } from './lines.ts'
import type { Finding, SquadResult } from './squad/types.ts'
import { reasonOf } from './squad/workflow.ts'
import type { InvoiceDocument } from './extract/index.ts'

/** What became of one file. */
export interface FileReport {
  readonly file: string
  readonly run: string
  readonly status: SquadResult['status'] | 'failed'
  readonly reason: string
  readonly source?: 'xml' | 'text'
  readonly document?: InvoiceDocument
  /** What agents tried and may not. */
  readonly refused?: readonly string[]
  readonly approvals: readonly string[]
  readonly ms: number
  readonly tokens: number
  readonly cost: string
}

/** What became of each file, as the ledger has it now. */
export async function readReports(
  ledger: Ledger,
  tenant: string,
  items: readonly { readonly file: string; readonly run: string }[],
): Promise<FileReport[]> {
  const approvals = await ledger.approvals({ tenant, status: 'pending', limit: 10_000 })
  const reports: FileReport[] = []
  for (const { file, run } of items) {
    const ref = { tenant, stream: `run/${run}` }
    const row = await ledger.run(ref)
    if (row !== undefined) reports.push(reportOf(file, row, await ledger.read(ref, { limit: 100_000 }), approvals))
  }
  return reports
}

/** Where a run stands, and after it what its agents tried and may not. */
function reportOf(
  file: string,
  row: RunRow,
  records: readonly LedgerRecord[],
  approvals: readonly ApprovalRow[],
): FileReport {
  const refused = [...new Set(records.flatMap((record) => refusedIn(record) ?? []))]
  const report = standingOf(file, row, records, approvals)
  return refused.length === 0
    ? report
    : { ...report, reason: `${report.reason}; refused: ${refused.join('; ')}`, refused }
}

/** Reads from a run's records where it stands; a run that waits is told by what it waits for. */
function standingOf(
  file: string,
  row: RunRow,
  records: readonly LedgerRecord[],
  approvals: readonly ApprovalRow[],
): FileReport {
  const mine = approvals.filter((a) => a.run === row.run && a.status === 'pending')
  const base = { file, run: row.run, approvals: mine.map((a) => a.id), ...spentIn(records) }
  const document = documentIn(records)
  const shown = document === undefined ? {} : document
  const last = records[records.length - 1]
  const payload = (last?.payload ?? {}) as JsonObject
  if (row.status === 'done') {
    const result = payload['value'] as unknown as SquadResult
    return { ...base, ...shown, status: result.status, reason: result.reason }
  }
  if (row.status === 'parked' && mine.length > 0) {
    const mail = mine.find((a) => a.category === 'external-communication')
    const findings = findingsIn(records)
    if (mail !== undefined)
      return { ...base, ...shown, status: 'exception', reason: `${findings}; e-mail waits for approval ${mail.id}` }
    const payment = mine[0] as ApprovalRow
    return { ...base, ...shown, status: 'waiting', reason: `${payment.title} waits for approval ${payment.id}` }
  }
  const error = (payload['error'] ?? payload) as { code?: string; message?: string }
  return {
    ...base,
    ...shown,
    status: 'failed',
    reason: `${row.status}: ${error.code ?? row.error ?? ''} ${error.message ?? ''}`.trim(),
  }
}

function documentIn(
  records: readonly LedgerRecord[],
): { source: 'xml' | 'text'; document: InvoiceDocument } | undefined {
  for (const record of records) {
    const p = record.payload as {
      op?: string
      target?: string
      value?: { value?: { readable?: boolean; source: 'xml' | 'text'; document: InvoiceDocument } }
    } | null
    if (p?.op === 'ask' && p.target === 'intake' && p.value?.value?.readable === true)
      return { source: p.value.value.source, document: p.value.value.document }
  }
  return undefined
}

function findingsIn(records: readonly LedgerRecord[]): string {
  const put = records.findLast((record) => record.type === 'board.put')?.payload as
    { value?: readonly Finding[] } | undefined
  return reasonOf(put?.value ?? [])
}

/** Time from the first record to the last, tokens and cost of finished asks. */
function spentIn(records: readonly LedgerRecord[]): { ms: number; tokens: number; cost: string } {
  const first = records[0]
  const last = records[records.length - 1]
  let tokens = 0
  let cost = 0n
  for (const record of records) {
    const p = record.payload as {
      op?: string
      usage?: { tokens?: Record<string, number>; cost?: { amount?: string } | string }
    } | null
    if (p?.op !== 'ask' || (record.path?.includes('/') === true && record.fold !== undefined)) continue
    for (const [kind, count] of Object.entries(p.usage?.tokens ?? {}))
      if (kind === 'input' || kind === 'output') tokens += count
    const amount = typeof p.usage?.cost === 'string' ? p.usage.cost : p.usage?.cost?.amount
    if (amount !== undefined) cost += micro(amount)
  }
  return {
    ms: first === undefined || last === undefined ? 0 : last.at - first.at,
    tokens,
    cost: `${cost / 1_000_000n}.${(cost % 1_000_000n).toString().padStart(6, '0')}`,
  }
}

function micro(amount: string): bigint {
  const [whole = '0', fraction = ''] = amount.split('.')
  return BigInt(whole) * 1_000_000n + BigInt(fraction.padEnd(6, '0').slice(0, 6))
}

/** One object a file, for checks from outside. */
export function asData(report: FileReport): JsonObject {
  const d = report.document
  return {
    file: report.file,
    run: report.run,
    status: report.status,
    reason: report.reason,
    ...(report.refused === undefined ? {} : { refused: [...report.refused] }),
    ...(report.source === undefined ? {} : { source: report.source }),
    ...(d === undefined
      ? {}
      : {
          document: Object.fromEntries(
            [
              ['number', d.number],
              ['type', d.type],
              ['date', d.date],
              ['seller', d.seller],
              ['buyer', d.buyer],
              ['currency', d.currency],
              ['net', d.net],
              ['tax', d.tax],
              ['grand', d.grand],
              ['due', d.due],
              ['po', d.po],
              ['iban', d.iban],
              ['lines', d.lines.length],
            ].filter(([, value]) => value !== undefined),
          ) as JsonObject,
        }),
  }
}

export async function writeReports(file: string, reports: readonly FileReport[]): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`
  await writeFile(temporary, `${JSON.stringify(reports.map(asData), null, 2)}\n`)
  await rename(temporary, file)
}

const groups: readonly (readonly [FileReport['status'], string])[] = [
  ['paid', 'matched and paid'],
  ['waiting', 'waiting for approval'],
  ['exception', 'exceptions'],
  ['set-aside', 'set aside'],
  ['failed', 'failed'],
]

export function table(reports: readonly FileReport[], width: number): string {
  const columns = (['run', 'invoice', 'time', 'tokens', 'cost'] as const).map((title) => ({
    title,
    right: title === 'time' || title === 'tokens' || title === 'cost',
  }))
  const rows = reports.map((r) => [
    r.run,
    r.document?.number ?? r.file,
    `${(r.ms / 1000).toFixed(1)} s`,
    String(r.tokens),
    `$${r.cost.slice(0, -2)}`,
  ])
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...rows.map((row) => (row[i] as string).length)))
  const line = (cells: readonly string[], rest: string): string =>
    `  ${cells.map((cell, i) => (columns[i]?.right ? cell.padStart(widths[i] as number) : cell.padEnd(widths[i] as number))).join('  ')}  ${rest}`.trimEnd()
  const used = 4 + widths.reduce((sum, w) => sum + w + 2, 0)
  const room = Math.max(30, width - used)
  const out = [
    line(
      columns.map((c) => c.title),
      'what',
    ),
  ]
  for (const [status, title] of groups) {
    const of = reports.flatMap((r, i) => (r.status === status ? [i] : []))
    if (of.length === 0) continue
    out.push('', `${title} (${of.length})`)
    for (const i of of) {
      const { reason } = reports[i] as FileReport
      out.push(line(rows[i] as string[], reason.length <= room ? reason : `${reason.slice(0, room - 1)}…`))
    }
  }
  return out.join('\n')
}
