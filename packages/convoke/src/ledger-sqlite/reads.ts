import type { DatabaseSync } from 'node:sqlite'
import { runArchived } from '../core/archive.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import { emptyHash, emptyHead, headerText, type Cause, type Head } from '../core/record.ts'
import type { Blobs } from './blobs.ts'
import type { Page } from './protocol.ts'
import { hexOf } from './streams.ts'
import { parseCauses, parseShape, type Shape } from './wire.ts'

// Reads records and proves them: position, chain, header hash, payload commitment. The stored payload is canonical, so
// its text is hashed as it stands. A page leaves the thread as one JSON text, which is the cheapest thing to send.

export interface Reads {
  /** @throws LEDGER_CORRUPT, RECORD_UNSUPPORTED */
  read(tenant: string, stream: string, from: number, limit: number, outline: boolean): Page
  since(tenant: string, after: number, limit: number): Page & { readonly next: number }
  position(): number
  head(tenant: string, stream: string): Head
  heads(tenant: string, after: string, limit: number): (Head & { readonly stream: string })[]
  dependents(tenant: string, ref: string): string[]
}

/** In the order of `columns`. */
type Row = readonly [
  position: number,
  seq: number,
  epoch: number,
  at: number,
  shape: number,
  /** Hash, commitment and salt one after the other, hexadecimal: handing out blobs costs more than all the rest. */
  sums: unknown,
  path: string | null,
  fold: string | null,
  causes: string | null,
  blobs: string | null,
  spill: number | null,
  payload: unknown,
  stream: number,
]
const columns = `r.position, r.seq, r.epoch, r.at, r.shape, lower(hex(r.hash || r.commitment || r.salt)), r.path, r.fold,
  r.causes, r.blobs, r.spill, r.payload, r.stream`

interface StreamRow {
  readonly id: number
  /** Where it ended, when it is archived; negative while it is being restored. */
  readonly archived: number
  readonly head: Uint8Array | null
}

const pageBytes = 4 << 20
const emptyPage: Page = { text: '[]', count: 0, shapes: [] }

