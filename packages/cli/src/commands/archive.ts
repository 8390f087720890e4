import { createReadStream, existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { archiveFolder, archiveRuns, ConvokeError, restoreRuns } from 'convoke'
import { count } from 'convoke/views'
import { clock, withStore, type Context } from '../context.ts'
import { exit } from '../exit.ts'
import { size } from './disk.ts'

export interface ArchiveFlags {
  readonly olderThan: string
  readonly to: string
  readonly dryRun?: boolean
}

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** `90d`, `12h`: in milliseconds. @throws USAGE */
export function ageOf(text: string): number {
  const [, amount, unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? []
  const ms = unitMs[unit]
  if (amount === undefined || ms === undefined)
    throw new ConvokeError('USAGE', `--older-than ${JSON.stringify(text)} is no age`, {
      next: 'write a number and a unit: 90d, 12h, 30m or 45s',
    })
  return Number(amount) * ms
}

/** `convoke store archive`: ended runs out of the store, each family as one file. */
export async function storeArchive(context: Context, flags: ArchiveFlags): Promise<number> {
  const { out } = context
  const age = ageOf(flags.olderThan)
  const dir = resolve(context.cwd, flags.to)
  const dryRun = flags.dryRun === true
  return withStore(context, async ({ ledger, tenant }) => {
    const at = clock.now()
    const report = await archiveRuns(ledger, archiveFolder(dir), {
      tenant,
      before: at - age,
      at,
      dryRun,
      onFile: ({ name, runs }) => {
        if (out.interactive) out.note(`${name}: ${count(runs.length)} ${runs.length === 1 ? 'run' : 'runs'}`)
      },
    })
    const runs = report.files.reduce((sum, file) => sum + file.runs.length, 0)
    const records = report.files.reduce((sum, file) => sum + file.records, 0)
    out.data({ dryRun, to: dir, ...report }, () =>
      [
        `${dryRun ? 'would archive' : 'archived'} ${count(runs)} ${runs === 1 ? 'run' : 'runs'} (${count(records)} records) to ${dir}`,
        ...report.files.map(
          ({ name, runs: list }) => `  ${name}  ${list.slice(0, 3).join(', ')}${list.length > 3 ? ', …' : ''}`,
        ),
        ...report.left.map(({ run, why }) => `  ${run} stays: ${why}`),
        ...(report.swept.blobs === 0
          ? []
          : [
              `removed ${count(report.swept.blobs)} blobs (${size(report.swept.bytes)}) that only archived runs referred to`,
            ]),
      ].join('\n'),
    )
    return exit.ok
  })
}

/** `convoke store restore`: brings the runs of an archive back. */
export async function storeRestore(context: Context, file: string): Promise<number> {
  const { out } = context
  const path = resolve(context.cwd, file)
  if (!existsSync(path))
    throw new ConvokeError('USAGE', `there is no file ${path}`, {
      details: { file: path },
      next: 'name a file that convoke store archive wrote',
    })
  return withStore(context, async ({ ledger }) => {
    const report = await restoreRuns(ledger, createReadStream(path))
    const { runs, records, existed } = report
    out.data(report, () =>
      existed
        ? `${runs.join(', ')}: not archived, nothing to bring back`
        : `brought back ${count(runs.length)} ${runs.length === 1 ? 'run' : 'runs'} (${count(records)} records): ${runs.slice(0, 5).join(', ')}${runs.length > 5 ? ', …' : ''}`,
    )
    return exit.ok
  })
}
