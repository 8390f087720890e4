import { readArchive, writeArchive, type ArchiveHeader } from './archive-file.ts'
import { provenItems, type ArchiveCount } from './core/archive.ts'
import { ConvokeError, isConvokeError } from './core/errors.ts'
import { sha256 } from './core/hash.ts'
import { inboxStream, isEnded, runStream, type RunRow } from './core/projections.ts'
import type { Archive, Ledger } from './ports/ledger.ts'

// Ended runs out of a store, each family (a run, its children, its forks, and theirs) as one file. The order is what
// makes it safe against being broken off anywhere: write, read back and prove, and only then take out. A file that
// stands there already is written anew: until its runs are marked as archived, it is of no account.

/** Where archives are kept: a folder, or whatever the caller makes of it. */
export interface ArchivePlace {
  /** Durable when it resolves; in place of what was there under that name. */
  write(name: string, bytes: AsyncIterable<Uint8Array>): Promise<void>
  read(name: string): AsyncIterable<Uint8Array>
}

export interface ArchiveOptions {
  readonly tenant: string
  /** Runs that ended, and last changed, before this; milliseconds. */
  readonly before: number
  /** The time that is kept with them, in milliseconds. */
  readonly at: number
  /** Says which runs would go, and changes nothing. */
  readonly dryRun?: boolean
  /** Families at most; all unless said. */
  readonly limit?: number
  /** How long content stays after the last run that was known to refer to it, in milliseconds; an hour unless said. */
  readonly quietMs?: number
  readonly onFile?: (file: ArchivedFile) => void
}

export interface ArchivedFile extends ArchiveCount {
  /** Name within the place. */
  readonly name: string
  readonly runs: readonly string[]
}

export interface ArchiveReport {
  readonly files: readonly ArchivedFile[]
  /** Runs that are old enough and stay, and why. */
  readonly left: readonly { readonly run: string; readonly why: string }[]
  /** Content removed that only archived runs referred to. */
  readonly swept: { readonly blobs: number; readonly bytes: number }
}

const pageRuns = 200
const maxFamily = 10_000
const hourMs = 3_600_000

/**
 * Archives ended runs. May be broken off and started again at any time.
 * @throws STORE_UNUSABLE when the store cannot, ARCHIVE_INVALID when what was written cannot be read back
 */
export async function archiveRuns(
  ledger: Ledger,
  place: ArchivePlace,
  options: ArchiveOptions,
): Promise<ArchiveReport> {
  const archive = archiveOf(ledger)
  const { tenant, before, limit = Infinity } = options
  const files: ArchivedFile[] = []
  const left: { run: string; why: string }[] = []
  const seen = new Set<string>()
  let after: RunRow | undefined
  while (files.length < limit) {
    const page = await archive.ended({ tenant, before, limit: pageRuns, ...(after === undefined ? {} : { after }) })
    for (const row of page) {
      if (seen.has(row.run) || files.length >= limit) continue
      const family = await familyOf(ledger, archive, row, before)
      for (const { run } of family.members) seen.add(run)
      if (family.why !== undefined) {
        left.push({ run: row.run, why: family.why })
        continue
      }
      const file = await archiveFamily(ledger, archive, place, family.members, options)
      if ('why' in file) left.push({ run: row.run, why: file.why })
      else {
        files.push(file)
        options.onFile?.(file)
      }
    }
    after = page.at(-1)
    if (page.length < pageRuns) break
  }
  const swept = options.dryRun === true ? { blobs: 0, bytes: 0 } : await archive.sweep(options.quietMs ?? hourMs)
  return { files, left, swept }
}

/** All that goes together, or why it stays. Those that are archived already are no part of it any more. */
async function familyOf(
  ledger: Ledger,
  archive: Archive,
  first: RunRow,
  before: number,
): Promise<{ readonly members: readonly RunRow[]; readonly why?: string }> {
  const members = new Map([[first.run, first]])
  for (const row of members.values()) {
    const ref = { tenant: row.tenant, stream: runStream(row.run) }
    const above = [row.parent, row.forkOf].flatMap((run) => (run === undefined ? [] : [run]))
    const near = [
      ...(await archive.relatives(ref)),
      ...(await Promise.all(above.map((run) => ledger.run({ ...ref, stream: runStream(run) })))),
    ]
    for (const other of near) {
      if (other === undefined || other.archived !== undefined || members.has(other.run)) continue
      members.set(other.run, other)
      if (!isEnded(other.status)) return { members: [...members.values()], why: `${other.run} has not ended` }
      if (other.updatedAt >= before) return { members: [...members.values()], why: `${other.run} is not old enough` }
      if (members.size > maxFamily)
        return { members: [...members.values()], why: `more than ${maxFamily} runs belong to it` }
    }
  }
  return { members: [...members.values()] }
}

