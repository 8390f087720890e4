import { resolve } from 'node:path'
import { ConvokeError } from 'convoke'
import {
  actsOf,
  auditError,
  count,
  exportCheckpoint,
  moment,
  placeOf,
  publicKeyOf,
  renderActs,
  verifyLedger,
  type AuditReport,
} from 'convoke/views'
import { signingKey, trustOf, writeNew, type ExportOptions, type VerifyOptions } from '../audit-files.ts'
import { clock, withStore, type Context } from '../context.ts'
import { exit } from '../exit.ts'
import { table } from '../output.ts'
import { exportRunFile, verifyRunFile } from './audit-run.ts'

export async function auditVerify(
  context: Context,
  exported: string | undefined,
  options: VerifyOptions,
): Promise<number> {
  const { out } = context
  if (exported !== undefined) return verifyRunFile(context, exported, options)
  if (options.publicKey !== undefined && options.against === undefined)
    throw new ConvokeError('USAGE', '--public-key says who must have signed a checkpoint, and none is given', {
      next: 'name the checkpoint: --against FILE, or the export of a run: convoke audit verify FILE',
    })
  const trust = trustOf(context, options)
  const { against, publicKey } = trust
  return withStore(context, async ({ ledger, tenant }) => {
    const report = await verifyLedger(ledger, tenant, trust)
    out.data(report, () => reportText(report, context))
    if (against !== undefined && publicKey === undefined)
      out.note(
        `${out.errStyle.warn('the checkpoint vouches for itself')}: whoever can rewrite it can sign it again. ` +
          `next: --public-key KEY, kept apart (this one is ${against.keyId})`,
      )
    else if (against === undefined)
      out.note(out.errStyle.faint('records cut off the end show only against a checkpoint: --against FILE'))
    const error = auditError(report)
    if (error === undefined) return exit.ok
    out.error(error)
    return exit.failed
  })
}

function reportText(report: AuditReport, { out }: Context): string {
  const { style } = out
  const erased = report.erased === 0 ? '' : `, ${count(report.erased)} erased on purpose`
  const archived = report.archived === 0 ? '' : `, ${count(report.archived)} streams archived`
  const read = `${count(report.records)} records in ${count(report.streams)} streams, ${count(report.blobs)} blobs${erased}${archived}`
  const held =
    report.against === undefined
      ? ''
      : `\nheld against ${count(report.against.heads)} heads signed ${moment(report.against.at)} UTC by ${report.against.keyId}`
  if (report.findings.length === 0) return `${style.good('sound')}  ${read}${held}`
  const rows = report.findings.map((f) => [placeOf(f), f.kind, f.message] as const)
  const more = report.more === 0 ? '' : `\nand ${count(report.more)} more`
  return `${style.bad('not sound')}  ${read}${held}\n\n${table(['WHERE', 'KIND', 'WHAT'], rows, style, out.width)}${more}`
}

export async function auditExport(context: Context, run: string | undefined, options: ExportOptions): Promise<number> {
  const { out } = context
  if (run !== undefined) return exportRunFile(context, run, options)
  if (options.maxBlob !== undefined)
    throw new ConvokeError('USAGE', '--max-blob is about the export of a run, and none is named', {
      next: 'convoke audit export RUN',
    })
  return withStore(context, async (opened) => {
    const { key, file, made } = signingKey(context, opened, options.key)
    const checkpoint = await exportCheckpoint(opened.ledger, opened.tenant, key, clock.now())
    if (options.out === undefined) out.data(checkpoint, () => JSON.stringify(checkpoint, null, 2))
    else {
      const target = resolve(context.cwd, options.out)
      writeNew(target, `${JSON.stringify(checkpoint, null, 2)}\n`, 0o644, 'w')
      out.data({ file: target, keyId: checkpoint.keyId, publicKey: checkpoint.publicKey }, () => target)
    }
    if (made) out.note(`made the signing key ${file}; keep a copy of it, and its public key, apart from the store`)
    out.note(`public key  ${publicKeyOf(key)}`)
    out.note(out.errStyle.faint(`${count(checkpoint.records)} records in ${count(checkpoint.streams)} streams signed`))
    return exit.ok
  })
}

export interface ActsOptions {
  readonly all?: boolean
}

/** `convoke audit acts`: what was decided about the tenant as a whole, and by whom. */
export async function auditActs(context: Context, { all = false }: ActsOptions): Promise<number> {
  const { out } = context
  return withStore(context, async ({ ledger, tenant }) => {
    const acts = (await actsOf(ledger, tenant)).filter(({ type }) => all || type !== 'trust.judged')
    out.list(acts, () => renderActs(acts, out.style))
    return exit.ok
  })
}
