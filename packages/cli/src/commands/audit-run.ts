import { resolve } from 'node:path'
import { parseStrict } from 'convoke'
import {
  count,
  exportRun,
  moment,
  placeOf,
  publicKeyOf,
  renderReport,
  runExportError,
  runExportText,
  verifyRunExport,
  type RunExport,
  type RunVerification,
} from 'convoke/views'
import { readText, signingKey, trustOf, writeNew, type ExportOptions, type VerifyOptions } from '../audit-files.ts'
import { clock, findRun, withStore, type Context } from '../context.ts'
import { exit } from '../exit.ts'
import { table } from '../output.ts'

/** `convoke audit export RUN`: one file with what an auditor asks for, the records it is made of, and the proof. */
export async function exportRunFile(context: Context, named: string, options: ExportOptions): Promise<number> {
  const { out } = context
  return withStore(context, async (opened) => {
    const run = await findRun(opened, named)
    const { key, file, made } = signingKey(context, opened, options.key)
    const exported = await exportRun(opened.ledger, opened.tenant, run, {
      signingKey: key,
      at: clock.now(),
      ...(options.maxBlob === undefined ? {} : { maxBlobBytes: options.maxBlob }),
    })
    // Nothing leaves that would not be proved elsewhere: a store that was changed says so here.
    const error = runExportError(await verifyRunExport(parseStrict(runExportText(exported))))
    if (error !== undefined) throw error
    if (options.out === undefined) out.data(exported, () => runExportText(exported))
    else {
      const target = resolve(context.cwd, options.out)
      writeNew(target, runExportText(exported), 0o600, 'w')
      out.data({ file: target, run, keyId: exported.checkpoint.keyId, left: exported.left }, () => target)
    }
    if (made) out.note(`made the signing key ${file}; keep a copy of it, and its public key, apart from the store`)
    out.note(`public key  ${publicKeyOf(key)}`)
    for (const line of leftOut(exported)) out.note(line)
    return exit.ok
  })
}

function leftOut({ left }: RunExport): readonly string[] {
  const large = left.blobs.filter((blob) => blob.why === 'too large').length
  return [
    ...(large === 0 ? [] : [`${count(large)} files were left out for their size; --max-blob BYTES takes larger ones`]),
    ...(left.blobs.length === large ? [] : [`${count(left.blobs.length - large)} files are not in the store any more`]),
    ...(left.runs.length === 0 ? [] : [`runs with files of their own: ${left.runs.join(', ')}`]),
    ...(left.refs.length === 0 ? [] : [`records elsewhere that are named as causes: ${left.refs.join(', ')}`]),
  ]
}

/** `convoke audit verify FILE`: proves it without a store, and shows what it says. */
export async function verifyRunFile(context: Context, named: string, options: VerifyOptions): Promise<number> {
  const { out } = context
  const value = parseStrict(readText(context, named, 'the export'))
  const found = await verifyRunExport(value, trustOf(context, options))
  const file = value as unknown as RunExport
  // What is not proved is not shown as if it were.
  const shown = found.findings.length === 0 ? { report: file.report, left: file.left } : {}
  out.data({ ...found, ...shown }, () => verifiedText(found, file, context))
  if (!found.trusted)
    out.note(
      `${out.errStyle.warn('the file vouches for itself')}: whoever can rewrite it can sign it again. ` +
        `next: --public-key KEY, from whoever signed it (this one is ${found.keyId})`,
    )
  const error = runExportError(found)
  if (error === undefined) {
    for (const line of leftOut(file)) out.note(out.errStyle.faint(line))
    return exit.ok
  }
  out.error(error)
  return exit.failed
}

function verifiedText(found: RunVerification, file: RunExport, { out }: Context): string {
  const { style } = out
  const erased = found.erased === 0 ? '' : `, ${count(found.erased)} erased on purpose`
  const read = `${count(found.records)} records, ${count(found.blobs)} files${erased}, signed ${moment(found.at)} UTC by ${found.keyId}`
  if (found.findings.length === 0) return `${style.good('sound')}  ${read}\n\n${renderReport(file.report, style)}`
  const rows = found.findings.map((f) => [f.stream === '' ? 'the file' : placeOf(f), f.kind, f.message] as const)
  return `${style.bad('not sound')}  ${read}\n\n${table(['WHERE', 'KIND', 'WHAT'], rows, style, out.width)}`
}
