import type { DatabaseSync } from 'node:sqlite'
import { runArchived, runNeeded, withTheirRuns, type StreamHead } from '../core/archive.ts'
import { ConvokeError } from '../core/errors.ts'
import { inboxStream, isEnded, runIdOf, runStream, type RunRow } from '../core/projections.ts'
import type { Head } from '../core/record.ts'
import type { TransferBlob } from '../core/transfer.ts'
import type { Appends } from './appends.ts'
import type { Blobs } from './blobs.ts'
import type { Leases } from './leases.ts'
import type { Projections } from './projections.ts'
import type { Calls, WireArchive } from './protocol.ts'
import { rebuildApprovals } from './rebuild.ts'
import { archivedFormat } from './schema.ts'
import { hexOf, type Memory, type Stream } from './streams.ts'
import type { Transaction } from './transaction.ts'
import { archivable, changedAt } from './upgrades.ts'
import { parseCauses } from './wire.ts'

// Ended runs out of the tables and back. Owns `streams.archived` and `streams.head` (where an archived stream ended;
// negative while its records come back, which nobody can see before all are there) and the table `orphans` (blobs that
// archived records referred to). Invariant: a position is never used twice, though SQLite would hand out the highest
// again once its row is gone: then a row of no stream holds it.

type ReadNames = 'archivedAt' | 'endedRuns' | 'relatives' | 'blobOf' | 'messagesOf' | 'orphans' | 'referred'

export interface ArchiveTables {
  readonly reads: { readonly [K in ReadNames]: (...args: Calls[K]['args']) => Calls[K]['result'] }
  drop(tenant: string, streams: readonly StreamHead[], at: number): undefined
  write(batch: WireArchive): undefined
  end(tenant: string, streams: readonly string[]): undefined
  sweep(
    orphans: readonly number[],
    needed: readonly number[],
    scanned: number,
  ): { readonly blobs: number; readonly bytes: number }
}

