import type { DatabaseSync } from 'node:sqlite'
import type { Json } from '../core/json.ts'
import { projectionVersion } from '../core/projections.ts'
import type { LedgerRecord } from '../core/record.ts'
import type { Blobs } from './blobs.ts'
import { isProjected, type Projections } from './projections.ts'
import { newer } from './schema.ts'
import { parseShape } from './wire.ts'

/**
 * Runs the projections over all records again when those in the store are of an older version.
 * @throws STORE_NEWER when they are of a newer one
 */
export function rebuildWhenOld(db: DatabaseSync, dir: string, projections: Projections, blobs: Blobs): void {
  const find = db.prepare(`SELECT value FROM meta WHERE key = 'projections'`)
  const stored = (): number => (find.get() as { value: number } | undefined)?.value ?? 0
  if (stored() === projectionVersion) return
  db.exec('PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE')
  try {
    if (stored() > projectionVersion) throw newer(dir, stored())
    if (stored() < projectionVersion) rebuild(db, projections, blobs)
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
}

function rebuild(db: DatabaseSync, projections: Projections, blobs: Blobs): void {
  projections.clear()
  const rows = db.prepare(
    `SELECT t.tenant, t.name, r.stream, r.seq, r.at, r.path, s.text, r.payload, r.spill
     FROM records r JOIN shapes s ON s.id = r.shape JOIN streams t ON t.id = r.stream
     WHERE t.name LIKE 'inbox/%' OR s.text LIKE '[1,"run.%' OR s.text LIKE '[1,"approval.%' ORDER BY r.position`,
  )
  for (const row of rows.iterate() as unknown as Iterable<Row>) {
    const shape = parseShape(row.text)
    if (!isProjected(row.name, shape.type)) continue
    const body =
      row.spill === null
        ? row.payload
        : Buffer.from(blobs.get(row.tenant, blobs.hash(row.spill)) ?? 'null').toString('utf8')
    const record = {
      ...shape,
      tenant: row.tenant,
      stream: row.name,
      seq: row.seq,
      at: row.at,
      ...(row.path === null ? undefined : { path: row.path }),
      payload: JSON.parse(body) as Json,
    }
    projections.apply(record as unknown as LedgerRecord, row.stream)
  }
}
