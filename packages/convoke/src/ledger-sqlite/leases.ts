import { existsSync, rmSync } from 'node:fs'
import { hostname } from 'node:os'
import { DatabaseSync } from 'node:sqlite'
import { runArchived } from '../core/archive.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Head } from '../core/record.ts'
import { isBusy } from './errors.ts'
import { lockFileOf, type Locks } from './lease-locks.ts'
import { endOf } from './lease-margin.ts'
import type { Memory, Stream } from './streams.ts'
import type { Transaction } from './transaction.ts'

// Owns the leases of this ledger's own workers and what it has seen of others'. A worker is
// - dead at once when its host is ours and nobody holds the lock on its file (the lock goes with the process), or when
//   its row is gone;
// - dead when its heartbeat has not changed for a lease's length of our own monotonic clock;
// - alive otherwise.
// Invariants: a worker is declared dead only inside a write transaction, which deletes its row; a heartbeat is renewed
// only inside one, if the row is still there and less than a lease (minus a margin) has passed since the renewal before
// began. So whoever was declared dead can never renew, and a lease counts from before its renewal was visible to
// anyone: it always ends for its holder before it ends for others. Wall clocks take no part.
//
// A ledger that moves to its thread has two of these for a while: both renew, and when the lease ends is one number, in
// shared memory. 0 there is final: the lease has passed for both. Until the thread renews it, the lease is longer
// (lease-margin.ts); one that becomes shorter does so for its holder before others can know.

export interface Leases {
  register(worker: string, slot: BigInt64Array, since: number, pid: number): undefined
  unregister(worker: string): undefined
  beat(): undefined
  /** Renews from here on what this ledger registered elsewhere. The lock stays where it is. */
  adopt(worker: string, slot: BigInt64Array): void
  /** Whether a lease is held that has not passed. */
  readonly lives: boolean
  readonly held: readonly string[]
  claim(tenant: string, name: string, worker: string): Head & { readonly epoch: number }
  /** Of a run that nobody has claimed before. Undefined when somebody has, or when the worker's lease has passed. */
  claimNew(tenant: string, name: string, worker: string): number | undefined
  release(tenant: string, name: string, epoch: number): undefined
  /** Inside a write transaction: the answer "dead" is final. */
  isAlive(worker: string): boolean
  /** Outside one: a hint. */
  seemsAlive(worker: string): boolean
  /** @throws LEASE_EXPIRED when the worker is ours and its lease has passed, or was given up or declared dead */
  check(owner: string): void
  close(): void
}

/** When the lease ends for its holder, in nanoseconds of the system's monotonic clock; 0 when it has passed. */
type Slot = BigInt64Array
interface Row {
  readonly id: string
  readonly host: string
  readonly pid: number
  readonly beat: number
  readonly lease: number
  readonly since: number
}

