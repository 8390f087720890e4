import { ConvokeError } from './errors.ts'
import { emptyHead, refOf, type Head, type LedgerRecord } from './record.ts'

// How a store is written out and read in again, whatever keeps it. Invariants: a tenant's items come in the order in
// which `exportItems` gives them; what is said of a tenant is complete once the next tenant begins or the items end; a
// copy that was broken off may be started again from the beginning, and what stands there already is passed over.

/** What a store holds beyond what follows from its records, one after the other. Numbers and texts stay exactly as they are. */
export type StoreItem =
  /** Begins a tenant. `key` is its secret (32 bytes). */
  | { readonly kind: 'tenant'; readonly tenant: string; readonly key: Uint8Array }
  /** No bytes: they were erased. */
  | {
      readonly kind: 'blob'
      readonly tenant: string
      readonly hash: string
      readonly mediaType: string
      readonly bytes?: Uint8Array
    }
  | { readonly kind: 'record'; readonly tenant: string; readonly record: LedgerRecord }
  | {
      readonly kind: TransferTable
      readonly tenant: string
      readonly row: TransferRow
    }

/**
 * The small tables: stream epochs, ids of messages, unique keys, counters and what was counted in them, where archived
 * streams ended, and the rows of archived runs, which no record tells any more.
 */
export type TransferTable = 'epochs' | 'messages' | 'uniques' | 'counters' | 'counted' | 'archives' | 'rows'
/**
 * Stream, key, counter or run; the second part of its name or ''; then epoch, seq, owner, total or amount. Of an archived
 * stream its hash is the second part; a row is JSON.
 */
export type TransferRow = readonly [name: string, part: string, value: string | number]

export const transferTables: readonly TransferTable[] = [
  'uniques',
  'counters',
  'counted',
  'messages',
  'archives',
  'rows',
  'epochs',
]

export interface TransferCount {
  readonly tenants: number
  readonly records: number
  readonly blobs: number
  /** Bytes of the blobs. */
  readonly bytes: number
  /** Rows of the small tables. */
  readonly rows: number
  /** Records that stood there already, from a copy that was broken off. */
  readonly found: number
}

export interface TransferBlob {
  readonly hash: string
  readonly mediaType: string
  readonly bytes?: Uint8Array
}

/** Items of one tenant that are written in one transaction: first blobs, then records, then the tables. */
export interface TransferBatch {
  readonly tenant: string
  readonly blobs: readonly TransferBlob[]
  readonly records: readonly LedgerRecord[]
  readonly rows: Readonly<Record<TransferTable, readonly TransferRow[]>>
}

/** What a store has to be able to tell to be written out. */
export interface TransferSource {
  tenants(): Promise<readonly string[]>
  tenantKey(tenant: string): Promise<Uint8Array>
  /** Of the last record in commit order. */
  position(): Promise<number>
  /** Records of the tenant after a position; nothing follows when `next` is `after`. */
  records(
    tenant: string,
    after: number,
  ): Promise<{
    readonly found: readonly { readonly position: number; readonly record: LedgerRecord }[]
    readonly next: number
  }>
  /** Nothing follows when `next` is absent. */
  blobs(tenant: string, after: number): Promise<{ readonly found: readonly TransferBlob[]; readonly next?: number }>
  /** Ordered by name and part, after the given row; at most `limit`. */
  rows(
    table: TransferTable,
    tenant: string,
    after: TransferRow | undefined,
    limit: number,
  ): Promise<readonly TransferRow[]>
}

/** What a store has to be able to do to be filled. */
export interface TransferTarget {
  /**
   * Marks the tenant as being copied. False when this very copy had finished it before it was broken off.
   * @throws STORE_UNUSABLE when it holds something that no copy broken off has left
   */
  begin(tenant: string, key: Uint8Array): Promise<boolean>
  heads(
    tenant: string,
    options: { readonly after: string; readonly limit: number },
  ): Promise<readonly (Head & { readonly stream: string })[]>
  write(batch: TransferBatch): Promise<void>
  /** Its runs may be driven from here on; that it is finished is remembered. */
  end(tenant: string): Promise<void>
  /** All of the copy is there: nothing of it needs to be remembered. */
  finish(): Promise<void>
}

const rowsAtOnce = 1_000

/**
 * Everything up to the record that was the last when it began: blobs and keys are read after that, so that they cover it.
 * @throws LEDGER_CORRUPT when what is stored does not chain
 */
export async function* exportItems(source: TransferSource, only?: string): AsyncGenerator<StoreItem, void, undefined> {
  for (const tenant of only === undefined ? await source.tenants() : [only]) {
    const end = await source.position()
    yield { kind: 'tenant', tenant, key: await source.tenantKey(tenant) }
    for (let after: number | undefined = 0; after !== undefined;) {
      const page: Awaited<ReturnType<TransferSource['blobs']>> = await source.blobs(tenant, after)
      for (const blob of page.found) yield { kind: 'blob', tenant, ...blob }
      after = page.next
    }
    const heads = new Map<string, number>()
    for (let after = 0; ;) {
      const page = await source.records(tenant, after)
      for (const { position, record } of page.found) {
        if (position > end) break
        heads.set(record.stream, record.seq)
        yield { kind: 'record', tenant, record }
      }
      if (page.next === after || page.next >= end) break
      after = page.next
    }
    for (const kind of transferTables)
      for (let after: TransferRow | undefined; ;) {
        const rows = await source.rows(kind, tenant, after, rowsAtOnce)
        for (const row of rows)
          // A message that came in meanwhile has no record in the copy.
          if (kind !== 'messages' || (row[2] as number) <= (heads.get(row[0]) ?? 0)) yield { kind, tenant, row }
        after = rows.at(-1)
        if (rows.length < rowsAtOnce || after === undefined) break
      }
  }
}

