import type { DatabaseSync } from 'node:sqlite'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { WireBlob } from './protocol.ts'
import type { Memory } from './streams.ts'

// Content of a tenant by its hash. Records refer to blobs by row id (32 bytes shorter, and history lists many of them
// again and again); the row outlives its bytes, so an erased blob still has its hash.

export interface Blobs {
  /** Stores what is not there yet. @throws LEDGER_CORRUPT when bytes do not have their hash */
  put(tenant: string, blobs: readonly WireBlob[]): undefined
  /** Says that there was a blob whose bytes were erased. */
  putErased(tenant: string, hash: string, mediaType: string): void
  /** The row id of what must be there; `erased` does as well when said. @throws BLOB_MISSING */
  id(tenant: string, hash: string, erased?: boolean): number
  /** @throws LEDGER_CORRUPT when the stored bytes do not have the hash */
  get(tenant: string, hash: string): Uint8Array | undefined
  hash(id: number): string
  /** Bytes of what is stored; 0 when nothing is. */
  size(tenant: string, hash: string): number
}

export function createBlobs(db: DatabaseSync, memory: Memory): Blobs {
  const add = db.prepare('INSERT INTO blobs(tenant, hash, type, bytes) VALUES (?, ?, ?, ?)')
  const findErased = db.prepare('SELECT id FROM blobs WHERE tenant = ? AND hash = ?')
  const restore = db.prepare('UPDATE blobs SET bytes = ? WHERE id = ?')
  const read = db.prepare('SELECT bytes FROM blobs WHERE tenant = ? AND hash = ?')
  const keep = db.prepare('DELETE FROM orphans WHERE blob = ?')
  const hashOf = db.prepare('SELECT hash FROM blobs WHERE id = ?')
  const sizeOf = db.prepare('SELECT length(bytes) AS bytes FROM blobs WHERE tenant = ? AND hash = ?')
  const hashes = new Map<number, string>()

  return {
    put(tenant, blobs) {
      for (const blob of blobs) {
        const known = memory.blob(tenant, blob.hash)
        if (known !== undefined) {
          // Whoever stores it again is about to refer to it: it is not to be swept away (archive.ts).
          keep.run(known)
          continue
        }
        if (sha256(blob.bytes) !== blob.hash)
          throw new ConvokeError('LEDGER_CORRUPT', `the bytes of blob ${blob.hash} have another hash`, {
            details: { hash: blob.hash },
            next: 'hash the very bytes that are stored',
          })
        const key = Buffer.from(blob.hash, 'hex')
        const erased = findErased.get(tenant, key) as { id: number } | undefined
        if (erased === undefined)
          memory.knowBlob(tenant, blob.hash, Number(add.run(tenant, key, blob.mediaType, blob.bytes).lastInsertRowid))
        else {
          restore.run(blob.bytes, erased.id)
          memory.knowBlob(tenant, blob.hash, erased.id)
        }
      }
      return undefined
    },
    putErased(tenant, hash, mediaType) {
      const key = Buffer.from(hash, 'hex')
      if (findErased.get(tenant, key) === undefined) add.run(tenant, key, mediaType, null)
    },
    id(tenant, hash, erased = false) {
      const stored = memory.blob(tenant, hash)
      const row =
        stored === undefined && erased
          ? (findErased.get(tenant, Buffer.from(hash, 'hex')) as { id: number } | undefined)
          : undefined
      const id = stored ?? row?.id
      if (id === undefined)
        throw new ConvokeError('BLOB_MISSING', `a record refers to blob ${hash}, which is not stored`, {
          details: { hash },
          next: 'pass the blob with the append, or store it first with putBlobs',
        })
      return id
    },
    get(tenant, hash) {
      const row = read.get(tenant, Buffer.from(hash, 'hex')) as { bytes: Uint8Array | null } | undefined
      if (row === undefined || row.bytes === null) return undefined
      if (sha256(row.bytes) !== hash)
        throw new ConvokeError('LEDGER_CORRUPT', `the stored bytes of blob ${hash} have another hash`, {
          details: { tenant, hash },
          next: 'restore the store from a backup',
        })
      return row.bytes
    },
    hash(id) {
      const known = hashes.get(id)
      if (known !== undefined) return known
      const row = hashOf.get(id) as { hash: Uint8Array } | undefined
      if (row === undefined) return `missing:${id}`
      if (hashes.size > 50_000) hashes.clear()
      const hash = Buffer.from(row.hash).toString('hex')
      hashes.set(id, hash)
      return hash
    },
    size: (tenant, hash) =>
      (sizeOf.get(tenant, Buffer.from(hash, 'hex')) as { bytes: number | null } | undefined)?.bytes ?? 0,
  }
}