async function archiveFamily(
  ledger: Ledger,
  archive: Archive,
  place: ArchivePlace,
  members: readonly RunRow[],
  options: ArchiveOptions,
): Promise<ArchivedFile | { readonly why: string }> {
  const { tenant, at } = options
  const runs = members.map(({ run }) => run)
  const names = runs.flatMap((run) => [runStream(run), inboxStream(run)])
  const name = nameOf(tenant, runs)
  if (options.dryRun === true) {
    const heads = await Promise.all(names.map((stream) => ledger.head({ tenant, stream })))
    return { name, runs, records: heads.reduce((sum, { seq }) => sum + seq, 0), blobs: 0, bytes: 0 }
  }
  const streams = []
  for (const stream of names) {
    const head = await ledger.head({ tenant, stream })
    if (head.seq > 0) streams.push({ stream, ...head })
  }
  const header: ArchiveHeader = { tenant, at, runs: members, streams }
  const count = { records: 0, blobs: 0, bytes: 0 }
  await place.write(
    name,
    writeArchive(
      header,
      archive.export(
        tenant,
        streams.map(({ stream }) => stream),
      ),
    ),
  )
  // What is taken out is what can be read back, whatever happened on the way to the disk.
  const heads = new Map(streams.map((head) => [head.stream, head]))
  const ends = new Map<string, number>()
  const opened = await readArchive(place.read(name))
  for await (const item of provenItems(opened.items, tenant, (stream) => Promise.resolve(heads.get(stream)))) {
    if (item.kind === 'record') {
      count.records += 1
      ends.set(item.record.stream, item.record.seq)
    } else if (item.kind === 'blob') {
      count.blobs += 1
      count.bytes += item.bytes?.length ?? 0
    }
  }
  for (const { stream, seq } of streams)
    if (ends.get(stream) !== seq)
      throw new ConvokeError('ARCHIVE_INVALID', `${name} does not hold all of ${stream}`, {
        details: { name, stream },
        next: 'look at the disk that it was written to; nothing was taken out of the store',
      })
  try {
    await archive.drop(tenant, streams, at)
  } catch (error) {
    // Something came in between; it is looked at again next time.
    if (isConvokeError(error, 'RUN_NEEDED') || isConvokeError(error, 'POSITION_STALE')) return { why: error.message }
    throw error
  }
  return { name, runs, ...count }
}

/** Says the first run, in letters that every file system takes, and is different for different families. */
function nameOf(tenant: string, runs: readonly string[]): string {
  const plain = (text: string): string => text.replace(/[^A-Za-z0-9_-]+/g, '_').slice(0, 60)
  const [first = ''] = runs
  return `${plain(tenant)}-${plain(first)}-${sha256(JSON.stringify([tenant, first])).slice(0, 12)}.jsonl`
}

export interface RestoreReport extends ArchiveCount {
  readonly tenant: string
  readonly runs: readonly string[]
  /** All of it stands in the store already. */
  readonly existed: boolean
}

/**
 * Brings the runs of an archive back, into the store that they were taken out of (or a copy of it). May be broken off
 * and started again.
 * @throws ARCHIVE_INVALID, RUN_UNKNOWN when the store knows nothing of them, STORE_UNUSABLE
 */
export async function restoreRuns(ledger: Ledger, bytes: AsyncIterable<Uint8Array>): Promise<RestoreReport> {
  const archive = archiveOf(ledger)
  const { header, items } = await readArchive(bytes)
  const { tenant, streams } = header
  const runs = header.runs.map(({ run }) => run)
  const rows = await Promise.all(runs.map((run) => ledger.run({ tenant, stream: runStream(run) })))
  const unknown = runs.find((_, i) => rows[i] === undefined)
  if (unknown !== undefined)
    throw new ConvokeError('RUN_UNKNOWN', `this store knows nothing of run ${unknown} of tenant ${tenant}`, {
      details: { run: unknown, tenant },
      next: 'restore it into the store that it was archived from',
    })
  if (rows.every((row) => row?.archived === undefined))
    return { tenant, runs, records: 0, blobs: 0, bytes: 0, existed: true }
  const count = await archive.restore(
    tenant,
    streams.map(({ stream }) => stream),
    items,
  )
  return { tenant, runs, ...count, existed: false }
}

function archiveOf(ledger: Ledger): Archive {
  if (ledger.archive !== undefined) return ledger.archive
  throw new ConvokeError('STORE_UNUSABLE', 'this kind of store cannot archive runs', {
    next: 'use a folder or a postgres:// address',
  })
}