type Draft = {
  readonly tenant: string
  blobs: TransferBlob[]
  records: LedgerRecord[]
  rows: Record<TransferTable, TransferRow[]>
  items: number
  bytes: number
}

function emptyBatch(tenant: string): Draft {
  const rows = { epochs: [], messages: [], uniques: [], counters: [], counted: [], archives: [], rows: [] }
  return { tenant, blobs: [], records: [], rows, items: 0, bytes: 0 }
}

const itemsAtOnce = 500
const bytesAtOnce = 2 << 20

/**
 * Fills a store.
 * @throws STORE_UNUSABLE when it is not empty, or when what was copied before has another history
 */
export async function importItems(items: AsyncIterable<StoreItem>, target: TransferTarget): Promise<TransferCount> {
  const count = { tenants: 0, records: 0, blobs: 0, bytes: 0, rows: 0, found: 0 }
  const heads = new Map<string, Head>()
  let batch: Draft | undefined
  /** The tenant whose items are passed over. */
  let passed: string | undefined

  async function flush(): Promise<void> {
    if (batch === undefined || batch.items === 0) return
    await target.write(batch)
    batch = emptyBatch(batch.tenant)
  }

  async function begin(tenant: string, key: Uint8Array): Promise<void> {
    await finish()
    count.tenants += 1
    passed = (await target.begin(tenant, key)) ? undefined : tenant
    if (passed !== undefined) return
    batch = emptyBatch(tenant)
    heads.clear()
    const limit = 1_000
    for (let after = ''; ;) {
      const page = await target.heads(tenant, { after, limit })
      for (const { stream, seq, hash } of page) heads.set(stream, { seq, hash })
      if (page.length < limit) break
      after = page.at(-1)?.stream ?? ''
    }
  }

  async function finish(): Promise<void> {
    if (batch === undefined) return
    await flush()
    await target.end(batch.tenant)
    batch = undefined
  }

  /** Whether it is to be written. */
  function follows(record: LedgerRecord): boolean {
    const head = heads.get(record.stream) ?? emptyHead
    if (record.seq < head.seq || (record.seq === head.seq && record.hash === head.hash)) return false
    if (record.seq !== head.seq + 1 || record.prevHash !== head.hash)
      throw new ConvokeError('STORE_UNUSABLE', `${refOf(record)} does not follow what the copy holds of its stream`, {
        details: { tenant: record.tenant, stream: record.stream, seq: record.seq, head: head.seq },
        next: 'copy into an empty store',
      })
    heads.set(record.stream, { seq: record.seq, hash: record.hash })
    return true
  }

  for await (const item of items) {
    if (item.kind === 'tenant') {
      await begin(item.tenant, item.key)
      continue
    }
    if (item.tenant === passed) {
      if (item.kind === 'record') count.found += 1
      continue
    }
    if (batch === undefined || batch.tenant !== item.tenant)
      throw new ConvokeError('INPUT_INVALID', `a ${item.kind} of tenant ${item.tenant} comes before its tenant`, {
        details: { tenant: item.tenant, kind: item.kind },
      })
    batch.items += 1
    if (item.kind === 'blob') {
      const { hash, mediaType, bytes } = item
      batch.blobs.push({ hash, mediaType, ...(bytes === undefined ? {} : { bytes }) })
      batch.bytes += bytes?.length ?? 0
      count.blobs += 1
      count.bytes += bytes?.length ?? 0
    } else if (item.kind === 'record') {
      if (!follows(item.record)) {
        batch.items -= 1
        count.found += 1
        continue
      }
      batch.records.push(item.record)
      // Canonical payloads beyond 64 KiB travel as blobs.
      batch.bytes += 2_000
      count.records += 1
    } else {
      batch.rows[item.kind].push(item.row)
      count.rows += 1
    }
    if (batch.items >= itemsAtOnce || batch.bytes >= bytesAtOnce) await flush()
  }
  await finish()
  await target.finish()
  return count
}

export function notEmpty(tenant: string): ConvokeError {
  return new ConvokeError('STORE_UNUSABLE', `the store to copy into already holds something of tenant ${tenant}`, {
    details: { tenant },
    next: 'copy into an empty store: a new folder, or a new database',
  })
}

export function halfCopied(tenant: string): ConvokeError {
  return new ConvokeError('STORE_UNUSABLE', `the copy of tenant ${tenant} in this store is not complete`, {
    details: { tenant },
    next: 'start the same `convoke store copy` again: it goes on where it was broken off',
  })
}
