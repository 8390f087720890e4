import type { DatabaseSync } from 'node:sqlite'
import type { Json } from '../core/json.ts'
import { projectionVersion } from '../core/projections.ts'
import type { LedgerRecord } from '../core/record.ts'
import type { Blobs } from './blobs.ts'
import { isProjected, type Projections } from './projections.ts'
import { newer } from './schema.ts'
import { parseShape } from './wire.ts'

/**
 * Runs the projections over all records again when those in the store are of an older version, or `anyway`.
 * @throws STORE_NEWER when they are of a newer one
 */
export function rebuildWhenOld(
  db: DatabaseSync,
  dir: string,
  projections: Projections,
  blobs: Blobs,
  anyway = false,
): void {
  const find = db.prepare(`SELECT value FROM meta WHERE key = 'projections'`)
  const stored = (): number => (find.get() as { value: number } | undefined)?.value ?? 0
  if (stored() === projectionVersion && !anyway) return
  db.exec('PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE')
  try {
    if (stored() > projectionVersion) throw newer(dir, stored())
    if (stored() < projectionVersion || anyway) rebuild(db, projections, blobs)
    db.prepare(
      `INSERT INTO meta(key, value) VALUES ('projections', ?) ON CONFLICT DO UPDATE SET value = excluded.value`,
    ).run(projectionVersion)
    db.exec('COMMIT')
  } catch (error) {
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  } finally {
    db.exec('PRAGMA busy_timeout = 0')
  }
}

interface Row {
  readonly tenant: string
  readonly name: string
  readonly stream: number
  readonly seq: number
  readonly at: number
  readonly path: string | null
  readonly text: string
  readonly payload: string
  readonly spill: number | null
  /** Bytes of the salt; 0 for an erased payload. */
  readonly salt: number
}

function rebuild(db: DatabaseSync, projections: Projections, blobs: Blobs): void {
  projections.clear()
  const rows = db.prepare(
    `${projected} WHERE t.archived = 0 AND (t.name LIKE 'inbox/%' OR s.text LIKE '[1,"run.%' OR s.text LIKE '[1,"approval.%')
     ORDER BY r.position`,
  )
  for (const row of rows.iterate() as unknown as Iterable<Row>) {
    const record = recordOf(row, blobs)
    if (record !== undefined) projections.apply(record, row.stream)
  }
}

/** The approvals of streams whose records have come back, in commit order. */
export function rebuildApprovals(
  db: DatabaseSync,
  projections: Projections,
  blobs: Blobs,
  streams: readonly number[],
): void {
  const rows = db.prepare(
    `${projected} WHERE r.stream IN (SELECT value FROM json_each(?)) AND (t.name LIKE 'inbox/%' OR s.text LIKE '[1,"approval.%') ORDER BY r.position`,
  )
  for (const row of rows.all(JSON.stringify(streams)) as unknown as readonly Row[]) {
    const record = recordOf(row, blobs)
    if (record !== undefined) projections.applyApprovals(record)
  }
}

const projected = `SELECT t.tenant, t.name, r.stream, r.seq, r.at, r.path, s.text, r.payload, r.spill, length(r.salt) AS salt
  FROM records r JOIN shapes s ON s.id = r.shape JOIN streams t ON t.id = r.stream`

/** Undefined for one that says nothing, or that was erased. */
function recordOf(row: Row, blobs: Blobs): LedgerRecord | undefined {
  const shape = parseShape(row.text)
  if (row.salt === 0 || !isProjected(row.name, shape.type)) return undefined
  let body: string | undefined = row.payload
  if (row.spill !== null) {
    const bytes = blobs.get(row.tenant, blobs.hash(row.spill))
    body = bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8')
  }
  if (body === undefined) return undefined
  const record = {
    ...shape,
    tenant: row.tenant,
    stream: row.name,
    seq: row.seq,
    at: row.at,
    ...(row.path === null ? undefined : { path: row.path }),
    payload: JSON.parse(body) as Json,
  }
  return record as unknown as LedgerRecord
}
