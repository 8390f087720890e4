import { createHash } from 'node:crypto'
import { canonicalize, decode } from './core/canonical.ts'
import type { ArchiveCount, ArchiveItem, StreamHead } from './core/archive.ts'
import { ConvokeError } from './core/errors.ts'
import type { Json, JsonObject } from './core/json.ts'
import type { RunRow } from './core/projections.ts'
import type { LedgerRecord } from './core/record.ts'

// An archive as a file: JSON lines (https://jsonlines.org), each canonical. The first says what it is of, then one line
// for each blob (base64), record and message id, and the last one counts and hashes the bytes before it, so that a file
// that was cut off or changed is known without any store. Records stand as they are: whoever has the file can prove it.

export interface ArchiveHeader {
  readonly tenant: string
  /** When it was written, in milliseconds. */
  readonly at: number
  /** The runs as they were listed. */
  readonly runs: readonly RunRow[]
  /** Where their streams ended. */
  readonly streams: readonly StreamHead[]
}

const format = 'convoke-archive'

export async function* writeArchive(
  header: ArchiveHeader,
  items: AsyncIterable<ArchiveItem>,
): AsyncGenerator<Uint8Array, ArchiveCount, undefined> {
  const sum = createHash('sha256')
  const count = { records: 0, blobs: 0, bytes: 0 }
  const line = (value: unknown): Uint8Array => {
    const bytes = Buffer.from(`${canonicalize(value as Json)}\n`)
    sum.update(bytes)
    return bytes
  }
  yield line({ format, v: 1, ...header })
  for await (const item of items) {
    if (item.kind === 'record') {
      count.records += 1
      yield line({ record: item.record, position: item.position })
    } else if (item.kind === 'message') yield line({ message: [item.stream, item.id, item.seq] })
    else {
      const { hash, mediaType, bytes } = item
      count.blobs += 1
      count.bytes += bytes?.length ?? 0
      yield line({
        blob: hash,
        mediaType,
        ...(bytes === undefined ? {} : { bytes: Buffer.from(bytes).toString('base64') }),
      })
    }
  }
  yield line({ end: { ...count, sha256: sum.copy().digest('hex') } })
  return count
}

export interface OpenedArchive {
  readonly header: ArchiveHeader
  /** To be read once. @throws ARCHIVE_INVALID when the end is not what it should be */
  readonly items: AsyncIterable<ArchiveItem>
}

/** @throws ARCHIVE_INVALID, RECORD_UNSUPPORTED */
export async function readArchive(bytes: AsyncIterable<Uint8Array>): Promise<OpenedArchive> {
  const lines = linesOf(bytes)
  const first = await lines.next()
  const header = first.done === true ? undefined : parse(first.value.bytes)
  if (header?.['format'] !== format) throw unreadable('it does not begin as an archive does')
  if (header['v'] !== 1)
    throw new ConvokeError(
      'RECORD_UNSUPPORTED',
      `the archive is of version ${JSON.stringify(header['v'])}, this reads 1`,
      {
        next: 'update Convoke',
      },
    )
  return { header: header as unknown as ArchiveHeader, items: itemsOf(lines) }
}

interface Line {
  readonly bytes: Uint8Array
  /** SHA-256 of all lines before it. */
  readonly before: () => string
}

async function* itemsOf(lines: AsyncGenerator<Line, void, undefined>): AsyncGenerator<ArchiveItem, void, undefined> {
  const count = { records: 0, blobs: 0, bytes: 0 }
  for await (const { bytes, before } of lines) {
    const line = parse(bytes)
    if (line['record'] !== undefined) {
      count.records += 1
      yield { kind: 'record', position: line['position'] as number, record: line['record'] as unknown as LedgerRecord }
    } else if (line['message'] !== undefined) {
      const [stream, id, seq] = line['message'] as [string, string, number]
      yield { kind: 'message', stream, id, seq }
    } else if (line['blob'] !== undefined) {
      const content = line['bytes'] === undefined ? undefined : Buffer.from(line['bytes'] as string, 'base64')
      count.blobs += 1
      count.bytes += content?.length ?? 0
      const { blob, mediaType } = line as { blob: string; mediaType: string }
      yield { kind: 'blob', hash: blob, mediaType, ...(content === undefined ? {} : { bytes: content }) }
    } else {
      if (canonicalize(line['end'] ?? null) !== canonicalize({ ...count, sha256: before() }))
        throw unreadable('it was changed, or lines of it are gone')
      return
    }
  }
  throw unreadable('its end is missing')
}

function parse(bytes: Uint8Array): Readonly<Record<string, Json | undefined>> {
  try {
    const value = decode(Buffer.from(bytes).toString('utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject
  } catch {
    // Told below.
  }
  throw unreadable('a line of it is no JSON object')
}

async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Line, void, undefined> {
  const sum = createHash('sha256')
  let rest: Uint8Array[] = []
  for await (const chunk of chunks) {
    let from = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const bytes = Buffer.concat([...rest, chunk.subarray(from, end)])
      rest = []
      from = end + 1
      yield { bytes, before: () => sum.copy().digest('hex') }
      sum.update(bytes).update('\n')
    }
    if (from < chunk.length) rest.push(Uint8Array.from(chunk.subarray(from)))
  }
  if (rest.length > 0) yield { bytes: Buffer.concat(rest), before: () => sum.copy().digest('hex') }
}

function unreadable(why: string): ConvokeError {
  return new ConvokeError('ARCHIVE_INVALID', `the archive cannot be used: ${why}`, {
    details: { why },
    next: 'use another copy of the file; what is in the store was left as it is',
  })
}
