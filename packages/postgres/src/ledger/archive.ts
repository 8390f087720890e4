import { setTimeout as sleep } from 'node:timers/promises'
import {
  archiveItems,
  ConvokeError,
  emptyHash,
  isConvokeError,
  restoreItems,
  runArchived,
  runIdOf,
  runNeeded,
  withTheirRuns,
  type Archive,
  type ArchiveBatch,
  type RunRow,
} from 'convoke/adapter'
import type { Appends } from './appends.ts'
import { changedRuns } from './changed.ts'
import type { Database, Row } from './database.ts'
import { checkTenant, placeOf, prepareCopy } from './prepare.ts'
import { hexOf, ownStream, recordColumns, type Reads } from './reads.ts'
import type { Shapes } from './shapes.ts'
import { archivable, changedAt } from './tables-archive.ts'
import { fromJsonb, fromText, plainArray, textArray, toText } from './text.ts'

// Ended runs out of the database and back; what happens in one transaction is a function (function-archive.ts).
//
// Content is removed in three steps, so that nobody is kept waiting while records are looked through. What was nominated
// long enough ago is looked for in all records up to the last position that was given out while nobody could refer to a
// blob; then, while again nobody can, in those that came since; and only what none of them has is removed.

const [stallMs, longMs] = [60_000, 600_000]
/** Positions that are looked through in one query. */
const stride = 200_000
/** Blobs that are removed while nobody may refer to any. */
const portion = 2_000
const lockTries = 5

