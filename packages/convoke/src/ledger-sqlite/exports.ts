import type { DatabaseSync } from 'node:sqlite'
import type { TransferBlob, TransferRow, TransferTable } from '../core/transfer.ts'
import type { Leases } from './leases.ts'
import type { Calls } from './protocol.ts'
import { hexOf } from './streams.ts'

type Reads = {
  readonly [K in 'tenants' | 'held' | 'allBlobs' | 'allRows']: (...args: Calls[K]['args']) => Calls[K]['result']
}

const pageBytes = 4 << 20

const tables: Readonly<Record<TransferTable, readonly [select: string, from: string, name: string, part: string]>> = {
  epochs: ["t.name, '', t.epoch", 'streams t', 't.name', "''"],
  messages: ['t.name, m.id, m.seq', 'streams t JOIN messages m ON m.stream = t.id', 't.name', 'm.id'],
  uniques: ["t.key, '', t.owner", 'uniques t', 't.key', "''"],
  counters: ["t.counter, '', t.total", 'counters t', 't.counter', "''"],
  counted: ['t.counter, t.key, t.added', 'counted t', 't.counter', 't.key'],
  archives: [
    't.name, lower(hex(t.head)), t.archived',
    '(SELECT tenant, name, head, abs(archived) AS archived FROM streams WHERE archived <> 0) t',
    't.name',
    'lower(hex(t.head))',
  ],
  rows: [
    "t.run, '', t.row",
    `(SELECT tenant, run, row FROM runs WHERE json_extract(row, '$.archived') IS NOT NULL) t`,
    't.run',
    "''",
  ],
}

/** What a copy of the store needs beyond its records. */
export function createExports(db: DatabaseSync, leases: Leases): Reads {
  const findTenants = db.prepare(
    `SELECT tenant FROM streams UNION SELECT tenant FROM tenants UNION SELECT tenant FROM uniques
     UNION SELECT tenant FROM counters UNION SELECT tenant FROM blobs ORDER BY 1`,
  )
  const owned = db.prepare('SELECT owner FROM streams WHERE owner IS NOT NULL AND (?1 IS NULL OR tenant = ?1)')
  const findBlobs = db.prepare(
    'SELECT id, hash, type, bytes FROM blobs WHERE tenant = ? AND id > ? ORDER BY id LIMIT 200',
  )

  return {
    tenants: () => (findTenants.all() as { tenant: string }[]).map(({ tenant }) => tenant),
    held(tenant) {
      const owners = (owned.all(tenant) as { owner: string }[]).map(({ owner }) => owner)
      const alive = new Set([...new Set(owners)].filter((owner) => leases.seemsAlive(owner)))
      return owners.filter((owner) => alive.has(owner)).length
    },
    allBlobs(tenant, after) {
      const found: TransferBlob[] = []
      let size = 0
      for (const row of findBlobs.iterate(tenant, after)) {
        const { id, hash, type, bytes } = row as unknown as {
          id: number
          hash: Uint8Array
          type: string
          bytes: Uint8Array | null
        }
        found.push({ hash: hexOf(hash), mediaType: type, ...(bytes === null ? {} : { bytes }) })
        after = id
        size += bytes?.length ?? 0
        if (size > pageBytes) break
      }
      return found.length === 0 ? { found } : { found, next: after }
    },
    allRows(table, tenant, after, limit) {
      const [select, from, name, part] = tables[table]
      // Keys may be empty: the first page takes them in.
      const sign = after === null ? '>=' : '>'
      const find = db.prepare(
        `SELECT ${select} FROM ${from} WHERE t.tenant = ? AND (${name}, ${part}) ${sign} (?, ?) ORDER BY ${name}, ${part} LIMIT ?`,
      )
      find.setReturnArrays(true)
      return find.all(tenant, after?.[0] ?? '', after?.[1] ?? '', limit) as unknown as TransferRow[]
    },
  }
}
