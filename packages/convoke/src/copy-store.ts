import { ConvokeError } from './core/errors.ts'
import type { StoreItem, TransferCount } from './core/transfer.ts'
import type { Ledger, Transfer } from './ports/ledger.ts'

export interface CopyOptions {
  /** Only this one; all unless said. */
  readonly tenant?: string
  /** Told now and then how many records and blobs have been read. */
  readonly onProgress?: (read: { readonly tenant: string; readonly records: number; readonly blobs: number }) => void
}

const progressEvery = 1_000

/**
 * Copies a store into an empty one, whatever keeps the two. Records stay byte for byte as they are, so chains and signed
 * checkpoints hold in the copy; keys that were taken stay taken. What is written to `from` meanwhile may be missing. A
 * copy that was broken off is started again with the same call.
 * @throws STORE_UNUSABLE when `to` holds something else, when there is no such tenant, or when a store cannot be copied
 */
export async function copyStore(from: Ledger, to: Ledger, options: CopyOptions = {}): Promise<TransferCount> {
  const source = transferOf(from, 'from')
  const target = transferOf(to, 'into')
  const { tenant, onProgress } = options
  if (tenant !== undefined && !(await source.tenants()).includes(tenant))
    throw new ConvokeError('STORE_UNUSABLE', `the store holds nothing of tenant ${tenant}`, {
      details: { tenant },
      next: 'name a tenant that it has, or none to copy all',
    })
  return await target.import(told(source.export(tenant), onProgress))
}

async function* told(
  items: AsyncIterable<StoreItem>,
  onProgress: CopyOptions['onProgress'],
): AsyncGenerator<StoreItem, void, undefined> {
  const read = { records: 0, blobs: 0 }
  let seen = 0
  for await (const item of items) {
    if (item.kind === 'record') read.records += 1
    if (item.kind === 'blob') read.blobs += 1
    if (++seen % progressEvery === 0) onProgress?.({ tenant: item.tenant, ...read })
    yield item
  }
}

function transferOf(ledger: Ledger, way: string): Transfer {
  if (ledger.transfer !== undefined) return ledger.transfer
  throw new ConvokeError('STORE_UNUSABLE', `this kind of store cannot be copied ${way}`, {
    next: 'use a folder or a postgres:// address',
  })
}
