import { ConvokeError } from './errors.ts'
import { sha256 } from './hash.ts'
import { runIdOf, runStream } from './projections.ts'
import { emptyHead, faultOf, refOf, type Head, type LedgerRecord } from './record.ts'
import type { TransferBlob } from './transfer.ts'

// What goes out of a store when ended runs are archived, and comes back. Invariants: a blob comes before the first
// record that refers to it, records of one stream in their order; nothing is taken for whole before its last record has
// the hash with which the stream ended.

export type ArchiveItem =
  /** No bytes: they were erased. */
  | ({ readonly kind: 'blob' } & TransferBlob)
  /** `position`: its place in the store's commit order, which it gets again where it is free. */
  | { readonly kind: 'record'; readonly position: number; readonly record: LedgerRecord }
  /** Id of a message in an inbox. */
  | { readonly kind: 'message'; readonly stream: string; readonly id: string; readonly seq: number }

export interface StreamHead extends Head {
  readonly stream: string
}

export interface ArchiveCount {
  readonly records: number
  readonly blobs: number
  /** Bytes of the blobs. */
  readonly bytes: number
}

/** What a store has to be able to tell of runs to be archived. */
export interface ArchiveSource {
  /** Records of a stream from a place on, at most `limit`. */
  records(
    stream: string,
    from: number,
    limit: number,
  ): Promise<readonly { readonly position: number; readonly record: LedgerRecord }[]>
  blob(hash: string): Promise<TransferBlob | undefined>
  messages(stream: string): Promise<readonly (readonly [id: string, seq: number])[]>
}

/** Items that are written in one transaction: first blobs, then the rest. */
export interface ArchiveBatch {
  readonly blobs: readonly TransferBlob[]
  readonly records: readonly { readonly position: number; readonly record: LedgerRecord }[]
  readonly messages: readonly (readonly [stream: string, id: string, seq: number])[]
}

/** What a store has to be able to do to take runs back. */
export interface ArchiveTarget {
  /** Where an archived stream ended; undefined for one that is not archived. */
  archivedAt(stream: string): Promise<Head | undefined>
  /** Adds what is not there yet; nobody can read it before `end`. */
  write(batch: ArchiveBatch): Promise<void>
  /** Opens the streams again; from here on they are what they were. */
  end(streams: readonly string[]): Promise<void>
}

const page = 500

/**
 * Everything of these streams; those of one run in their common order.
 * @throws LEDGER_CORRUPT, RUN_ARCHIVED, BLOB_MISSING
 */
export async function* archiveItems(
  source: ArchiveSource,
  streams: readonly string[],
): AsyncGenerator<ArchiveItem, void, undefined> {
  const sent = new Set<string>()
  const byRun = Map.groupBy(streams, (stream) => stream.slice(stream.indexOf('/') + 1))
  for (const names of byRun.values()) {
    for await (const { position, record } of merged(names.map((stream) => recordsOf(source, stream)))) {
      for (const hash of blobsOf(record)) {
        if (sent.has(hash)) continue
        sent.add(hash)
        const blob = await source.blob(hash)
        if (blob === undefined)
          throw new ConvokeError('BLOB_MISSING', `${refOf(record)} refers to blob ${hash}, which is not stored`, {
            details: { ref: refOf(record), hash },
            next: 'convoke audit verify',
          })
        yield { kind: 'blob', ...blob }
      }
      yield { kind: 'record', position, record }
    }
    for (const stream of names)
      for (const [id, seq] of await source.messages(stream)) yield { kind: 'message', stream, id, seq }
  }
}

interface Placed {
  readonly position: number
  readonly record: LedgerRecord
}

async function* recordsOf(source: ArchiveSource, stream: string): AsyncGenerator<Placed, void, undefined> {
  for (let from = 1; ;) {
    const found = await source.records(stream, from, page)
    yield* found
    const last = found.at(-1)?.record.seq
    if (last === undefined || found.length < page) return
    from = last + 1
  }
}

async function* merged(
  lists: readonly AsyncGenerator<Placed, void, undefined>[],
): AsyncGenerator<Placed, void, undefined> {
  const next = await Promise.all(lists.map(async (list) => await list.next()))
  for (;;) {
    let least = -1
    for (const [i, { value }] of next.entries()) {
      const before = next[least]?.value
      if (value !== undefined && (before === undefined || value.position < before.position)) least = i
    }
    const found = next[least]?.value
    if (found === undefined) return
    yield found
    next[least] = await (lists[least] as AsyncGenerator<Placed, void, undefined>).next()
  }
}

export function blobsOf(record: LedgerRecord): readonly string[] {
  const { blobs = [], spill } = record
  return spill === undefined || blobs.includes(spill) ? blobs : [...blobs, spill]
}

/**
 * Passes items on and proves them: every blob its hash, every record its own and its place in the chain, and in the end
 * every stream the head that is expected of it.
 * @throws ARCHIVE_INVALID
 */