export function createLeases(parts: {
  readonly db: DatabaseSync
  readonly dir: string
  readonly leaseMs: number
  readonly memory: Memory
  readonly transaction: Transaction
  readonly locks: Locks
  /** Told of each that a commit has registered. */
  readonly registered?: ((worker: string, slot: BigInt64Array) => void) | undefined
}): Leases {
  const { db, dir, leaseMs, memory, transaction, locks, registered } = parts
  const host = hostname()
  const held = new Map<string, Slot>()
  /** Locked, but not registered by a commit yet. */
  const locked = new Set<string>()
  const seen = new Map<string, { beat: number; at: number }>()
  const find = db.prepare('SELECT * FROM workers WHERE id = ?')
  const findAll = db.prepare('SELECT * FROM workers')
  const add = db.prepare('INSERT INTO workers(id, host, pid, beat, lease, since) VALUES (?, ?, ?, 1, ?, ?)')
  const renew = db.prepare('UPDATE workers SET beat = beat + 1, lease = ? WHERE id = ?')
  const remove = db.prepare('DELETE FROM workers WHERE id = ?')
  const take = db.prepare('UPDATE streams SET epoch = epoch + 1, owner = ? WHERE id = ?')
  const giveBack = db.prepare('UPDATE streams SET owner = NULL WHERE id = ?')

  function passed(mine: Slot): boolean {
    return process.hrtime.bigint() >= Atomics.load(mine, 0)
  }

  function lapse(mine: Slot): void {
    Atomics.store(mine, 0, 0n)
  }

  function judge(row: Row): boolean {
    const mine = held.get(row.id)
    if (mine !== undefined) return !passed(mine)
    if (row.host === host && !isLocked(lockFileOf(dir, row.id))) return false
    const before = seen.get(row.id)
    const at = performance.now()
    if (before === undefined || before.beat !== row.beat) {
      seen.set(row.id, { beat: row.beat, at })
      return true
    }
    return at - before.at < row.lease
  }

  function isAlive(worker: string): boolean {
    const row = find.get(worker) as Row | undefined
    if (row === undefined) return false
    if (judge(row)) return true
    bury(worker)
    return false
  }

  function bury(worker: string): void {
    remove.run(worker)
    transaction.after(() => {
      seen.delete(worker)
      const mine = held.get(worker)
      if (mine !== undefined) lapse(mine)
      else rmSync(lockFileOf(dir, worker), { force: true })
    })
  }

  function letGo(worker: string, mine: Slot): void {
    lapse(mine)
    held.delete(worker)
    locks.free(worker)
  }

  function give(stream: Stream, worker: string): number {
    take.run(worker, stream.id)
    stream.epoch += 1
    stream.owner = worker
    return stream.epoch
  }

  function expired(worker: string): ConvokeError {
    return new ConvokeError('LEASE_EXPIRED', `the lease of worker ${worker} has passed`, {
      details: { worker, leaseMs },
      next: 'register again as a new worker and claim what is still free',
    })
  }

  return {
    register(worker, slot, since, pid) {
      for (const row of findAll.all() as unknown as readonly Row[]) if (!judge(row)) bury(row.id)
      if (find.get(worker) !== undefined)
        throw new ConvokeError('INPUT_INVALID', `worker ${worker} is registered already`, {
          details: { worker },
          next: 'give each incarnation an id of its own',
        })
      if (!locked.has(worker)) locks.take(worker)
      locked.add(worker)
      add.run(worker, host, pid, Math.ceil(leaseMs), since)
      const began = process.hrtime.bigint()
      transaction.after(() => {
        locked.delete(worker)
        held.set(worker, slot)
        Atomics.store(slot, 0, endOf(began, leaseMs))
        registered?.(worker, slot)
      })
      return undefined
    },
    unregister(worker) {
      const mine = held.get(worker)
      if (mine === undefined) return undefined
      remove.run(worker)
      // Its runs are free from here on.
      transaction.tell()
      transaction.after(() => letGo(worker, mine))
      return undefined
    },
    beat() {
      for (const [worker, mine] of held) {
        if (Atomics.load(mine, 0) === 0n) continue
        const began = process.hrtime.bigint()
        if (passed(mine) || renew.run(Math.ceil(leaseMs), worker).changes === 0) {
          lapse(mine)
          continue
        }
        const ends = endOf(began, leaseMs)
        move(mine, ends, (was) => ends < was)
        transaction.after(() => move(mine, ends, (was) => ends > was))
      }
      return undefined
    },
    adopt(worker, slot) {
      held.set(worker, slot)
    },
    get held() {
      return [...held.keys()]
    },
    get lives() {
      return [...held.values()].some((mine) => Atomics.load(mine, 0) !== 0n)
    },
    claim(tenant, name, worker) {
      const mine = held.get(worker)
      if (mine === undefined || passed(mine)) throw expired(worker)
      const stream = memory.find(tenant, name)
      if (stream === undefined || stream.seq === 0)
        throw new ConvokeError('RUN_UNKNOWN', `${name} has no records`, {
          details: { stream: name },
          next: 'list runs with `convoke runs`',
        })
      if (stream.archived) throw runArchived(name)
      if (stream.owner !== null && stream.owner !== worker) {
        const row = find.get(stream.owner) as Row | undefined
        if (row !== undefined && judge(row)) throw owned(name, row)
        if (row !== undefined) bury(row.id)
      }
      return { epoch: give(stream, worker), seq: stream.seq, hash: stream.hash }
    },
    claimNew(tenant, name, worker) {
      const mine = held.get(worker)
      const stream = memory.find(tenant, name)
      return stream?.epoch === 0 && mine !== undefined && !passed(mine) ? give(stream, worker) : undefined
    },
    release(tenant, name, epoch) {
      const stream = memory.find(tenant, name)
      if (stream === undefined || stream.epoch !== epoch || stream.owner === null) return undefined
      giveBack.run(stream.id)
      stream.owner = null
      transaction.tell(tenant, name)
      return undefined
    },
    isAlive,
    seemsAlive(worker) {
      const row = find.get(worker) as Row | undefined
      return row !== undefined && judge(row)
    },
    check(owner) {
      const mine = held.get(owner)
      if (mine === undefined ? find.get(owner) === undefined : passed(mine)) throw expired(owner)
    },
    close() {
      for (const [worker, mine] of held) letGo(worker, mine)
    },
  }
}

/** Never from 0: another thread may have found meanwhile that the lease has passed. */
function move(slot: Slot, ends: bigint, wanted: (was: bigint) => boolean): void {
  for (let was = Atomics.load(slot, 0); was !== 0n && wanted(was);) {
    const found = Atomics.compareExchange(slot, 0, was, ends)
    if (found === was) return
    was = found
  }
}

function owned(name: string, row: Row): ConvokeError {
  return new ConvokeError('RUN_OWNED', `${name} is driven by worker ${row.id} (process ${row.pid} on ${row.host})`, {
    details: { stream: name, worker: row.id, pid: row.pid, host: row.host, since: row.since, leaseMs: row.lease },
    next: `wait until it parks, or end process ${row.pid}; a stopped process loses its runs after ${row.lease} ms`,
  })
}

/**
 * Whether some process holds the file exclusively. A shared lock is tried, so that two who look at the same time do
 * not take each other for its holder.
 */
export function isLocked(file: string): boolean {
  if (!existsSync(file)) return false
  let probe: DatabaseSync | undefined
  try {
    probe = new DatabaseSync(file, { readOnly: true, timeout: 0 })
    probe.prepare('SELECT count(*) FROM sqlite_schema').get()
    return false
  } catch (error) {
    // What cannot be opened says nothing; the heartbeat decides.
    return isBusy(error) || existsSync(file)
  } finally {
    probe?.close()
  }
}
