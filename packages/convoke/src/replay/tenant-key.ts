import type { Ledger } from '../ports/ledger.ts'

const keys = new WeakMap<Ledger, Map<string, Promise<Uint8Array>>>()

/** Asked of a ledger once: the key never changes. */
export function tenantKey(ledger: Ledger, tenant: string): Promise<Uint8Array> {
  let byTenant = keys.get(ledger)
  if (byTenant === undefined) keys.set(ledger, (byTenant = new Map()))
  let key = byTenant.get(tenant)
  if (key === undefined) byTenant.set(tenant, (key = ledger.tenantKey(tenant)))
  return key
}
