import type * as Transfers from '../core/transfer.ts'
import type { Transfer } from '../ports/ledger.ts'
import type { Client } from './client.ts'
import { fromPage, toWire, type Shape } from './wire.ts'

/** Most programs copy no store: what knows the order of a copy is loaded with the first. */
const transfers = (): Promise<typeof Transfers> => import('../core/transfer.ts')

/** The client's end of a copy: pages out, batches in, each batch one transaction of the ledger's thread. */
export function createTransfer(client: Client, shapes: Map<number, Shape>): Transfer {
  return {
    tenants: async () => await client.call('tenants'),
    held: async (tenant) => await client.call('held', tenant ?? null),
    async *export(only) {
      const { exportItems } = await transfers()
      yield* exportItems(
        {
          tenants: async () => await client.call('tenants'),
          tenantKey: async (tenant) => await client.call('tenantKey', tenant),
          position: async () => await client.call('position'),
          async records(tenant, after) {
            const page = await client.call('since', tenant, after, 500)
            return { found: fromPage(page, { tenant }, shapes), next: page.next }
          },
          blobs: async (tenant, after) => await client.call('allBlobs', tenant, after),
          rows: async (table, tenant, after, limit) =>
            await client.call('allRows', table, tenant, after ?? null, limit),
        },
        only,
      )
    },
    async import(items) {
      const { importItems } = await transfers()
      return await importItems(items, {
        begin: async (tenant, key) => await client.call('importBegin', tenant, key),
        heads: async (tenant, { after, limit }) => await client.call('heads', tenant, after, limit),
        write: async ({ tenant, blobs, records, rows }) =>
          await client.call('importBatch', {
            tenant,
            blobs,
            records: records.map((record) => [record.stream, toWire(record)] as const),
            rows,
          }),
        end: async (tenant) => await client.call('importEnd', tenant),
        finish: async () => await client.call('importFinish'),
      })
    },
  }
}
