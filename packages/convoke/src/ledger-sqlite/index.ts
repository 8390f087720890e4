import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import { ConvokeError } from '../core/errors.ts'
import { runIdOf } from '../core/projections.ts'
import { emptyHead, headerHolds, type LedgerRecord } from '../core/record.ts'
import type { Ahead, AppendOptions, Claim, InboxMessage, Ledger, StreamAppend, StreamRef } from '../ports/ledger.ts'
import type { Probe } from '../ports/probe.ts'
import type { Clock, Ids } from '../ports/runtime.ts'
import { startClient, type Where } from './client.ts'
import { createClientArchive } from './client-archive.ts'
import { createClientLease } from './client-lease.ts'
import { corrupt } from './errors.ts'
import { createFollowers } from './follow.ts'
import type { CrashAt, Page, WireAppend } from './protocol.ts'
import { createTransfer } from './transfer.ts'
import { fromPage, toWire, toWireBlob, toWireExtras, toWirePost, type Shape } from './wire.ts'

export type { CrashAt } from './protocol.ts'

export interface SqliteLedgerOptions {
  /** Folder of the store; made when missing, readable by its owner only. */
  readonly dir: string
  /** Says when a worker registered, for people. Leases go by the system's monotonic clock, which nobody can set. */
  readonly clock?: Clock
  readonly ids?: Ids
  /** Called at `commit.before` and `commit.after`; the ledger waits for it. */
  readonly probe?: Probe
  /**
   * `full` (default): what was acknowledged survives power loss. `process-crash-only`: it survives the end of the
   * process, but power loss or a crash of the system may take the last commits.
   */
  readonly durability?: 'full' | 'process-crash-only'
  /** How long a worker that shows no life keeps its runs, in milliseconds; 10,000 unless said. */
  readonly leaseMs?: number
  /** How long a write waits for another process to let go of the store, in milliseconds; 10,000 unless said. */
  readonly busyMs?: number
  /** Writes the lists of runs and approvals anew from the records; others wait meanwhile. */
  readonly rebuild?: boolean
  readonly crashAt?: CrashAt
}

const pageSize = 250
/** Larger, since nothing is proved meanwhile. */
const aheadSize = 1_000

/**
 * The embedded ledger: one SQLite file in `dir`, shared by any number of processes of one machine.
 * @throws STORE_UNUSABLE, STORE_NEWER, SQLITE_UNSAFE, LEDGER_BUSY, LEDGER_FULL, LEDGER_CORRUPT
 */
export async function openSqliteLedger(options: SqliteLedgerOptions): Promise<Ledger> {
  return await openLedger(options)
}

