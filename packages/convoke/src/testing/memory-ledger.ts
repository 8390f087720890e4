import { randomBytes } from 'node:crypto'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import { noLabels } from '../core/labels.ts'
import { emptyHead, faultOf, refOf, seal, type Blob, type LedgerRecord } from '../core/record.ts'
import { runArchived } from '../core/archive.ts'
import { runIdOf } from '../core/projections.ts'
import { createMemoryArchive } from './memory-archive.ts'
import { hold } from './memory-guards.ts'
import { copyOf, emptyState, keyOf, type State, type Stream } from './memory-state.ts'
import type { AppendOptions, Claim, InboxMessage, Ledger, Posted, StreamAppend, StreamRef } from '../ports/ledger.ts'
import { createWorkers, type Workers } from './memory-workers.ts'

// What a ledger means, in the plainest way, to hold the real ones against. It keeps nothing and is never a store.
// Owns all state of one store; ledgers opened on it share it, as processes share a folder. An append works on a copy
// of what it changes and puts it in place at its end, so a refusal leaves nothing behind.

export interface MemoryStore {
  open(): Ledger
}

function checkPart({ ref, records }: StreamAppend): void {
  if (ref.tenant === '') throw new ConvokeError('TENANT_MISSING', 'the append names no tenant')
  for (const record of records) {
    if (record.tenant !== ref.tenant || record.stream !== ref.stream)
      throw new ConvokeError('INPUT_INVALID', 'a record of another stream')
    if ((record.v as number) !== 1) throw new ConvokeError('RECORD_UNSUPPORTED', 'an unknown version')
  }
}

const outside = Object.freeze({ ...noLabels, integrity: 'untrusted' as const, sources: Object.freeze(['inbox']) })

