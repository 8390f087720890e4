import type { DatabaseSync } from 'node:sqlite'
import { canonicalize, quote } from '../core/canonical.ts'
import { runArchived } from '../core/archive.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import { emptyHash, emptyHead, type Head } from '../core/record.ts'
import type { Blobs } from './blobs.ts'
import { corrupt, missing, unsupported } from './errors.ts'
import { areCauses, orNothing, Texts } from './page-texts.ts'
import type { Page } from './protocol.ts'
import { hexOf } from './streams.ts'
import { causesAsHashed, parseShape } from './wire.ts'

// Reads records and proves them: position, chain, header hash, payload commitment. The stored payload is canonical, so
// its text is hashed as it stands. A page leaves the thread as JSON texts, which are the cheapest thing to send.
//
// A reader may also take records ahead of their proof. Headers are proved by whoever puts them together, on another core
// (index.ts). What was given of payloads is kept here as it was read until it is proved, so that what is proved is what
// was given.

export interface Reads {
  /** @throws LEDGER_CORRUPT, RECORD_UNSUPPORTED */
  read(tenant: string, stream: string, from: number, limit: number, outline: boolean): Page
  /**
   * Pages of one reading, which `reader` names: the payloads of its records are to be proved, the headers by the reader;
   * unless the page says that it is `proved`.
   * @throws LEDGER_CORRUPT, RECORD_UNSUPPORTED
   */
  readAhead(reader: number, tenant: string, stream: string, from: number, limit: number, outline: boolean): Page
  /** Proves some of the payloads that `reader` was given, in order; how many records are left. @throws LEDGER_CORRUPT */
  prove(reader: number): number
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
/** Characters of records that wait for their proof, of all readers; beyond that they are proved before they are given. */
const aheadChars = 64 << 20
/** Proved in one go: others want the thread too. */
const proofs = 250
/** So few are proved before they are given: asking for the proof would take longer. */
const fewRecords = 50
const emptyPage: Page = { texts: [], count: 0, shapes: [] }

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
  const texts = new Map<number, string>()
  const shapes = new Map<number, ShapeTexts>()
  const ahead = new Map<number, Unproved[]>()
  let waiting = 0

  function shapeTextOf(id: number): string {
    let text = texts.get(id)
    if (text === undefined) texts.set(id, (text = (findShape.get(id) as { text: string } | undefined)?.text ?? ''))
    return text
  }

  function shapeOf(id: number): ShapeTexts {
    const known = shapes.get(id)
    if (known !== undefined) return known
    const { v, type, critical, actor, labels } = parseShape(shapeTextOf(id))
    const found = { v, type: quote(type), critical, actor: canonicalize(actor), labels: canonicalize(labels) }
    shapes.set(id, found)
    return found
  }

  function prevHash(stream: number, seq: number): string {
    if (seq === 1) return emptyHash
    return hexOf((findHash.get(stream, seq - 1) as { hash: Uint8Array } | undefined)?.hash)
  }

  /** The hashes that a row's list of blobs stands for. */
  function hashesOf(list: string): string {
    return JSON.stringify((JSON.parse(list) as number[]).map((id) => blobs.hash(id)))
  }

  /** @throws LEDGER_CORRUPT, RECORD_UNSUPPORTED */
  function prove(place: Place, row: Row, prev: string): void {
    const [, seq, epoch, at, shapeId, , path, fold, causes, list, spill] = row
    const sums = String(row[5])
    let header: string
    try {
      const shape = shapeOf(shapeId)
      if (shape.v !== 1) throw unsupported(place, seq, shape.v)
      header =
        `{"actor":${shape.actor},"at":${at},${list === null ? '' : `"blobs":${hashesOf(list)},`}` +
        `"causes":${causes === null ? '[]' : causesAsHashed(causes, place.name)},` +
        `"commitment":"${sums.slice(64, 128)}","critical":${shape.critical},"epoch":${epoch},` +
        `${fold === null ? '' : `"fold":${quote(fold)},`}"labels":${shape.labels},` +
        `${path === null ? '' : `"path":${quote(path)},`}"prevHash":"${prev}","seq":${seq},` +
        `${spill === null ? '' : `"spill":"${blobs.hash(spill)}",`}"stream":${quote(place.name)},` +
        `"tenant":${quote(place.tenant)},"type":${shape.type},"v":1}`
    } catch (error) {
      if (error instanceof ConvokeError) throw error
      throw corrupt(place, seq, 'the record cannot be decoded')
    }
    if (sha256(header) !== sums.slice(0, 64)) throw corrupt(place, seq, 'the header does not match the hash')
    provePayload(place, row)
  }

  /** @throws LEDGER_CORRUPT */
  function provePayload(place: Place, row: Row): void {
    const sums = String(row[5])
    if (isErased(sums)) return
    const payload = row[11]
    if (typeof payload !== 'string') throw corrupt(place, row[1], 'the payload is not text')
    // A spilled payload is proved by its blob's own hash, which the header covers.
    if (row[10] === null && sha256(sums.slice(128) + payload) !== sums.slice(64, 128))
      throw corrupt(place, row[1], 'the payload does not match its commitment')
  }