export async function* provenItems(
  items: AsyncIterable<ArchiveItem>,
  tenant: string,
  expected: (stream: string) => Promise<Head | undefined>,
): AsyncGenerator<ArchiveItem, void, undefined> {
  const heads = new Map<string, { readonly expected: Head; at: Head }>()
  const spills = new Map<string, string | undefined>()
  for await (const item of items) {
    if (item.kind === 'blob') {
      if (item.bytes !== undefined && sha256(item.bytes) !== item.hash) throw invalid(`blob ${item.hash} was changed`)
      const isText = item.mediaType === 'application/json' && item.bytes !== undefined
      spills.set(item.hash, isText ? Buffer.from(item.bytes).toString('utf8') : undefined)
    } else if (item.kind === 'record') {
      const { record } = item
      if (record.tenant !== tenant) throw invalid(`${refOf(record)} is of tenant ${record.tenant}, not of ${tenant}`)
      let stream = heads.get(record.stream)
      if (stream === undefined) {
        const head = await expected(record.stream)
        if (head === undefined) throw invalid(`${record.stream} is not one of its streams`)
        heads.set(record.stream, (stream = { expected: head, at: emptyHead }))
      }
      for (const hash of blobsOf(record))
        if (!spills.has(hash)) throw invalid(`${refOf(record)} refers to blob ${hash}, which is not in it`)
      const body = record.spill === undefined ? undefined : spills.get(record.spill)
      const fault = faultOf(record, stream.at, body)
      if (fault !== undefined) throw invalid(`${refOf(record)}: ${fault}`)
      stream.at = { seq: record.seq, hash: record.hash }
    }
    yield item
  }
  for (const [stream, { expected: head, at }] of heads)
    if (head.seq !== at.seq || head.hash !== at.hash)
      throw invalid(
        `${stream} ends at ${at.seq} there, and ended at ${head.seq}${at.seq === head.seq ? ' with another hash' : ''}`,
      )
}

const [itemsAtOnce, bytesAtOnce] = [500, 2 << 20]

/**
 * Takes archived runs back. May be broken off and done again.
 * @throws ARCHIVE_INVALID when the items are not what was archived of these streams
 */
export async function restoreItems(
  items: AsyncIterable<ArchiveItem>,
  tenant: string,
  streams: readonly string[],
  target: ArchiveTarget,
): Promise<ArchiveCount> {
  const count = { records: 0, blobs: 0, bytes: 0 }
  const seen = new Set<string>()
  const fresh = (): {
    blobs: TransferBlob[]
    records: ArchiveBatch['records'][number][]
    messages: [string, string, number][]
  } => ({
    blobs: [],
    records: [],
    messages: [],
  })
  let batch = fresh()
  let bytes = 0
  const flush = async (): Promise<void> => {
    await target.write(batch)
    batch = fresh()
    bytes = 0
  }
  const proven = provenItems(items, tenant, (stream) =>
    streams.includes(stream) ? target.archivedAt(stream) : Promise.resolve(undefined),
  )
  for await (const item of proven) {
    if (item.kind === 'blob') {
      const { kind: _, ...blob } = item
      batch.blobs.push(blob)
      bytes += blob.bytes?.length ?? 0
      count.blobs += 1
      count.bytes += blob.bytes?.length ?? 0
    } else if (item.kind === 'record') {
      batch.records.push({ position: item.position, record: item.record })
      bytes += 2_000
      seen.add(item.record.stream)
      count.records += 1
    } else if (streams.includes(item.stream)) batch.messages.push([item.stream, item.id, item.seq])
    if (batch.records.length + batch.blobs.length + batch.messages.length >= itemsAtOnce || bytes >= bytesAtOnce)
      await flush()
  }
  const missing = streams.find((stream) => !seen.has(stream))
  if (missing !== undefined) throw invalid(`${missing} has no records in it`)
  await flush()
  await target.end(streams)
  return count
}

function invalid(why: string): ConvokeError {
  return new ConvokeError('ARCHIVE_INVALID', `the archive is not what was taken out of the store: ${why}`, {
    details: { why },
    next: 'use another copy of the file; what is in the store was left as it is',
  })
}

/**
 * Of restored streams, those whose records say something of approvals again. Approvals went with their run: an inbox that
 * was archived without one took none with it, and what had come to it before the question was asked decided nothing.
 */
export function withTheirRuns(streams: readonly string[]): readonly string[] {
  const there = new Set(streams)
  return streams.filter((stream) => there.has(runStream(runIdOf(stream))))
}

export function runArchived(stream: string): ConvokeError {
  const run = stream.slice(stream.indexOf('/') + 1)
  return new ConvokeError('RUN_ARCHIVED', `${stream} is archived`, {
    details: { run, stream },
    next: `bring it back with convoke store restore FILE; the file's name holds ${run}`,
  })
}

export function runNeeded(stream: string, why: string): ConvokeError {
  return new ConvokeError('RUN_NEEDED', `${stream} cannot be archived: ${why}`, {
    details: { stream, why },
    next: 'archive it later, together with the runs that belong to it',
  })
}
