import type { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConvokeError, toErrorData, type ErrorData } from '../core/errors.ts'
import { createAppends } from './appends.ts'
import { createArchive } from './archive.ts'
import { createBlobs } from './blobs.ts'
import { busy, fromSqlite, isBusy } from './errors.ts'
import { createGuards } from './guards.ts'
import { createLeases } from './leases.ts'
import { createProjections } from './projections.ts'
import type { Locks } from './lease-locks.ts'
import type { Calls, Point, ReadKind, Request, ToClient, WorkerOptions, WriteKind } from './protocol.ts'
import { createQueries } from './queries.ts'
import { createReads } from './reads.ts'
import { rebuildWhenOld } from './rebuild.ts'
import type { Signals } from './signals.ts'
import { createMemory } from './streams.ts'
import { tenantKeyOf } from './tenants.ts'
import { createImports } from './imports.ts'
import { createExports } from './exports.ts'
import { createTransaction } from './transaction.ts'

// Puts the parts of the ledger together, in its thread or in the caller's (here.ts), and runs groups of calls.
// Invariants: the connection is in a transaction only while a group is being committed; a refused call leaves nothing
// behind and does not touch the others of its group; a group that cannot be committed as a whole is tried in halves.

type WriteTable = { readonly [K in WriteKind]: (...args: Calls[K]['args']) => Calls[K]['result'] }
type ReadTable = { readonly [K in ReadKind]: (...args: Calls[K]['args']) => Calls[K]['result'] }
type Act = (...args: readonly unknown[]) => unknown

export interface Engine {
  isWrite(kind: string): boolean
  commit(group: readonly Request[]): Promise<void>
  /** Gives back those that are not done yet, to be asked again when others have had their turn. */
  answer(group: readonly Request[]): Promise<readonly Request[]>
  listen(request: Request): void
  wantsBeat(): boolean
  adopt(worker: string, slot: BigInt64Array): void
  /** Where a stream ends, and how large a blob is; 0 when there is none. For a look before a call. */
  seqOf(tenant: string, stream: string): number
  bytesOf(tenant: string, hash: string): number
  /** Gives the leases back, so that nobody has to find out. */
  close(): Promise<void>
  /** Closes the connection and leaves the leases to the thread. Tells first what others have committed until now. */
  leave(): void
}

/** What differs between the ledger's thread and the caller's. */
export interface Host {
  readonly db: DatabaseSync
  readonly signals: Signals
  readonly locks: Locks
  /** How long a lease is that is renewed from here. */
  readonly leaseMs: number
  readonly send: (message: ToClient) => void
  readonly reach: (point: Point) => void
  /** Whether records may be given ahead of their proof. */
  readonly ahead: boolean
  readonly registered?: (worker: string, slot: BigInt64Array) => void
}

interface Answers {
  readonly done: number[]
  readonly results: [number, unknown][]
  readonly errors: [number, ErrorData][]
}

/** What a read says that takes long and wants to be asked again. */
const goesOn = Symbol('goes on')

/** Answers beyond this leave at once, so that the client can begin with them. */
const messageBytes = 256 * 1024

function sizeOf(value: unknown): number {
  if (value instanceof Uint8Array) return value.byteLength
  const { texts } = (value ?? {}) as { readonly texts?: readonly string[] }
  return texts?.reduce((sum, text) => sum + text.length, 0) ?? 0
}