export function createMemoryStore(options: { readonly salt?: () => string } = {}): MemoryStore {
  const salt = options.salt ?? (() => randomBytes(16).toString('hex'))
  const keys = new Map<string, Uint8Array>()
  const log: LedgerRecord[] = []
  const listeners = new Set<Parameters<Ledger['onChange']>[0]>()
  const workers: Workers = createWorkers()
  let state: State = emptyState()

  function commit<T>(act: (draft: State, added: LedgerRecord[]) => T): T {
    const draft = copyOf(state)
    const added: LedgerRecord[] = []
    const value = act(draft, added)
    state = draft
    log.push(...added)
    for (const listener of listeners) queueMicrotask(listener)
    return value
  }

  function streamOf(draft: State, ref: StreamRef): Stream {
    const key = keyOf(ref.tenant, ref.stream)
    let stream = draft.streams.get(key)
    if (stream === undefined)
      draft.streams.set(key, (stream = { ref, records: [], epoch: 0, owner: undefined, archived: false }))
    return stream
  }

  function put(draft: State, tenant: string, blobs: readonly Blob[]): void {
    for (const { hash, bytes } of blobs) {
      if (sha256(bytes) !== hash) throw new ConvokeError('LEDGER_CORRUPT', `blob ${hash} has other bytes`)
      draft.blobs.set(keyOf(tenant, hash), Uint8Array.from(bytes))
      draft.orphans.delete(keyOf(tenant, hash))
    }
  }

  function add(draft: State, record: LedgerRecord, added: LedgerRecord[]): void {
    for (const hash of [...(record.blobs ?? []), ...(record.spill === undefined ? [] : [record.spill])])
      if (!draft.blobs.has(keyOf(record.tenant, hash))) throw new ConvokeError('BLOB_MISSING', `no blob ${hash}`)
    streamOf(draft, record).records.push(record)
    added.push(record)
    draft.tables.apply(record, (hash) => draft.blobs.get(keyOf(record.tenant, hash)))
  }

  function appendPart(draft: State, part: StreamAppend, added: LedgerRecord[]): number {
    const stream = streamOf(draft, part.ref)
    if (stream.archived) throw runArchived(part.ref.stream)
    const fresh = part.records.filter((record) => stream.records[record.seq - 1]?.hash !== record.hash)
    const first = fresh[0]
    if (first === undefined) return 0
    if (part.ref.stream.startsWith('inbox/')) throw new ConvokeError('INPUT_INVALID', 'use post')
    const unclaimed =
      part.ref.stream.startsWith('run/') && part.epoch === 0 && stream.records.length > 0 && first.seq !== 1
    if (part.epoch !== stream.epoch || unclaimed || part.records.some((record) => record.epoch !== part.epoch))
      throw new ConvokeError('EPOCH_STALE', `${part.ref.stream} is at epoch ${stream.epoch}`, {
        details: { stream: part.ref.stream, expected: stream.epoch, found: part.epoch },
      })
    if (stream.owner !== undefined) workers.check(stream.owner)
    for (const record of fresh) {
      const head = stream.records.at(-1) ?? emptyHead
      if (record.seq !== head.seq + 1 || record.prevHash !== head.hash)
        throw new ConvokeError('POSITION_STALE', `${part.ref.stream} ends at ${head.seq}`, {
          details: { stream: part.ref.stream, expected: head.seq + 1, found: record.seq },
        })
      add(draft, record, added)
    }
    return fresh.length
  }

  function postOne(draft: State, ref: StreamRef, message: InboxMessage, added: LedgerRecord[]): Posted {
    if (!ref.stream.startsWith('inbox/')) throw new ConvokeError('INPUT_INVALID', `${ref.stream} is not an inbox`)
    if (message.id === '') throw new ConvokeError('INPUT_INVALID', 'a message needs an id')
    const key = keyOf(ref.tenant, ref.stream, message.id)
    const { archived, records } = streamOf(draft, ref)
    const before = draft.seen.get(key)
    if (before !== undefined && !archived) return { seq: before, duplicate: true }
    const { type, at, actor, causes = [], labels = outside, payload } = message
    const draftRecord = { type, actor, causes, labels, payload }
    const sealed = seal(draftRecord, { ...ref, epoch: 0, head: records.at(-1) ?? emptyHead, at, salt: salt() })
    if (archived) throw runArchived(ref.stream)
    if (sealed.spilled !== undefined) put(draft, ref.tenant, [sealed.spilled])
    add(draft, sealed.record, added)
    draft.seen.set(key, sealed.record.seq)
    return { seq: sealed.record.seq, duplicate: false }
  }

  function append(draft: State, batch: readonly StreamAppend[], extras: AppendOptions, added: LedgerRecord[]): void {
    for (const tenant of new Set(batch.map((part) => part.ref.tenant))) put(draft, tenant, extras.blobs ?? [])
    let fresh = 0
    for (const part of batch) fresh += appendPart(draft, part, added)
    if (batch.length > 0 && fresh === 0) return
    for (const guard of extras.guards ?? []) hold(draft, guard, streamOf)
    for (const { ref, message } of extras.posts ?? []) postOne(draft, ref, message, added)
  }

  function claim(draft: State, ref: StreamRef, worker: string): Claim {
    const stream = streamOf(draft, ref)
    stream.epoch += 1
    stream.owner = worker
    const head = stream.records.at(-1) ?? emptyHead
    return { epoch: stream.epoch, seq: head.seq, hash: head.hash }
  }

  function read(ref: StreamRef, from: number, limit: number, outline: boolean): LedgerRecord[] {
    const stream = state.streams.get(keyOf(ref.tenant, ref.stream))
    if (stream?.archived && limit > 0) throw runArchived(ref.stream)
    const records = stream?.records ?? []
    let head = emptyHead
    for (const record of records) {
      const why = faultOf(record, head)
      if (why !== undefined) throw new ConvokeError('LEDGER_CORRUPT', `${refOf(record)}: ${why}`)
      head = record
    }
    const folds = state.tables.folds(ref)
    return records
      .filter((record) => record.seq >= from && !(outline && record.fold !== undefined && folds.has(record.fold)))
      .slice(0, limit)
  }

  function tenantKey(tenant: string): Uint8Array {
    const known = keys.get(tenant) ?? randomBytes(32)
    keys.set(tenant, known)
    return known
  }

  function open(): Ledger {
    let closed = false
    const mine = new Set<string>()
    const own = new Set<() => void>()
    const awake = new Set<() => void>()

    function guard<T>(tenant: string | undefined, act: () => T): Promise<T> {
      return Promise.resolve().then(() => {
        if (closed) throw new ConvokeError('LEDGER_CLOSED', 'the ledger is closed')
        if (tenant === '') throw new ConvokeError('TENANT_MISSING', 'the call names no tenant')
        return act()
      })
    }
    const at = <T>(ref: StreamRef, act: () => T): Promise<T> =>
      guard(ref.tenant, () => {
        if (!/^[a-z]+\/./.test(ref.stream)) throw new ConvokeError('NAME_INVALID', `${ref.stream} is not a stream`)
        return act()
      })
    const wakeAll = (): void => {
      for (const wake of awake) wake()
      awake.clear()
    }
    listeners.add(wakeAll)

    async function* follow(tenant: string, after: number): AsyncGenerator<{ position: number; record: LedgerRecord }> {
      for (let position = after; !closed;) {
        const record = log[position]
        if (record === undefined) {
          await new Promise<void>((resolve) => awake.add(resolve))
          continue
        }
        position += 1
        if (record.tenant === tenant && !isArchived(record)) yield { position, record }
      }
    }

    return {
      append: (batch, extras = {}) =>
        guard(undefined, () => {
          for (const part of batch) checkPart(part)
          commit((draft, added) => append(draft, batch, extras, added))
        }),
      post: (ref, message) => at(ref, () => commit((draft, added) => postOne(draft, ref, message, added))),
      read: (ref, { from = 1, limit = 1_000, outline = false } = {}) => at(ref, () => read(ref, from, limit, outline)),
      head: (ref) =>
        at(ref, () => {
          const last = state.streams.get(keyOf(ref.tenant, ref.stream))?.records.at(-1)
          return last === undefined ? emptyHead : { seq: last.seq, hash: last.hash }
        }),
      heads: (tenant, { after = '', limit = 1_000 } = {}) =>
        guard(tenant, () =>
          [...state.streams.values()]
            .filter((s) => s.ref.tenant === tenant && s.records.length > 0 && s.ref.stream > after)
            .map((s) => ({ stream: s.ref.stream, seq: s.records.length, hash: s.records.at(-1)?.hash ?? '' }))
            .sort((a, b) => (a.stream < b.stream ? -1 : 1))
            .slice(0, limit),
        ),
      register: (worker) =>
        guard(undefined, () => {
          const lease = workers.register(worker)
          mine.add(worker)
          return lease
        }),
      claim: (ref, worker) =>
        at(ref, () => {
          workers.check(worker)
          if (!state.streams.get(keyOf(ref.tenant, ref.stream))?.records.length)
            throw new ConvokeError('RUN_UNKNOWN', `${ref.stream} has no records`)
          return commit((draft) => {
            const stream = streamOf(draft, ref)
            if (stream.archived) throw runArchived(ref.stream)
            if (stream.owner !== undefined && stream.owner !== worker && workers.isAlive(stream.owner))
              throw new ConvokeError('RUN_OWNED', `${ref.stream} is driven by ${stream.owner}`, {
                details: { worker: stream.owner, pid: process.pid, host: '' },
              })
            return claim(draft, ref, worker)
          })
        }),
      begin: (first, worker, options = {}) =>
        at(first.ref, () => {
          checkPart(first)
          return commit((draft, added) => {
            append(draft, [first], options, added)
            const isFree = streamOf(draft, first.ref).epoch === 0 && workers.isAlive(worker)
            return isFree ? claim(draft, first.ref, worker) : undefined
          })
        }),
      release: (ref, epoch) =>
        at(ref, () =>
          commit((draft) => {
            const stream = streamOf(draft, ref)
            if (stream.epoch === epoch) stream.owner = undefined
          }),
        ),
      getBlob: (tenant, hash) => guard(tenant, () => state.blobs.get(keyOf(tenant, hash))),
      putBlobs: (tenant, blobs) => guard(tenant, () => commit((draft) => put(draft, tenant, blobs))),
      isAlive: (worker) => guard(undefined, () => workers.isAlive(worker)),
      run: (ref) => guard(ref.tenant, () => state.tables.run(ref.tenant, runIdOf(ref.stream), ownerOf)),
      runs: (filter) => guard(filter.tenant, () => state.tables.runs(filter, ownerOf)),
      approval: (tenant, id) => guard(tenant, () => state.tables.approval(tenant, id)),
      approvals: (filter) => guard(filter.tenant, () => state.tables.approvals(filter)),
      ready: ({ now, limit, tenant }) =>
        guard(undefined, () =>
          state.tables
            .ready(now, tenant)
            .filter(({ ref }) => {
              const owner = ownerOf(ref)
              return owner === undefined || !workers.isAlive(owner)
            })
            .slice(0, limit),
        ),
      nextDue: (now) => guard(undefined, () => state.tables.nextDue(now)),
      dependents: (tenant, ref) =>
        guard(tenant, () =>
          log
            .filter(
              (r) =>
                !isArchived(r) &&
                r.tenant === tenant &&
                !ref.startsWith(r.stream + '@') &&
                r.causes.some((c) => c.ref === ref),
            )
            .sort((a, b) => (a.stream === b.stream ? a.seq - b.seq : a.stream < b.stream ? -1 : 1))
            .map(refOf),
        ),
      guardOwner: (tenant, key) => guard(tenant, () => state.uniques.get(keyOf(tenant, key))),
      tenantKey: (tenant) => guard(tenant, () => tenantKey(tenant)),
      watch: (tenant, after = 0) => {
        const records = follow(tenant, after === 'now' ? log.length : after)
        return {
          [Symbol.asyncIterator]: () => ({
            next: () => records.next(),
            return: () => Promise.resolve({ done: true as const, value: undefined }),
          }),
        }
      },
      onChange(listener) {
        const called = (): void => listener()
        listeners.add(called)
        own.add(called)
        return () => {
          listeners.delete(called)
        }
      },
      archive: createMemoryArchive({
        state: () => state,
        commit,
        log,
        isAlive: (worker) => workers.isAlive(worker),
        guard,
      }),
      close() {
        closed = true
        for (const worker of mine) workers.end(worker)
        for (const called of own) listeners.delete(called)
        wakeAll()
        listeners.delete(wakeAll)
        return Promise.resolve()
      },
    }
  }

  function isArchived(record: LedgerRecord): boolean {
    return state.streams.get(keyOf(record.tenant, record.stream))?.archived ?? false
  }

  function ownerOf(ref: StreamRef): string | undefined {
    return state.streams.get(keyOf(ref.tenant, ref.stream))?.owner
  }

  return { open }
}
