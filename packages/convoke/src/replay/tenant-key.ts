import { hmacKey } from '../core/hash.ts'
import type { Ledger } from '../ports/ledger.ts'

type Keyed = (text: string) => string

const keys = new WeakMap<Ledger, Map<string, Promise<Keyed>>>()

/** What makes fingerprints and idempotency keys of a tenant. Its key is asked of a ledger once: it never changes. */
export function keyedBy(ledger: Ledger, tenant: string): Promise<Keyed> {
  let byTenant = keys.get(ledger)
  if (byTenant === undefined) keys.set(ledger, (byTenant = new Map()))
  const known = byTenant.get(tenant)
  if (known !== undefined) return known
  const keyed = ledger.tenantKey(tenant).then(hmacKey)
  byTenant.set(tenant, keyed)
  // Whoever comes next asks again.
  keyed.catch(() => byTenant.delete(tenant))
  return keyed
}