export function createReads(db: DatabaseSync, blobs: Blobs): Reads {
  const findStream = db.prepare('SELECT id, archived, head FROM streams WHERE tenant = ? AND name = ?')
  const streamOf = db.prepare('SELECT tenant, name FROM streams WHERE id = ?')
  const all = db.prepare(`SELECT ${columns} FROM records r WHERE r.stream = ? AND r.seq >= ? ORDER BY r.seq LIMIT ?`)
  const outer = db.prepare(
    `SELECT ${columns} FROM records r WHERE r.stream = ? AND r.seq >= ? AND (r.fold IS NULL OR NOT EXISTS
       (SELECT 1 FROM folds f WHERE f.stream = r.stream AND f.path = r.fold)) ORDER BY r.seq LIMIT ?`,
  )
  const after = db.prepare(`SELECT ${columns} FROM records r WHERE r.position > ? ORDER BY r.position LIMIT ?`)
  for (const statement of [all, outer, after]) statement.setReturnArrays(true)
  const findHash = db.prepare('SELECT hash FROM records WHERE stream = ? AND seq = ?')
  const findShape = db.prepare('SELECT text FROM shapes WHERE id = ?')
  const last = db.prepare('SELECT max(position) AS position FROM records')
  const findHead = db.prepare('SELECT seq, hash FROM records WHERE stream = ? ORDER BY seq DESC LIMIT 1')
  // An archived stream tells where it ended itself.
  const findHeads = db.prepare(
    `SELECT s.name AS stream, iif(s.archived <> 0, abs(s.archived), r.seq) AS seq, iif(s.archived <> 0, s.head, r.hash) AS hash
     FROM streams s LEFT JOIN records r ON r.stream = s.id AND r.seq = (SELECT max(seq) FROM records WHERE stream = s.id)
     WHERE s.tenant = ? AND s.name > ? AND (s.archived <> 0 OR r.seq IS NOT NULL) ORDER BY s.name LIMIT ?`,
  )
  const findDependents = db.prepare(
    `SELECT s.name, d.seq FROM dependents d JOIN streams s ON s.id = d.stream WHERE d.tenant = ? AND d.ref = ?
     ORDER BY s.name, d.seq`,
  )
  const shapes = new Map<number, { readonly text: string; readonly shape: Shape }>()

  function shapeOf(id: number): { readonly text: string; readonly shape: Shape } {
    const known = shapes.get(id)
    if (known !== undefined) return known
    const text = (findShape.get(id) as { text: string } | undefined)?.text ?? ''
    const found = { text, shape: parseShape(text) }
    shapes.set(id, found)
    return found
  }

  function prevHash(stream: number, seq: number): string {
    if (seq === 1) return emptyHash
    return hexOf((findHash.get(stream, seq - 1) as { hash: Uint8Array } | undefined)?.hash)
  }

  /** The row as JSON, proved. */
  function prove(row: Row, prev: string, place: { tenant: string; name: string }, named: boolean): Proved {
    const { tenant, name } = place
    const [position, seq, epoch, at, shapeId] = row
    const fault = (why: string): ConvokeError =>
      new ConvokeError('LEDGER_CORRUPT', `${name}@${seq}: ${why}`, {
        details: { tenant, stream: name, seq, fault: why },
        next: 'compare with `convoke audit verify`, then restore the store from a backup',
      })
    let shape: Shape
    let causes: readonly Cause[]
    let list: string[] | undefined
    try {
      shape = shapeOf(shapeId).shape
      causes = parseCauses(row[8], name)
      list = row[9] === null ? undefined : (JSON.parse(row[9]) as number[]).map((id) => blobs.hash(id))
    } catch {
      throw fault('the record cannot be decoded')
    }
    if ((shape.v as number) !== 1)
      throw new ConvokeError('RECORD_UNSUPPORTED', `${name}@${seq} has version ${shape.v}, known is 1`, {
        details: { tenant, stream: name, seq, version: shape.v },
        next: 'update Convoke',
      })
    const sums = String(row[5])
    const hash = sums.slice(0, 64)
    const commitment = sums.slice(64, 128)
    const salt = sums.slice(128)
    const path = row[6]
    const fold = row[7]
    const spill = row[10] === null ? undefined : blobs.hash(row[10])
    const header = headerText({
      ...shape,
      tenant,
      stream: name,
      seq,
      epoch,
      at,
      ...(path === null ? undefined : { path }),
      ...(fold === null ? undefined : { fold }),
      causes,
      ...(list === undefined ? undefined : { blobs: list }),
      ...(spill === undefined ? undefined : { spill }),
      commitment,
      prevHash: prev,
    })
    if (sha256(header) !== hash) throw fault('the header does not match the hash')
    const payload = salt === '' ? 'null' : row[11]
    if (typeof payload !== 'string') throw fault('the payload is not text')
    // A spilled payload is proved by its blob's own hash, which the header covers.
    if (salt !== '' && spill === undefined && sha256(salt + payload) !== commitment)
      throw fault('the payload does not match its commitment')
    const text =
      `[${named ? JSON.stringify(name) : 0},${seq},${epoch},${at},${shapeId},${quote(path)},${quote(fold)},` +
      `${causes.length === 0 ? '[]' : JSON.stringify(causes)},${list === undefined ? 0 : JSON.stringify(list)},` +
      `${spill === undefined ? 0 : `"${spill}"`},"${salt}","${commitment}","${prev}","${hash}",${payload},${position}]`
    return { text, hash }
  }

  function shapesOf(used: ReadonlySet<number>): (readonly [number, string])[] {
    return [...used].map((id) => [id, shapeOf(id).text])
  }

  return {
    read(tenant, name, from, limit, outline) {
      const stream = findStream.get(tenant, name) as StreamRow | undefined
      if (stream === undefined) return emptyPage
      if (stream.archived !== 0) throw runArchived(name)
      const place = { tenant, name }
      const texts: string[] = []
      const used = new Set<number>()
      let bytes = 0
      let next = Math.max(1, from)
      let hash: string | undefined
      let more = false
      for (const row of (outline ? outer : all).all(stream.id, next, limit) as unknown as readonly Row[]) {
        if (bytes > pageBytes) {
          more = true
          break
        }
        const seq = row[1]
        if (!outline && seq !== next)
          throw new ConvokeError('LEDGER_CORRUPT', `${name}@${next} is missing`, {
            details: { tenant, stream: name, seq: next, fault: `seq ${seq} follows ${next - 1}` },
            next: 'compare with `convoke audit verify`, then restore the store from a backup',
          })
        const prev = hash !== undefined && seq === next ? hash : prevHash(stream.id, seq)
        const proved = prove(row, prev, place, false)
        texts.push(proved.text)
        bytes += proved.text.length
        used.add(row[4])
        hash = proved.hash
        next = seq + 1
      }
      return {
        text: `[${texts.join(',')}]`,
        count: texts.length,
        shapes: shapesOf(used),
        ...(more || texts.length === limit ? { next } : {}),
      }
    },
    since(tenant, position, limit) {
      const texts: string[] = []
      const used = new Set<number>()
      const places = new Map<number, { tenant: string; name: string }>()
      let next = position
      for (const row of after.all(position, limit) as unknown as readonly Row[]) {
        next = row[0]
        let place = places.get(row[12])
        if (place === undefined) {
          place = streamOf.get(row[12]) as { tenant: string; name: string } | undefined
          // No stream: it holds a position whose record was archived (archive.ts).
          places.set(row[12], (place ??= { tenant: '', name: '' }))
        }
        if (place.tenant !== tenant) continue
        texts.push(prove(row, prevHash(row[12], row[1]), place, true).text)
        used.add(row[4])
      }
      return { text: `[${texts.join(',')}]`, count: texts.length, shapes: shapesOf(used), next }
    },
    position: () => (last.get() as { position: number | null }).position ?? 0,
    head(tenant, name) {
      const stream = findStream.get(tenant, name) as StreamRow | undefined
      if (stream === undefined) return emptyHead
      if (stream.archived !== 0) return { seq: Math.abs(stream.archived), hash: hexOf(stream.head) }
      const row = findHead.get(stream.id) as { seq: number; hash: Uint8Array } | undefined
      return row === undefined ? emptyHead : { seq: row.seq, hash: hexOf(row.hash) }
    },
    heads(tenant, name, limit) {
      const rows = findHeads.all(tenant, name, limit) as { stream: string; seq: number; hash: Uint8Array }[]
      return rows.map((row) => ({ stream: row.stream, seq: row.seq, hash: hexOf(row.hash) }))
    },
    dependents(tenant, ref) {
      return (findDependents.all(tenant, ref) as { name: string; seq: number }[]).map((row) => `${row.name}@${row.seq}`)
    },
  }
}

interface Proved {
  readonly text: string
  readonly hash: string
}

function quote(text: string | null): string {
  return text === null ? '0' : JSON.stringify(text)
}