export function createArchive(parts: {
  readonly database: Database
  readonly schema: string
  readonly reads: Reads
  readonly shapes: Shapes
  readonly putBlobs: Appends['putBlobs']
  readonly tell: () => void
}): Archive {
  const { database, schema, reads, shapes, putBlobs, tell } = parts
  const query = (text: string, values: readonly unknown[] = [], more: object = {}): Promise<readonly Row[]> =>
    database.query({ text: text.replaceAll('$S', schema), values, stallMs, ...more })
  const rowsOf = (found: readonly Row[]): RunRow[] => found.map(([doc]) => fromJsonb(doc as string) as RunRow)
  const related = (member: string): string =>
    `SELECT doc, run FROM $S.runs WHERE tenant = $1 AND doc->>'${member}' IS NOT NULL AND doc->>'${member}' = $2`

  async function write(tenant: string, { blobs, records, messages }: ArchiveBatch): Promise<void> {
    await putBlobs(
      tenant,
      blobs.flatMap((blob) => (blob.bytes === undefined ? [] : [{ ...blob, bytes: blob.bytes }])),
    )
    const erased = blobs.filter(({ bytes }) => bytes === undefined)
    if (erased.length > 0)
      await query(
        `INSERT INTO $S.blobs(tenant, hash, type) SELECT $1::text, decode(h, 'hex'), t FROM unnest($2::text[], $3::text[]) AS u(h, t)
         ON CONFLICT DO NOTHING`,
        [
          toText(tenant),
          plainArray(erased.map(({ hash }) => hash)),
          textArray(erased.map(({ mediaType }) => toText(mediaType))),
        ],
      )
    if (records.length + messages.length === 0) return
    const list = records.map(({ record }) => record)
    const prepared = await prepareCopy(list, blobs, (hash) => reads.getBlob(tenant, hash))
    const shapeId = await shapes.ensure(prepared.map(({ shape }) => shape))
    const names = [...new Set([...list.map(({ stream }) => stream), ...messages.map(([stream]) => stream)])]
    const place = new Map(names.map((name, i) => [name, i + 1]))
    const placeFor = (stream: string): number => place.get(stream) as number
    const foreign = prepared.flatMap(({ record, foreign: refs }) => refs.map((ref) => ({ record, ref })))
    const folds = prepared.flatMap(({ record, fold }) =>
      fold && record.path !== undefined ? [{ stream: record.stream, path: record.path }] : [],
    )
    const optional = (text: string | undefined): string | null => (text === undefined ? null : toText(text))
    const [row] = await query(`SELECT $S.restore_1(${Array.from({ length: 23 }, (_, i) => `$${i + 1}`).join(',')})`, [
      toText(tenant),
      textArray(names.map(toText)),
      plainArray(list.map(({ stream }) => placeFor(stream))),
      plainArray(records.map(({ position }) => position)),
      plainArray(list.map(({ seq }) => seq)),
      plainArray(list.map(({ epoch }) => epoch)),
      plainArray(list.map(({ at }) => at)),
      plainArray(prepared.map(({ shape }) => shapeId(shape))),
      plainArray(list.map(({ hash, commitment, salt }) => hash + commitment + salt)),
      textArray(list.map(({ path }) => optional(path))),
      textArray(list.map(({ fold }) => optional(fold))),
      textArray(prepared.map(({ causes }) => causes)),
      textArray(list.map((r) => (r.blobs === undefined || r.blobs.length === 0 ? null : r.blobs.join(' ')))),
      textArray(list.map(({ spill }) => spill ?? null)),
      textArray(prepared.map(({ body }) => body)),
      plainArray(foreign.map(({ record }) => placeFor(record.stream))),
      plainArray(foreign.map(({ record }) => record.seq)),
      textArray(foreign.map(({ ref }) => toText(ref))),
      plainArray(folds.map(({ stream }) => placeFor(stream))),
      textArray(folds.map(({ path }) => toText(path))),
      plainArray(messages.map(([stream]) => placeFor(stream))),
      textArray(messages.map(([, id]) => toText(id))),
      plainArray(messages.map(([, , seq]) => seq)),
    ])
    const wrong = row?.[0] ?? undefined
    if (wrong === undefined) return
    const [what, name] = JSON.parse(wrong) as readonly [string, string]
    throw new ConvokeError('ARCHIVE_INVALID', `the archive does not fit: ${what} ${fromText(name)}`, {
      details: { what, name: fromText(name) },
      next: 'somebody else may have restored it: look at the run with convoke show',
    })
  }

  async function end(tenant: string, names: readonly string[]): Promise<void> {
    const changes = await changedRuns({ query, schema, reads }, tenant, withTheirRuns(names), {
      archived: true,
      kind: 'approval',
    })
    const [row] = await query(
      'SELECT $S.reopen_1($1, $2, $3)',
      [toText(tenant), textArray(names.map(toText)), JSON.stringify(changes)],
      { stallMs: longMs },
    )
    const wrong = row?.[0] ?? undefined
    if (wrong !== undefined) {
      const [name, found, expected] = JSON.parse(wrong) as readonly [string, number, number]
      throw new ConvokeError(
        'LEDGER_CORRUPT',
        `${found} of ${expected} records of ${fromText(name)} could be put back`,
        {
          details: { stream: fromText(name), found, expected },
          next: 'restore the database from a backup; the archive file is whole',
        },
      )
    }
    tell()
  }

  /** Runs while no transaction refers to a blob, or is about to. */
  async function alone<T>(
    act: (query: (text: string, values?: readonly unknown[]) => Promise<readonly Row[]>) => Promise<T>,
  ): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await database.use(async (plain) => {
          const inside = (text: string, values: readonly unknown[] = []): Promise<readonly Row[]> =>
            plain(text.replaceAll('$S', schema), values)
          await inside('BEGIN')
          // Whoever appends waits behind us: better give up than wait for somebody's long transaction.
          await inside(`SET LOCAL lock_timeout = '500ms'`)
          await inside('LOCK TABLE $S.blobs IN ACCESS EXCLUSIVE MODE')
          const value = await act(inside)
          await inside('COMMIT')
          return value
        })
      } catch (error) {
        if (!isConvokeError(error, 'LEDGER_BUSY') || tries === lockTries) throw error
        await sleep(200 * tries)
      }
    }
  }

  async function referred(ids: readonly string[], after: number, upTo: number): Promise<string[]> {
    const rows = await query(
      `SELECT DISTINCT b FROM $S.records r, unnest(r.blobs || r.spill) AS b
       WHERE r.position > $1 AND r.position <= $2 AND (r.blobs IS NOT NULL OR r.spill IS NOT NULL) AND b = ANY ($3::bigint[])`,
      [after, upTo, plainArray(ids)],
    )
    return rows.map(([id]) => id as string)
  }

  return {
    ended: async ({ tenant, before, after, limit = 100 }) =>
      rowsOf(
        await query(
          `SELECT doc FROM $S.runs WHERE tenant = $1 AND ${archivable} AND ${changedAt} < $2
             AND (${changedAt}, run) > ($3, $4) ORDER BY ${changedAt}, run LIMIT $5`,
          [toText(checkTenant(tenant)), before, after?.updatedAt ?? -1e300, toText(after?.run ?? ''), limit],
        ),
      ),
    relatives: async (ref) =>
      rowsOf(
        await query(`SELECT doc FROM (${related('parent')} UNION ${related('forkOf')}) AS found ORDER BY run`, [
          toText(checkTenant(ref.tenant)),
          toText(runIdOf(ref.stream)),
        ]),
      ),
    export: (tenant, streams) =>
      archiveItems(
        {
          async records(stream, from, limit) {
            const ref = { tenant, stream }
            const rows = await query(
              `SELECT ${recordColumns(schema)},
                 (SELECT p.sums FROM $S.records p WHERE p.stream = r.stream AND p.seq = r.seq - 1)
               FROM $S.records r WHERE r.stream = ${ownStream(schema)} AND r.seq >= $3 ORDER BY r.seq LIMIT $4`,
              [...placeOf(ref), from, limit],
            )
            const found = await reads.decode(
              rows,
              () => ref,
              (row) => (row[1] === '1' ? emptyHash : hexOf(row[13]).slice(0, 64)),
            )
            return found.map((record, at) => ({ position: Number(rows[at]?.[0]), record }))
          },
          async blob(hash) {
            const [row] = await query(
              `SELECT type, bytes FROM $S.blobs WHERE tenant = $1 AND hash = decode($2, 'hex')`,
              [toText(tenant), hash],
            )
            if (row === undefined) return undefined
            const bytes = row[1] ?? undefined
            return {
              hash,
              mediaType: fromText(row[0] as string),
              ...(bytes === undefined ? {} : { bytes: Buffer.from(hexOf(bytes), 'hex') }),
            }
          },
          async messages(stream) {
            const rows = await query(
              `SELECT m.id, m.seq FROM $S.streams s JOIN $S.messages m ON m.stream = s.id
               WHERE s.tenant = $1 AND s.name = $2 ORDER BY m.seq`,
              placeOf({ tenant, stream }),
            )
            return rows.map(([id, seq]) => [fromText(id as string), Number(seq)] as const)
          },
        },
        streams,
      ),
    async drop(tenant, streams, at) {
      const [row] = await query(
        'SELECT $S.drop_1($1, $2, $3, $4, $5)',
        [
          toText(checkTenant(tenant)),
          textArray(streams.map(({ stream }) => toText(stream))),
          plainArray(streams.map(({ seq }) => seq)),
          plainArray(streams.map(({ hash }) => hash)),
          at,
        ],
        // Whether it was done, the store tells: the run's row says that it is archived.
        { stallMs: longMs, repeat: false },
      )
      const wrong = row?.[0] ?? undefined
      if (wrong !== undefined) throw refused(JSON.parse(wrong) as readonly [string, string, ...unknown[]])
      tell()
    },
    restore: async (tenant, streams, items) =>
      await restoreItems(items, checkTenant(tenant), streams, {
        async archivedAt(stream) {
          const [row] = await query(
            'SELECT archived, hash FROM $S.streams WHERE tenant = $1 AND name = $2 AND archived <> 0',
            placeOf({ tenant, stream }),
          )
          return row === undefined ? undefined : { seq: Number(row[0]), hash: hexOf(row[1]) }
        },
        write: (batch) => write(tenant, batch),
        end: (names) => end(tenant, names),
      }),
    async sweep(quietMs) {
      const swept = { blobs: 0, bytes: 0 }
      const old = await query(
        `SELECT blob FROM $S.orphans WHERE since <= clock_timestamp() - $1 * interval '1 ms' ORDER BY blob LIMIT 100000`,
        [quietMs],
      )
      const ids = old.map(([id]) => id as string)
      if (ids.length === 0) return swept
      const last = async (ask: typeof query): Promise<number> =>
        Number((await ask('SELECT last_value FROM $S.positions'))[0]?.[0] ?? 0)
      const end = await alone(last)
      const needed = new Set<string>()
      for (let at = 0; at < end && needed.size < ids.length; at += stride)
        for (const id of await referred(ids, at, Math.min(end, at + stride))) needed.add(id)
      for (let at = 0; at < ids.length; at += portion) {
        const some = ids.slice(at, at + portion)
        const free = some.filter((id) => !needed.has(id))
        const [row] = await alone(
          async (ask) =>
            await ask(
              `WITH since AS (
                 SELECT DISTINCT b FROM $S.records r, unnest(r.blobs || r.spill) AS b
                   WHERE r.position > $1 AND (r.blobs IS NOT NULL OR r.spill IS NOT NULL) AND b = ANY ($2::bigint[])),
               looked AS (DELETE FROM $S.orphans WHERE blob = ANY ($3::bigint[]) RETURNING blob),
               gone AS (DELETE FROM $S.blobs k USING looked l WHERE k.id = l.blob AND k.id = ANY ($2::bigint[])
                 AND NOT EXISTS (SELECT FROM since WHERE b = k.id) RETURNING length(k.bytes) AS n)
               SELECT count(*), coalesce(sum(n), 0) FROM gone`,
              [end, plainArray(free), plainArray(some)],
            ),
        )
        swept.blobs += Number(row?.[0] ?? 0)
        swept.bytes += Number(row?.[1] ?? 0)
      }
      return swept
    },
  }
}

function refused([code, name, fact]: readonly [string, string, ...unknown[]]): ConvokeError {
  const stream = fromText(name)
  if (code === 'RUN_ARCHIVED') return runArchived(stream)
  if (code === 'RUN_NEEDED') return runNeeded(stream, fromText(String(fact)))
  if (code === 'RUN_UNKNOWN')
    return new ConvokeError('RUN_UNKNOWN', `${stream} has no records`, { details: { stream }, next: 'convoke runs' })
  return new ConvokeError('POSITION_STALE', `${stream} ends at ${String(fact)}, not where it is said to`, {
    details: { stream, found: Number(fact) },
    next: 'read it again, and archive it as it stands',
  })
}
