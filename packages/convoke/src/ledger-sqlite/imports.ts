import type { DatabaseSync } from 'node:sqlite'
import { runStream, type RunRow } from '../core/projections.ts'
import { halfCopied, notEmpty, type TransferTable } from '../core/transfer.ts'
import type { Appends } from './appends.ts'
import type { Blobs } from './blobs.ts'
import type { WireBatch } from './protocol.ts'
import { archivedFormat } from './schema.ts'
import type { Memory, Stream } from './streams.ts'
import type { Transaction } from './transaction.ts'

// Fills a store with the copy of another. Owns the mark `copy <tenant>` in `meta`: it stands from the first item of a
// tenant to the last, so that nobody drives half a history, and tells a copy broken off from a store in use; and the mark
// `copied <tenant>` from there to the end of the copy, so that one of several tenants goes on where it was broken off.

export interface Imports {
  /** @throws STORE_UNUSABLE when the tenant holds something that no copy has left */
  begin(tenant: string, key: Uint8Array): boolean
  write(batch: WireBatch): undefined
  end(tenant: string): undefined
  finish(): undefined
  /** @throws STORE_UNUSABLE while a copy of the tenant is not complete */
  check(tenant: string): void
}

export function createImports(parts: {
  readonly db: DatabaseSync
  readonly memory: Memory
  readonly blobs: Blobs
  readonly appends: Appends
  readonly transaction: Transaction
}): Imports {
  const { db, memory, blobs, appends, transaction } = parts
  const findMark = db.prepare('SELECT 1 FROM meta WHERE key = ?')
  const addMark = db.prepare('INSERT INTO meta(key, value) VALUES (?, 1) ON CONFLICT DO NOTHING')
  const dropMark = db.prepare('DELETE FROM meta WHERE key = ?')
  const inUse = db.prepare(
    `SELECT EXISTS (SELECT 1 FROM streams WHERE tenant = :tenant) OR EXISTS (SELECT 1 FROM uniques WHERE tenant = :tenant)
       OR EXISTS (SELECT 1 FROM counters WHERE tenant = :tenant) OR EXISTS (SELECT 1 FROM blobs WHERE tenant = :tenant) AS used`,
  )
  const setKey = db.prepare(
    'INSERT INTO tenants(tenant, key) VALUES (?, ?) ON CONFLICT DO UPDATE SET key = excluded.key',
  )
  const setEpoch = db.prepare('UPDATE streams SET epoch = ? WHERE id = ?')
  const addMessage = db.prepare('INSERT INTO messages(stream, id, seq) VALUES (?, ?, ?) ON CONFLICT DO NOTHING')
  const addUnique = db.prepare('INSERT INTO uniques(tenant, key, owner) VALUES (?, ?, ?) ON CONFLICT DO NOTHING')
  const setTotal = db.prepare(
    'INSERT INTO counters(tenant, counter, total) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET total = excluded.total',
  )
  const addCounted = db.prepare(
    'INSERT INTO counted(tenant, counter, key, added) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
  )
  const setArchived = db.prepare('UPDATE streams SET archived = ?, head = unhex(?) WHERE id = ?')
  const addRun = db.prepare(
    `INSERT INTO runs(stream, tenant, run, workflow, status, due, priority, started, row)
       VALUES (?, ?, ?, ?, ?, NULL, ?, ?, ?) ON CONFLICT DO NOTHING`,
  )
  const rise = db.prepare(`UPDATE meta SET value = max(value, ${archivedFormat}) WHERE key = 'format'`)
  const findKey = db.prepare('SELECT key FROM tenants WHERE tenant = ?')
  const forget = db.prepare(`DELETE FROM meta WHERE key >= 'copied ' AND key < 'copied!'`)
  const markOf = (tenant: string): string => `copy ${tenant}`
  const doneOf = (tenant: string): string => `copied ${tenant}`

  const take: Record<TransferTable, (tenant: string, name: string, part: string, value: string | number) => void> = {
    uniques: (tenant, key, _, owner) => addUnique.run(tenant, key, owner),
    counters: (tenant, counter, _, total) => setTotal.run(tenant, counter, total),
    counted: (tenant, counter, key, added) => addCounted.run(tenant, counter, key, added),
    messages: (tenant, name, id, seq) => addMessage.run(streamOf(tenant, name).id, id, seq),
    archives(tenant, name, hash, seq) {
      setArchived.run(seq, hash, streamOf(tenant, name).id)
      rise.run()
      memory.forget()
    },
    rows(tenant, run, _, text) {
      const row = JSON.parse(String(text)) as RunRow
      const { id } = streamOf(tenant, runStream(run))
      addRun.run(id, tenant, run, row.workflow, row.status, row.priority, row.startedAt, String(text))
    },
    epochs(tenant, name, _, value) {
      const stream = streamOf(tenant, name)
      if (stream.epoch >= Number(value)) return
      setEpoch.run(value, stream.id)
      stream.epoch = Number(value)
    },
  }

  function streamOf(tenant: string, name: string): Stream {
    return memory.find(tenant, name) ?? memory.create(tenant, name)
  }

  return {
    begin(tenant, key) {
      const known = findKey.get(tenant) as { key: Uint8Array } | undefined
      const same = known !== undefined && Buffer.compare(known.key, key) === 0
      if (same && findMark.get(doneOf(tenant)) !== undefined) return false
      if (findMark.get(markOf(tenant)) === undefined && (inUse.get({ tenant }) as { used: number }).used === 1)
        throw notEmpty(tenant)
      addMark.run(markOf(tenant))
      setKey.run(tenant, key)
      return true
    },
    write({ tenant, blobs: given, records, rows }) {
      for (const { hash, mediaType, bytes } of given)
        if (bytes === undefined) blobs.putErased(tenant, hash, mediaType)
        else blobs.put(tenant, [{ hash, mediaType, bytes }])
      appends.copy(tenant, records)
      for (const [table, list] of Object.entries(rows))
        for (const [name, part, value] of list) take[table as TransferTable](tenant, name, part, value)
      transaction.grow()
      return undefined
    },
    end(tenant) {
      dropMark.run(markOf(tenant))
      addMark.run(doneOf(tenant))
      transaction.tell()
      return undefined
    },
    finish() {
      forget.run()
      return undefined
    },
    check(tenant) {
      if (findMark.get(markOf(tenant)) !== undefined) throw halfCopied(tenant)
    },
  }
}