  /**
   * The row as JSON (wire.ts reads it), without a look at what is in it; with the stream's name where a page has several.
   * @throws LEDGER_CORRUPT for what has no place in JSON; whatever else is wrong with it, its proof says
   */
  function textOf(row: Row, prev: string | undefined, place: Place, name?: string): string {
    const [position, seq, epoch, at, shape, sums, path, fold, causes, list, spill] = row
    const payload = isErased(sums) ? 'null' : row[11]
    if (typeof payload !== 'string') throw corrupt(place, seq, 'the payload is not text')
    let hashes: string
    try {
      hashes = list === null ? '0' : hashesOf(list)
      // What stands in the text unquoted is what it has to be: else it could pass for other members, or other records.
      if (![position, seq, epoch, at, shape].every(Number.isFinite) || !areCauses(causes)) throw new Error()
    } catch {
      throw corrupt(place, seq, 'the record cannot be decoded')
    }
    return (
      `[${name === undefined ? 0 : quote(name)},${seq},${epoch},${at},${shape},${orNothing(path)},${orNothing(fold)},` +
      `${causes ?? 0},${hashes},${spill === null ? 0 : `"${blobs.hash(spill)}"`},"${String(sums)}",` +
      `${prev === undefined ? 0 : `"${prev}"`},${payload},${position}]`
    )
  }

  /** Whether the proof of a row may wait. */
  type Later = (row: Row, prev: string, place: Place) => boolean

  function pageOf(place: Place, from: number, limit: number, outline: boolean, later: Later): Page {
    const { tenant, name } = place
    const stream = findStream.get(tenant, name) as StreamRow | undefined
    if (stream === undefined) return emptyPage
    if (stream.archived !== 0) throw runArchived(name)
    const rows = new Texts()
    const used = new Set<number>()
    let next = Math.max(1, from)
    let hash: string | undefined
    let more = false
    for (const row of (outline ? outer : all).all(stream.id, next, limit) as unknown as readonly Row[]) {
      if (rows.chars > pageBytes) {
        more = true
        break
      }
      const seq = row[1]
      if (!outline && seq !== next) throw missing(place, next, seq)
      const prev = hash !== undefined && seq === next ? hash : prevHash(stream.id, seq)
      if (!later(row, prev, place)) prove(place, row, prev)
      rows.add(textOf(row, prev === hash ? undefined : prev, place))
      used.add(row[4])
      hash = hashOf(row)
      next = seq + 1
    }
    return {
      texts: rows.end(),
      count: rows.count,
      shapes: shapesOf(used),
      ...(more || rows.count === limit ? { next } : {}),
    }
  }

  function proveSome(reader: number, whole: boolean): number {
    const unproved = ahead.get(reader) ?? []
    const now = unproved.splice(0, proofs)
    try {
      for (const { row, prev, place } of now)
        if (whole) prove(place, row, prev)
        else provePayload(place, row)
    } catch (error) {
      now.push(...unproved.splice(0))
      throw error
    } finally {
      for (const { row } of now) waiting -= charsOf(row)
      if (unproved.length === 0) ahead.delete(reader)
    }
    return unproved.length
  }

  function shapesOf(used: ReadonlySet<number>): (readonly [number, string])[] {
    return [...used].map((id) => [id, shapeTextOf(id)])
  }

  return {
    read: (tenant, name, from, limit, outline) => pageOf({ tenant, name }, from, limit, outline, () => false),
    readAhead(reader, tenant, name, from, limit, outline) {
      const unproved = ahead.get(reader) ?? []
      ahead.set(reader, unproved)
      const page = pageOf({ tenant, name }, from, limit, outline, (row, prev, place) => {
        const chars = charsOf(row)
        if (waiting + chars > aheadChars) return false
        waiting += chars
        unproved.push({ row, prev, place })
        return true
      })
      if (from > 1 || page.next !== undefined || page.count > fewRecords) return page
      while (proveSome(reader, true) > 0);
      return { ...page, proved: true }
    },
    prove: (reader) => proveSome(reader, false),

    since(tenant, position, limit) {
      const rows = new Texts()
      const used = new Set<number>()
      const places = new Map<number, Place>()
      let next = position
      for (const row of after.all(position, limit) as unknown as readonly Row[]) {
        next = row[0]
        let place = places.get(row[12])
        if (place === undefined) {
          place = streamOf.get(row[12]) as Place | undefined
          // No stream: it holds a position whose record was archived (archive.ts).
          places.set(row[12], (place ??= { tenant: '', name: '' }))
        }
        if (place.tenant !== tenant) continue
        const prev = prevHash(row[12], row[1])
        prove(place, row, prev)
        rows.add(textOf(row, prev, place, place.name))
        used.add(row[4])
      }
      return { texts: rows.end(), count: rows.count, shapes: shapesOf(used), next }
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

interface Place {
  readonly tenant: string
  readonly name: string
}

/** What records of one shape have in common, as their headers are hashed. */
interface ShapeTexts {
  readonly v: number
  readonly type: string
  readonly critical: boolean
  readonly actor: string
  readonly labels: string
}

interface Unproved {
  readonly row: Row
  readonly prev: string
  readonly place: Place
}

function charsOf(row: Row): number {
  return 400 + (typeof row[11] === 'string' ? row[11].length : 0)
}

/** An erased payload's salt went with it. */
function isErased(sums: unknown): boolean {
  return String(sums).length === 128
}

function hashOf(row: Row): string {
  return String(row[5]).slice(0, 64)
}
