import type { DatabaseSync } from 'node:sqlite'
import { emptyHash } from '../core/record.ts'

// Owns what the ledger's thread remembers of streams, shapes and blobs between transactions. Invariant: whatever is
// remembered is committed or belongs to the transaction that is open, so `forget` is called whenever a transaction is
// rolled back, in part or whole, and whenever another connection has committed.

export interface Stream {
  readonly id: number
  readonly tenant: string
  readonly name: string
  seq: number
  hash: string
  epoch: number
  owner: string | null
  /** Its records are elsewhere; `seq` and `hash` say where it ended. */
  readonly archived: boolean
}

export interface Memory {
  find(tenant: string, name: string): Stream | undefined
  create(tenant: string, name: string): Stream
  shape(text: string): number
  /** Undefined when it is not stored, or was erased. */
  blob(tenant: string, hash: string): number | undefined
  knowBlob(tenant: string, hash: string, id: number): void
  forget(): void
}

interface StreamRow {
  readonly id: number
  readonly epoch: number
  readonly owner: string | null
  /** Where it ended; negative while it is being restored. */
  readonly archived: number
  readonly head: Uint8Array | null
}

const enough = 20_000

export function hexOf(bytes: unknown): string {
  if (!(bytes instanceof Uint8Array)) return String(bytes)
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

export function createMemory(db: DatabaseSync): Memory {
  const streams = new Map<string, Stream>()
  const shapes = new Map<string, number>()
  const blobs = new Map<string, number>()
  const findStream = db.prepare('SELECT id, epoch, owner, archived, head FROM streams WHERE tenant = ? AND name = ?')
  const findHead = db.prepare('SELECT seq, hash FROM records WHERE stream = ? ORDER BY seq DESC LIMIT 1')
  const addStream = db.prepare('INSERT INTO streams(tenant, name) VALUES (?, ?)')
  const findShape = db.prepare('SELECT id FROM shapes WHERE text = ?')
  const addShape = db.prepare('INSERT INTO shapes(text) VALUES (?)')
  const findBlob = db.prepare('SELECT id FROM blobs WHERE tenant = ? AND hash = ? AND bytes IS NOT NULL')

  function keep<V>(map: Map<string, V>, key: string, value: V): V {
    if (map.size >= enough) map.clear()
    map.set(key, value)
    return value
  }

  return {
    find(tenant, name) {
      const key = `${tenant}\0${name}`
      const known = streams.get(key)
      if (known !== undefined) return known
      const row = findStream.get(tenant, name) as StreamRow | undefined
      if (row === undefined) return undefined
      const archived = row.archived !== 0
      const head = archived
        ? { seq: Math.abs(row.archived), hash: row.head }
        : (findHead.get(row.id) as { seq: number; hash: Uint8Array } | undefined)
      return keep(streams, key, {
        id: row.id,
        tenant,
        name,
        seq: head?.seq ?? 0,
        hash: head === undefined ? emptyHash : hexOf(head.hash),
        epoch: row.epoch,
        owner: row.owner,
        archived,
      })
    },
    create(tenant, name) {
      const id = Number(addStream.run(tenant, name).lastInsertRowid)
      return keep(streams, `${tenant}\0${name}`, {
        id,
        tenant,
        name,
        seq: 0,
        hash: emptyHash,
        epoch: 0,
        owner: null,
        archived: false,
      })
    },
    shape(text) {
      const known = shapes.get(text)
      if (known !== undefined) return known
      const row = findShape.get(text) as { id: number } | undefined
      return keep(shapes, text, row?.id ?? Number(addShape.run(text).lastInsertRowid))
    },
    blob(tenant, hash) {
      const key = `${tenant}\0${hash}`
      const known = blobs.get(key)
      if (known !== undefined) return known
      const row = findBlob.get(tenant, Buffer.from(hash, 'hex')) as { id: number } | undefined
      return row === undefined ? undefined : keep(blobs, key, row.id)
    },
    knowBlob(tenant, hash, id) {
      keep(blobs, `${tenant}\0${hash}`, id)
    },
    forget() {
      streams.clear()
      shapes.clear()
      blobs.clear()
    },
  }
}
