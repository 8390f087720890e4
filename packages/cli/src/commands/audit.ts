import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ConvokeError, parseStrict } from 'convoke'
import {
  auditError,
  count,
  exportCheckpoint,
  moment,
  newSigningKey,
  parseCheckpoint,
  placeOf,
  publicKeyOf,
  verifyLedger,
  type AuditReport,
  type Checkpoint,
} from 'convoke/views'
import { clock, withStore, type Context, type Opened } from '../context.ts'
import { exit } from '../exit.ts'
import { table } from '../output.ts'

export interface VerifyOptions {
  readonly against?: string
  readonly publicKey?: string
}

function readText(context: Context, named: string, what: string): string {
  const file = resolve(context.cwd, named)
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConvokeError('INPUT_INVALID', `${what} ${file} cannot be read: ${(error as Error).message}`, {
      details: { file },
      next: 'name a file that is there',
      cause: error,
    })
  }
}

/** A key itself, or a file that holds one. */
function keyText(context: Context, given: string): string {
  return given.includes('-----BEGIN') || /^[A-Za-z0-9+/]{40,}={0,2}$/.test(given)
    ? given
    : readText(context, given, 'the public key')
}

export async function auditVerify(context: Context, options: VerifyOptions): Promise<number> {
  const { out } = context
  if (options.publicKey !== undefined && options.against === undefined)
    throw new ConvokeError('USAGE', '--public-key says who must have signed a checkpoint, and none is given', {
      next: 'name the checkpoint: --against FILE',
    })
  const against: Checkpoint | undefined =
    options.against === undefined
      ? undefined
      : parseCheckpoint(parseStrict(readText(context, options.against, 'the checkpoint')))
  const publicKey = options.publicKey === undefined ? undefined : keyText(context, options.publicKey)
  return withStore(context, async ({ ledger, tenant }) => {
    const report = await verifyLedger(ledger, tenant, {
      ...(against === undefined ? {} : { against }),
      ...(publicKey === undefined ? {} : { publicKey }),
    })
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
  const read = `${count(report.records)} records in ${count(report.streams)} streams, ${count(report.blobs)} blobs${erased}`
  const held =
    report.against === undefined
      ? ''
      : `\nheld against ${count(report.against.heads)} heads signed ${moment(report.against.at)} UTC by ${report.against.keyId}`
  if (report.findings.length === 0) return `${style.good('sound')}  ${read}${held}`
  const rows = report.findings.map((f) => [placeOf(f), f.kind, f.message] as const)
  const more = report.more === 0 ? '' : `\nand ${count(report.more)} more`
  return `${style.bad('not sound')}  ${read}${held}\n\n${table(['WHERE', 'KIND', 'WHAT'], rows, style, out.width)}${more}`
}

export interface ExportOptions {
  readonly key?: string
  readonly out?: string
}

export async function auditExport(context: Context, options: ExportOptions): Promise<number> {
  const { out } = context
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

/** The key of the store, made at first use and readable by its owner only, or the one that is named. */
function signingKey(
  context: Context,
  { dir }: Opened,
  named: string | undefined,
): { readonly key: string; readonly file: string; readonly made: boolean } {
  const file =
    named === undefined ? (dir === undefined ? undefined : join(dir, 'audit.key')) : resolve(context.cwd, named)
  if (file === undefined)
    throw new ConvokeError('USAGE', 'the configuration opens a store without a folder', {
      next: 'name a key: --key FILE',
    })
  if (existsSync(file)) return { key: readText(context, file, 'the signing key'), file, made: false }
  const key = newSigningKey()
  writeNew(file, key, 0o600, 'wx')
  return { key, file, made: true }
}

function writeNew(file: string, text: string, mode: number, flags: 'w' | 'wx'): void {
  try {
    const handle = openSync(file, flags, mode)
    try {
      writeSync(handle, text)
      fsyncSync(handle)
    } finally {
      closeSync(handle)
    }
  } catch (error) {
    throw new ConvokeError('STORE_UNUSABLE', `${file} cannot be written: ${(error as Error).message}`, {
      details: { file },
      next: 'choose a file that this user may write',
      cause: error,
    })
  }
}