export function createArchive(parts: {
  readonly db: DatabaseSync
  readonly memory: Memory
  readonly blobs: Blobs
  readonly leases: Leases
  readonly projections: Projections
  readonly appends: Appends
  readonly transaction: Transaction
}): ArchiveTables {
  const { db, memory, blobs, leases, projections, appends, transaction } = parts
  const findStream = db.prepare('SELECT id, archived, head FROM streams WHERE tenant = ? AND name = ?')
  const findRun = db.prepare('SELECT row FROM runs WHERE tenant = ? AND run = ?')
  const findEnded = db.prepare(
    `SELECT row FROM runs WHERE tenant = :tenant AND ${archivable} AND ${changedAt} < :before
       AND ${changedAt} >= :at AND (${changedAt}, run) > (:at, :run) ORDER BY ${changedAt}, run LIMIT :limit`,
  )
  // One after the other: as a union, in order, they would walk all runs of the tenant.
  const findRelatives = ['parent', 'forkOf'].map((member) =>
    db.prepare(
      `SELECT row FROM runs WHERE tenant = :tenant AND json_extract(row, '$.${member}') IS NOT NULL
         AND json_extract(row, '$.${member}') = :run`,
    ),
  )
  const findBlob = db.prepare('SELECT type, bytes FROM blobs WHERE tenant = ? AND hash = ?')
  const findMessages = db.prepare('SELECT id, seq FROM messages WHERE stream = ?')
  findMessages.setReturnArrays(true)
  const last = db.prepare('SELECT max(position) AS position FROM records')
  const findParts = db.prepare('SELECT seq, causes, blobs, spill FROM records WHERE stream = ?')
  const dropDependent = db.prepare('DELETE FROM dependents WHERE tenant = ? AND ref = ? AND stream = ? AND seq = ?')
  const addOrphan = db.prepare(
    'INSERT INTO orphans(blob, since) VALUES (?, ?) ON CONFLICT DO UPDATE SET since = excluded.since',
  )
  const dropRows = ['records', 'folds', 'messages'].map((table) => db.prepare(`DELETE FROM ${table} WHERE stream = ?`))
  const dropApprovals = db.prepare(
    // By its own key alone it would walk all approvals of the tenant.
    'DELETE FROM approvals WHERE tenant = ?1 AND id IN (SELECT a.id FROM approvals a WHERE a.tenant = ?1 AND a.run = ?2)',
  )
  const close = db.prepare(
    'UPDATE streams SET archived = ?, head = unhex(?), epoch = epoch + 1, owner = NULL WHERE id = ?',
  )
  const begin = db.prepare('UPDATE streams SET archived = -abs(archived) WHERE id = ?')
  const reopen = db.prepare('UPDATE streams SET archived = 0, head = NULL WHERE id = ?')
  const addMessage = db.prepare('INSERT OR IGNORE INTO messages(stream, id, seq) VALUES (?, ?, ?)')
  const dropMarks = db.prepare('DELETE FROM records WHERE stream = 0')
  const dropMark = db.prepare('DELETE FROM records WHERE stream = 0 AND position = ?')
  const isTaken = db.prepare('SELECT 1 FROM records WHERE position = ? AND (stream, seq) <> (?, ?)')
  const countOf = db.prepare('SELECT count(*) AS n FROM records WHERE stream = ?')
  const addMark = db.prepare(
    `INSERT INTO records(position, stream, seq, epoch, at, shape, hash, commitment, salt, payload)
       VALUES (?1, 0, ?1, 0, 0, 0, x'', x'', x'', 'null')`,
  )
  const raise = db.prepare(`UPDATE meta SET value = max(value, ${archivedFormat}) WHERE key = 'format'`)
  const findOrphans = db.prepare('SELECT blob FROM orphans WHERE since <= ? ORDER BY blob LIMIT 100000')
  const findReferred = db.prepare(
    `SELECT DISTINCT b.value AS id FROM records r, json_each(r.blobs) b
       WHERE r.position > :after AND r.position <= :upTo AND r.blobs IS NOT NULL AND b.value IN (SELECT value FROM json_each(:ids))
     UNION SELECT r.spill FROM records r WHERE r.position > :after AND r.position <= :upTo AND r.spill IS NOT NULL
       AND r.spill IN (SELECT value FROM json_each(:ids))`,
  )
  const isOrphan = db.prepare('SELECT 1 FROM orphans WHERE blob = ?')
  const dropOrphan = db.prepare('DELETE FROM orphans WHERE blob = ?')
  const sizeOf = db.prepare('SELECT length(bytes) AS n FROM blobs WHERE id = ?')
  // The hash stays, as of an erased one: row ids must not be handed out again, and others remember them.
  const empty = db.prepare('UPDATE blobs SET bytes = NULL WHERE id = ?')
  const clock = db.prepare(`SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now`)
  const now = (): number => (clock.get() as { now: number }).now

  function rowOf(tenant: string, run: string): RunRow | undefined {
    const found = findRun.get(tenant, run) as { row: string } | undefined
    return found === undefined ? undefined : (JSON.parse(found.row) as RunRow)
  }

  function relatives(tenant: string, run: string): RunRow[] {
    const found = new Map<string, RunRow>()
    for (const find of findRelatives)
      for (const { row } of find.all({ tenant, run }) as { row: string }[]) {
        const one = JSON.parse(row) as RunRow
        found.set(one.run, one)
      }
    return [...found.values()].sort((x, y) => (x.run < y.run ? -1 : 1))
  }

  function checkStream(tenant: string, { stream, seq, hash }: StreamHead): Stream {
    const found = memory.find(tenant, stream)
    if (found === undefined || found.seq === 0)
      throw new ConvokeError('RUN_UNKNOWN', `${stream} has no records`, { details: { stream }, next: 'convoke runs' })
    if (found.archived) throw runArchived(stream)
    if (found.seq !== seq || found.hash !== hash) throw moved(stream, found.seq)
    return found
  }

  function checkRun(tenant: string, run: string, going: ReadonlySet<string>, names: ReadonlySet<string>): void {
    const stream = runStream(run)
    const row = rowOf(tenant, run)
    if (row === undefined || !isEnded(row.status)) throw runNeeded(stream, 'it has not ended')
    const owner = memory.find(tenant, stream)?.owner
    if (owner !== null && owner !== undefined && leases.isAlive(owner))
      throw runNeeded(stream, 'a live worker holds it')
    const near = [
      ...relatives(tenant, run),
      ...[row.parent, row.forkOf].flatMap((id) => (id === undefined ? [] : (rowOf(tenant, id) ?? []))),
    ]
    const left = near.find((other) => other.archived === undefined && !going.has(other.run))
    if (left !== undefined) throw runNeeded(stream, `${left.run} belongs to it`)
    const inbox = memory.find(tenant, inboxStream(run))
    if (inbox !== undefined && inbox.seq > 0 && !names.has(inbox.name)) throw moved(inbox.name, inbox.seq)
  }

  function empties(tenant: string, stream: Stream, since: number): void {
    for (const part of findParts.iterate(stream.id)) {
      const {
        seq,
        causes,
        blobs: list,
        spill,
      } = part as {
        seq: number
        causes: string | null
        blobs: string | null
        spill: number | null
      }
      for (const { ref } of parseCauses(causes, stream.name)) dropDependent.run(tenant, ref, stream.id, seq)
      for (const id of list === null ? [] : (JSON.parse(list) as number[])) addOrphan.run(id, since)
      if (spill !== null) addOrphan.run(spill, since)
    }
    for (const drop of dropRows) drop.run(stream.id)
    close.run(stream.seq, stream.hash, stream.id)
  }

  return {
    reads: {
      archivedAt(tenant, name) {
        const found = findStream.get(tenant, name) as { archived: number; head: Uint8Array } | undefined
        return found === undefined || found.archived === 0
          ? undefined
          : ({ seq: Math.abs(found.archived), hash: hexOf(found.head) } satisfies Head)
      },
      endedRuns: (tenant, before, after, limit) =>
        (
          findEnded.all({ tenant, before, limit, at: after?.updatedAt ?? -1e300, run: after?.run ?? '' }) as {
            row: string
          }[]
        ).map(({ row }) => JSON.parse(row) as RunRow),
      relatives,
      blobOf(tenant, hash) {
        const found = findBlob.get(tenant, Buffer.from(hash, 'hex')) as
          { type: string; bytes: Uint8Array | null } | undefined
        if (found === undefined) return undefined
        const { type: mediaType, bytes } = found
        return { hash, mediaType, ...(bytes === null ? {} : { bytes }) } satisfies TransferBlob
      },
      messagesOf(tenant, name) {
        const found = findStream.get(tenant, name) as { id: number } | undefined
        return found === undefined ? [] : (findMessages.all(found.id) as unknown as [string, number][])
      },
      orphans: (quietMs) => (findOrphans.all(now() - quietMs) as { blob: number }[]).map(({ blob }) => blob),
      referred: (orphans, after, upTo) =>
        (findReferred.all({ after, upTo, ids: JSON.stringify(orphans) }) as { id: number }[]).map(({ id }) => id),
    },
    drop(tenant, heads, at) {
      const streams = heads.map((head) => checkStream(tenant, head))
      const names = new Set(streams.map(({ name }) => name))
      const going = new Set([...names].filter((name) => name.startsWith('run/')).map(runIdOf))
      for (const run of going) checkRun(tenant, run, going, names)
      const before = (last.get() as { position: number }).position
      const since = now()
      for (const stream of streams) empties(tenant, stream, since)
      for (const run of going) {
        dropApprovals.run(tenant, run)
        projections.setArchived(tenant, run, at)
      }
      if (((last.get() as { position: number | null }).position ?? 0) < before) {
        dropMarks.run()
        addMark.run(before)
      }
      raise.run()
      memory.forget()
      transaction.grow()
      return undefined
    },
    write({ tenant, blobs: given, records, messages }) {
      for (const { hash, mediaType, bytes } of given)
        if (bytes === undefined) blobs.putErased(tenant, hash, mediaType)
        else blobs.put(tenant, [{ hash, mediaType, bytes }])
      const top = (last.get() as { position: number | null }).position ?? 0
      for (const [name, position, record] of records) {
        begin.run(memory.find(tenant, name)?.id ?? -1)
        dropMark.run(position)
        // In a copy of the store the position may be another's.
        const taken =
          position > top || isTaken.get(position, memory.find(tenant, name)?.id ?? -1, record[0]) !== undefined
        appends.restore(tenant, name, taken ? null : position, record)
      }
      for (const [name, id, seq] of messages) {
        const stream = memory.find(tenant, name)
        if (stream?.archived) addMessage.run(stream.id, id, seq)
      }
      return undefined
    },
    end(tenant, names) {
      const streams = names.flatMap((name) => memory.find(tenant, name) ?? [])
      for (const { id, name, seq } of streams) {
        const { n } = countOf.get(id) as { n: number }
        if (n !== seq)
          throw new ConvokeError('LEDGER_CORRUPT', `${n} of ${seq} records of ${name} could be put back`, {
            details: { stream: name, found: n, expected: seq },
            next: 'restore the store from a backup; the archive file is whole',
          })
        reopen.run(id)
      }
      const telling = new Set(withTheirRuns(names))
      const ids = streams.flatMap(({ id, name }) => (telling.has(name) ? [id] : []))
      rebuildApprovals(db, projections, blobs, ids)
      for (const name of names) if (name.startsWith('run/')) projections.setArchived(tenant, runIdOf(name), undefined)
      memory.forget()
      transaction.tell()
      transaction.grow()
      return undefined
    },
    sweep(orphans, needed, scanned) {
      const top = (last.get() as { position: number | null }).position ?? 0
      const ids = JSON.stringify(orphans)
      const since = findReferred.all({ after: scanned, upTo: top, ids }) as { id: number }[]
      const kept = new Set([...needed, ...since.map(({ id }) => id)])
      const swept = { blobs: 0, bytes: 0 }
      for (const id of orphans) {
        // Somebody has stored the same bytes meanwhile.
        if (isOrphan.get(id) === undefined) continue
        dropOrphan.run(id)
        if (kept.has(id)) continue
        swept.blobs += 1
        swept.bytes += (sizeOf.get(id) as { n: number | null } | undefined)?.n ?? 0
        empty.run(id)
      }
      memory.forget()
      return swept
    },
  }
}

function moved(stream: string, seq: number): ConvokeError {
  return new ConvokeError('POSITION_STALE', `${stream} ends at ${seq}, not where it is said to`, {
    details: { stream, found: seq },
    next: 'read it again, and archive it as it stands',
  })
}