export function createEngine(options: WorkerOptions, host: Host): Engine {
  const { dir } = options
  const { db, signals, send, reach, locks, leaseMs, registered } = host
  const memory = createMemory(db)
  const transaction = createTransaction(db, memory)
  const blobs = createBlobs(db, memory)
  const guards = createGuards(db, memory)
  const projections = createProjections(db)
  const leases = createLeases({ db, dir, leaseMs, memory, transaction, locks, registered })
  const appends = createAppends({ db, memory, blobs, guards, leases, projections, transaction })
  const imports = createImports({ db, memory, blobs, appends, transaction })
  const archive = createArchive({ db, memory, blobs, leases, projections, appends, transaction })
  const reads = createReads(db, blobs)
  const queries = createQueries(db, leases)
  rebuildWhenOld(db, dir, projections, blobs, options.rebuild)

  const begin = db.prepare('BEGIN IMMEDIATE')
  const beginRead = db.prepare('BEGIN')
  const commitAll = db.prepare('COMMIT')
  const version = db.prepare('PRAGMA data_version')
  version.setReturnArrays(true)
  let seenVersion = foreignVersion()
  let heardVersion = seenVersion
  let wants = { changes: false, records: false }

  const writeTable: WriteTable = {
    append: (...args) => appends.append(...args),
    begin(part, extras, worker) {
      imports.check(part.tenant)
      appends.append([part], extras)
      return leases.claimNew(part.tenant, part.stream, worker)
    },
    post: (...args) => appends.post(...args),
    putBlobs: (...args) => transaction.nested(() => blobs.put(...args)),
    register: (...args) => leases.register(...args),
    unregister: (...args) => leases.unregister(...args),
    beat: (...args) => leases.beat(...args),
    claim: (...args) => {
      imports.check(args[0])
      return leases.claim(...args)
    },
    release: (...args) => leases.release(...args),
    isAlive: (...args) => leases.isAlive(...args),
    tenantKey: (tenant) => tenantKeyOf(db, tenant),
    importBegin: (...args) => imports.begin(...args),
    importBatch: (batch) => transaction.nested(() => imports.write(batch)),
    importEnd: (tenant) => imports.end(tenant),
    importFinish: () => imports.finish(),
    archiveDrop: (...args) => transaction.nested(() => archive.drop(...args)),
    archiveWrite: (batch) => transaction.nested(() => archive.write(batch)),
    archiveEnd: (...args) => transaction.nested(() => archive.end(...args)),
    archiveSweep: (...args) => transaction.nested(() => archive.sweep(...args)),
  }
  const readTable: ReadTable = {
    ...reads,
    ...(host.ahead ? {} : { readAhead: (_, ...args) => ({ ...reads.read(...args), proved: true }) }),
    ...queries,
    ...createExports(db, leases),
    ...archive.reads,
    getBlob: (...args) => blobs.get(...args),
    guardOwner: (...args) => guards.owner(...args),
    prove: (reader) => (reads.prove(reader) > 0 ? goesOn : undefined) as undefined,
  }

  /** Changes whenever another connection commits, and only then (https://sqlite.org/pragma.html#pragma_data_version). */
  function foreignVersion(): number {
    return (version.get() as unknown as readonly [number])[0]
  }

  function heard(): void {
    if (db.isTransaction) return
    const now = foreignVersion()
    if (now === heardVersion) return
    heardVersion = now
    send({ changed: true, grown: true })
  }

  /** SQLite's own waiting is neither fair nor interruptible: we ask for a turn and look again every millisecond. */
  async function beginTurn(): Promise<void> {
    const start = performance.now()
    for (let tries = 0; ; tries++) {
      try {
        begin.run()
        return
      } catch (error) {
        if (!isBusy(error)) throw error
        const waited = performance.now() - start
        if (waited > options.busyMs) throw busy(dir, Math.round(waited))
        if (tries % 8 === 0) signals.ask()
        await sleep(1)
      }
    }
  }

  function refresh(): void {
    const now = foreignVersion()
    if (now !== seenVersion) memory.forget()
    seenVersion = now
  }

  function perform(group: readonly Request[]): Answers {
    const answers: Answers = { done: [], results: [], errors: [] }
    for (const [id, kind, args] of group) {
      try {
        const value = (writeTable[kind as WriteKind] as Act)(...args)
        if (value === undefined) answers.done.push(id)
        else answers.results.push([id, value])
      } catch (error) {
        if (!(error instanceof ConvokeError) || transaction.spoiled()) throw error
        answers.errors.push([id, toErrorData(error)])
      }
    }
    return answers
  }

  async function commit(group: readonly Request[]): Promise<void> {
    try {
      await beginTurn()
    } catch (error) {
      refuse(group, error)
      return
    }
    let answers: Answers
    try {
      transaction.start()
      refresh()
      answers = perform(group)
      reach('commit.before')
      commitAll.run()
    } catch (error) {
      memory.forget()
      if (db.isTransaction) db.exec('ROLLBACK')
      if (group.length === 1) refuse(group, error)
      else await commitInHalves(group)
      return
    }
    reach('commit.after')
    const { told, grown, acts } = transaction.finish()
    for (const act of acts) act()
    if (told !== false || grown) signals.committed(told !== false)
    send({
      ...answers,
      ...(told !== false && wants.changes ? { changed: told } : undefined),
      ...(grown && wants.records ? { grown: true } : undefined),
    })
    // The lock is free now, but not for long enough to be caught by chance.
    if (signals.asked()) await sleep(2)
  }

  /** One of them does not go with the others: few commits find out which. */
  async function commitInHalves(group: readonly Request[]): Promise<void> {
    const half = Math.ceil(group.length / 2)
    await commit(group.slice(0, half))
    await commit(group.slice(half))
  }

  function refuse(group: readonly Request[], error: unknown): void {
    const data = toErrorData(fromSqlite(error, dir))
    send({ errors: group.map(([id]) => [id, data] as const) })
  }

  /**
   * Reads that arrived together see one snapshot, which takes and lets go of SQLite's locks once, and leave in one
   * message unless they are large.
   */
  async function answer(group: readonly Request[]): Promise<readonly Request[]> {
    const blocked: Request[] = []
    const unfinished: Request[] = []
    let results: [number, unknown][] = []
    let errors: [number, ErrorData][] = []
    let bytes = 0
    const flush = (): void => {
      if (results.length > 0 || errors.length > 0) send({ results, errors })
      results = []
      errors = []
      bytes = 0
    }
    if (group.length > 1) beginRead.run()
    try {
      for (const request of group) {
        const [id, kind, args] = request
        try {
          const value = (readTable[kind as ReadKind] as Act)(...args)
          if (value === goesOn) {
            unfinished.push(request)
            continue
          }
          results.push([id, value])
          bytes += sizeOf(value)
          if (bytes > messageBytes) flush()
        } catch (error) {
          if (isBusy(error)) blocked.push(request)
          else errors.push([id, toErrorData(fromSqlite(error, dir))])
        }
      }
    } finally {
      if (db.isTransaction) commitAll.run()
    }
    flush()
    for (const request of blocked) await answerLater(request)
    return unfinished
  }

  /** Only while another process recovers the WAL or has the file to itself. */
  async function answerLater([id, kind, args]: Request): Promise<void> {
    const end = performance.now() + options.busyMs
    for (;;) {
      await sleep(2)
      try {
        send({ results: [[id, (readTable[kind as ReadKind] as Act)(...args)]] })
      } catch (error) {
        if (isBusy(error) && performance.now() < end) continue
        send({ errors: [[id, toErrorData(fromSqlite(error, dir))]] })
      }
      return
    }
  }

  function listen([id, , args]: Request): void {
    const [changes, records] = args as Calls['interest']['args']
    wants = { changes, records }
    signals.listen(wants, heard)
    // What others have committed since the store was opened, or since the caller's thread has looked last.
    if (changes || records) heard()
    send({ done: [id] })
  }

  return {
    isWrite: (kind) => Object.hasOwn(writeTable, kind),
    commit,
    answer,
    listen,
    wantsBeat: () => leases.lives,
    seqOf: (...args) => reads.head(...args).seq,
    bytesOf: (...args) => blobs.size(...args),
    adopt: (...args) => leases.adopt(...args),
    async close() {
      const goodbyes = leases.held.map((worker): Request => [0, 'unregister', [worker]])
      if (goodbyes.length > 0) await commit(goodbyes)
      signals.close()
      leases.close()
      locks.close()
      db.close()
    },
    leave() {
      if (wants.changes || wants.records) heard()
      signals.close()
      db.close()
    },
  }
}
