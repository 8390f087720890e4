import { randomBytes } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'

/** The tenant's secret, made at first use, under the write lock: two processes get the same. */
export function tenantKeyOf(db: DatabaseSync, tenant: string): Uint8Array {
  const add = db.prepare('INSERT INTO tenants(tenant, key) VALUES (?, ?) ON CONFLICT DO NOTHING')
  add.run(tenant, randomBytes(32))
  return (db.prepare('SELECT key FROM tenants WHERE tenant = ?').get(tenant) as { key: Uint8Array }).key
}