/** `where`: for tests of the ledger, which thread does its calls. */
export async function openLedger(options: SqliteLedgerOptions, where?: Where): Promise<Ledger> {
  const leaseMs = options.leaseMs ?? 10_000
  const client = await startClient(
    {
      dir: resolve(options.dir),
      durability: options.durability ?? 'full',
      leaseMs,
      busyMs: options.busyMs ?? 10_000,
      ...(options.rebuild === true ? { rebuild: true } : {}),
      ...(options.crashAt === undefined ? {} : { crashAt: options.crashAt }),
    },
    options.probe,
    where,
  )
  const { ids, clock } = options
  const salt = (): string => ids?.salt() ?? randomBytes(16).toString('hex')
  const shapes = new Map<number, Shape>()
  const followers = createFollowers(client, shapes)

  /** Not `async`, which would cost each append two promises more. */
  function append(batch: readonly StreamAppend[], extras?: AppendOptions): Promise<void> {
    try {
      return client.call('append', batch.map(toWireAppend), toWireExtras(extras, salt))
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  async function begin(
    first: StreamAppend,
    worker: string,
    extras?: Pick<AppendOptions, 'blobs'>,
  ): Promise<Claim | undefined> {
    const epoch = await client.call('begin', toWireAppend(first), toWireExtras(extras, salt), worker)
    const { seq, hash } = first.records.at(-1) ?? emptyHead
    return epoch === undefined ? undefined : { epoch, seq, hash }
  }

  async function read(
    ref: StreamRef,
    { from = 1, limit = 1_000, outline = false }: { from?: number; limit?: number; outline?: boolean } = {},
  ): Promise<LedgerRecord[]> {
    checkRef(ref)
    const out: LedgerRecord[] = []
    const ask = (start: number, left: number): Promise<Page> =>
      client.call('read', ref.tenant, ref.stream, start, Math.min(pageSize, left), outline)
    let left = limit
    let coming = left > 0 ? ask(from, left) : undefined
    while (coming !== undefined) {
      const page: Page = await coming
      left -= page.count
      // The thread prepares the next page while this one is decoded.
      coming = page.next !== undefined && left > 0 ? ask(page.next, left) : undefined
      for (const { record } of fromPage(page, ref, shapes)) out.push(record)
    }
    return out
  }

  let readers = 0

  /** Headers are proved here while further pages come, payloads in the ledger's thread while the caller begins. */
  async function readAhead(ref: StreamRef, { outline = false }: { outline?: boolean } = {}): Promise<Ahead> {
    checkRef(ref)
    const place = { tenant: ref.tenant, name: ref.stream }
    const reader = ++readers
    const ask = (from: number): Promise<Page> =>
      client.call('readAhead', reader, ref.tenant, ref.stream, from, aheadSize, outline)
    const prove = (): Promise<void> => client.call('prove', reader)
    const records: LedgerRecord[] = []
    let proved: Promise<void> | undefined
    try {
      for (let coming: Promise<Page> | undefined = ask(1); coming !== undefined;) {
        const page: Page = await coming
        coming = page.next === undefined ? undefined : ask(page.next)
        if (coming === undefined) proved = page.proved === true ? Promise.resolve() : prove()
        const found = fromPage(page, ref, shapes)
        if (found.length !== page.count)
          throw corrupt(place, records.length + 1, 'the page holds more than its records')
        for (const { record } of found) {
          if (page.proved !== true && !headerHolds(record))
            throw corrupt(place, record.seq, 'the header does not match the hash')
          records.push(record)
        }
      }
    } catch (error) {
      // What cannot be put together is most likely not what was written: reading it with its proof says what, and where.
      await (proved ?? prove()).catch(() => undefined)
      await read(ref, { outline, limit: Infinity })
      throw error
    }
    return { records, proved: proved ?? prove() }
  }

  return {
    append,
    begin,
    read,
    readAhead,
    post: async (inbox: StreamRef, message: InboxMessage) => {
      checkRef(inbox)
      return await client.call('post', toWirePost(inbox, message, salt()))
    },
    head: async (ref) => await client.call('head', ...placeOf(ref)),
    heads: async (tenant, { after = '', limit = 1_000 } = {}) =>
      await client.call('heads', checkTenant(tenant), after, limit),
    register: async (worker) => await createClientLease(client, worker, clock?.now() ?? Date.now()),
    claim: async (ref, worker) => await client.call('claim', ...placeOf(ref), worker),
    release: async (ref, epoch) => await client.call('release', ...placeOf(ref), epoch),
    getBlob: async (tenant, hash) => await client.call('getBlob', checkTenant(tenant), hash),
    putBlobs: async (tenant, blobs) => await client.call('putBlobs', checkTenant(tenant), blobs.map(toWireBlob)),
    isAlive: async (worker) => await client.call('isAlive', worker),
    run: async (ref) => await client.call('run', checkTenant(ref.tenant), runIdOf(ref.stream)),
    runs: async (filter) => await client.call('runs', { ...filter, tenant: checkTenant(filter.tenant) }),
    approval: async (tenant, id) => await client.call('approval', checkTenant(tenant), id),
    approvals: async (filter) =>
      await client.call(
        'approvals',
        checkTenant(filter.tenant),
        filter.status ?? null,
        filter.run ?? null,
        filter.limit ?? 100,
      ),
    ready: async ({ now, limit, tenant }) => await client.call('ready', now, limit, tenant ?? null),
    nextDue: async (now) => await client.call('nextDue', now),
    dependents: async (tenant, ref) => await client.call('dependents', checkTenant(tenant), ref),
    guardOwner: async (tenant, key) => await client.call('guardOwner', checkTenant(tenant), key),
    tenantKey: async (tenant) => await client.call('tenantKey', checkTenant(tenant)),
    watch: (tenant, after) => followers.watch(checkTenant(tenant), after),
    onChange: (listener) => followers.onChange(listener),
    transfer: createTransfer(client, shapes),
    archive: createClientArchive(client, shapes),
    close: async () => {
      followers.close()
      await client.close()
    },
  }
}

function toWireAppend(part: StreamAppend): WireAppend {
  const { tenant, stream } = part.ref
  checkRef(part.ref)
  for (const record of part.records) {
    if (record.tenant !== tenant || record.stream !== stream)
      throw new ConvokeError('INPUT_INVALID', `a record of ${record.stream} cannot be appended to ${stream}`, {
        details: { tenant, stream, found: record.stream },
      })
    if ((record.v as number) !== 1)
      throw new ConvokeError('RECORD_UNSUPPORTED', `record version ${String(record.v)} is not known`, {
        details: { stream, seq: record.seq },
      })
  }
  return { tenant, stream, epoch: part.epoch, records: part.records.map(toWire) }
}

function checkTenant(tenant: string): string {
  if (typeof tenant !== 'string' || tenant === '')
    throw new ConvokeError('TENANT_MISSING', 'the call names no tenant', {
      next: "pass the tenant; a single one is called 'local'",
    })
  return tenant
}

function checkRef(ref: StreamRef): void {
  checkTenant(ref.tenant)
  if (!/^[a-z]+\/./.test(ref.stream))
    throw new ConvokeError(
      'NAME_INVALID',
      `${JSON.stringify(ref.stream)} does not name a stream: expected <kind>/<id>`,
      {
        details: { stream: String(ref.stream) },
      },
    )
}

function placeOf(ref: StreamRef): [string, string] {
  checkRef(ref)
  return [ref.tenant, ref.stream]
}
