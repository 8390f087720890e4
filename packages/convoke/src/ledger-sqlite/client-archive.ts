import type * as Archives from '../core/archive.ts'
import { ConvokeError } from '../core/errors.ts'
import { runIdOf } from '../core/projections.ts'
import type { Archive } from '../ports/ledger.ts'
import type { Client } from './client.ts'
import { fromPage, toWire, type Shape } from './wire.ts'

/** So many positions are looked through in one call: other calls come in between. */
const stride = 20_000

/** Most programs archive nothing: what knows the order of it is loaded with the first. */
const archives = (): Promise<typeof Archives> => import('../core/archive.ts')

/** The client's end of archiving: pages out, one transaction that drops, batches in, one that opens again. */
export function createClientArchive(client: Client, shapes: Map<number, Shape>): Archive {
  return {
    ended: async ({ tenant, before, after, limit = 100 }) =>
      await client.call(
        'endedRuns',
        named(tenant),
        before,
        after === undefined ? null : { run: after.run, updatedAt: after.updatedAt },
        limit,
      ),
    relatives: async (ref) => await client.call('relatives', named(ref.tenant), runIdOf(ref.stream)),
    async *export(tenant, streams) {
      const { archiveItems } = await archives()
      yield* archiveItems(
        {
          async records(stream, from, limit) {
            const page = await client.call('read', named(tenant), stream, from, limit, false)
            return fromPage(page, { tenant, stream }, shapes)
          },
          blob: async (hash) => await client.call('blobOf', tenant, hash),
          messages: async (stream) => await client.call('messagesOf', tenant, stream),
        },
        streams,
      )
    },
    drop: async (tenant, streams, at) =>
      await client.call(
        'archiveDrop',
        named(tenant),
        streams.map(({ stream, seq, hash }) => ({ stream, seq, hash })),
        at,
      ),
    async restore(tenant, streams, items) {
      const { restoreItems } = await archives()
      return await restoreItems(items, named(tenant), streams, {
        archivedAt: async (stream) => await client.call('archivedAt', tenant, stream),
        write: async ({ blobs, records, messages }) =>
          await client.call('archiveWrite', {
            tenant,
            blobs,
            records: records.map(({ position, record }) => [record.stream, position, toWire(record)] as const),
            messages,
          }),
        end: async (names) => await client.call('archiveEnd', tenant, names),
      })
    },
    async sweep(quietMs) {
      const orphans = await client.call('orphans', quietMs)
      if (orphans.length === 0) return { blobs: 0, bytes: 0 }
      const end = await client.call('position')
      const needed = new Set<number>()
      for (let at = 0; at < end && needed.size < orphans.length; at += stride)
        for (const id of await client.call('referred', orphans, at, Math.min(end, at + stride))) needed.add(id)
      return await client.call('archiveSweep', orphans, [...needed], end)
    },
  }
}

function named(tenant: string): string {
  if (typeof tenant !== 'string' || tenant === '')
    throw new ConvokeError('TENANT_MISSING', 'the call names no tenant', {
      next: "pass the tenant; a single one is called 'local'",
    })
  return tenant
}
