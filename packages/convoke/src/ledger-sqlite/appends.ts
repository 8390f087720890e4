import type { DatabaseSync } from 'node:sqlite'
import { runArchived } from '../core/archive.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import type { Labels } from '../core/labels.ts'
import { refOf, seal, type Actor, type Cause, type LedgerRecord } from '../core/record.ts'
import type { Posted } from '../ports/ledger.ts'
import type { Blobs } from './blobs.ts'
import type { Guards } from './guards.ts'
import type { Leases } from './leases.ts'
import { isProjected, type Projections } from './projections.ts'
import type { WireAppend, WireBlob, WireExtras, WirePost, WireRecord } from './protocol.ts'
import { hexOf, type Memory, type Stream } from './streams.ts'
import type { Transaction } from './transaction.ts'
import { parseShape, toWire, type Shape } from './wire.ts'

// What goes into streams. Invariants: a record is inserted only at head + 1 with the head's hash and the stream's
// epoch; an append that is refused leaves nothing behind (it is checked before its first write, or has a savepoint, or
// its group is taken back and tried in halves); the same records again change nothing.

const manyShapes = 1_000

export interface Appends {
  append(batch: readonly WireAppend[], extras: WireExtras | null): undefined
  post(message: WirePost): Posted
  /** Records of a copy, of any epoch and also of inboxes: only position and hash count. @throws POSITION_STALE */
  copy(tenant: string, records: readonly (readonly [stream: string, record: WireRecord])[]): void
  /** A record of an archived stream, at the position that it had, or at the next; what stands there already is passed over. */
  restore(tenant: string, stream: string, position: number | null, record: WireRecord): void
}

export function createAppends(parts: {
  readonly db: DatabaseSync
  readonly memory: Memory
  readonly blobs: Blobs
  readonly guards: Guards
  readonly leases: Leases
  readonly projections: Projections
  readonly transaction: Transaction
}): Appends {
  const { db, memory, blobs, guards, leases, projections, transaction } = parts
  const insert = db.prepare(
    'INSERT INTO records(stream, seq, epoch, at, shape, hash, commitment, salt, path, fold, causes, blobs, spill, payload)' +
      ' VALUES (?, ?, ?, ?, ?, unhex(?), unhex(?), unhex(?), ?, ?, ?, ?, ?, ?)',
  )
  const insertAt = db.prepare(
    'INSERT OR IGNORE INTO records(stream, seq, epoch, at, shape, hash, commitment, salt, path, fold, causes, blobs, spill, payload, position)' +
      ' VALUES (?, ?, ?, ?, ?, unhex(?), unhex(?), unhex(?), ?, ?, ?, ?, ?, ?, ?)',
  )
  const findHash = db.prepare('SELECT hash FROM records WHERE stream = ? AND seq = ?')
  const shapes = new Map<string, Shape>()
  const addFold = db.prepare('INSERT OR IGNORE INTO folds(stream, path) VALUES (?, ?)')
  const addDependent = db.prepare('INSERT OR IGNORE INTO dependents(tenant, ref, stream, seq) VALUES (?, ?, ?, ?)')
  const findMessage = db.prepare('SELECT seq FROM messages WHERE stream = ? AND id = ?')
  const addMessage = db.prepare('INSERT INTO messages(stream, id, seq) VALUES (?, ?, ?)')

  /** Shapes are few, but for those with many labels. */
  function shapeOf(text: string): Shape {
    const known = shapes.get(text)
    if (known !== undefined) return known
    const shape = parseShape(text)
    if (shapes.size < manyShapes) shapes.set(text, shape)
    return shape
  }

  /** The records that are not stored yet, after everything that can refuse them. */
  function check(part: WireAppend, stream: Stream | undefined): readonly WireRecord[] {
    if (stream?.archived) throw runArchived(part.stream)
    const fresh = part.records.filter((record) => !isStored(record, stream))
    const first = fresh[0]
    if (first === undefined) return fresh
    checkEpoch(part, stream, first)
    checkPlaces(part.stream, stream, fresh)
    return fresh
  }

  function checkPlaces(name: string, stream: Stream | undefined, fresh: readonly WireRecord[]): void {
    let seq = stream?.seq ?? 0
    let hash = stream?.hash
    for (const record of fresh) {
      if (record[0] !== seq + 1 || (hash !== undefined && record[12] !== hash))
        throw new ConvokeError(
          'POSITION_STALE',
          `${name} ends at ${seq}, the record says ${record[0]}${record[0] === seq + 1 ? ' after another hash' : ''}`,
          {
            details: { stream: name, expected: seq + 1, found: record[0] },
            next: 'read the stream again and go on from its head',
          },
        )
      seq = record[0]
      hash = record[13]
    }
  }

  function isStored(record: WireRecord, stream: Stream | undefined): boolean {
    if (stream === undefined || record[0] > stream.seq) return false
    if (record[0] === stream.seq) return record[13] === stream.hash
    const row = findHash.get(stream.id, record[0]) as { hash: Uint8Array } | undefined
    return row !== undefined && hexOf(row.hash) === record[13]
  }

  function checkEpoch(part: WireAppend, stream: Stream | undefined, first: WireRecord): void {
    const current = stream?.epoch ?? 0
    const creates = (stream?.seq ?? 0) === 0
    if (part.stream.startsWith('inbox/'))
      throw new ConvokeError('INPUT_INVALID', `${part.stream} takes messages, not records`, {
        details: { stream: part.stream },
        next: 'use post',
      })
    const unclaimed = part.stream.startsWith('run/') && part.epoch === 0 && !creates && first[0] !== 1
    if (part.epoch !== current || unclaimed || part.records.some((record) => record[1] !== part.epoch))
      throw new ConvokeError('EPOCH_STALE', `${part.stream} is at epoch ${current}, the append says ${part.epoch}`, {
        details: { stream: part.stream, expected: current, found: part.epoch },
        next: 'stop; another worker drives it, or nobody has claimed it',
      })
    if (stream !== undefined && stream.owner !== null) leases.check(stream.owner)
  }

  function write(
    part: { readonly tenant: string },
    stream: Stream,
    record: WireRecord,
    copied = false,
    position?: number | null,
  ): void {
    const [seq, epoch, at, shape, path, fold, causes, foreign, blobList, spill, salt, commitment, , hash, payload] =
      record
    const { tenant } = part
    const ids =
      blobList === null ? null : JSON.stringify(blobList.split(' ').map((hash) => blobs.id(tenant, hash, copied)))
    const spillId = spill === null ? null : blobs.id(tenant, spill, copied)
    const row = [
      stream.id,
      seq,
      epoch,
      at,
      memory.shape(shape),
      hash,
      commitment,
      salt,
      path,
      fold,
      causes,
      ids,
      spillId,
      payload,
    ] as const
    if (position === undefined) {
      insert.run(...row)
      stream.seq = seq
      stream.hash = hash
    } else insertAt.run(...row, position)
    if (foreign !== null)
      for (const ref of JSON.parse(foreign) as string[]) addDependent.run(tenant, ref, stream.id, seq)
    const ends = shape.startsWith('[1,"step.completed"') || shape.startsWith('[1,"step.failed"')
    if (ends && path !== null && isFolded(tenant, payload, spill)) addFold.run(stream.id, path)
  }

  function bodyOf(tenant: string, payload: string, spill: string | null): Json {
    if (spill === null) return JSON.parse(payload) as Json
    return JSON.parse(Buffer.from(blobs.get(tenant, spill) ?? 'null').toString('utf8')) as Json
  }

  function isFolded(tenant: string, payload: string, spill: string | null): boolean {
    if (spill === null && !payload.includes('"fold":true')) return false
    return (bodyOf(tenant, payload, spill) as { fold?: unknown } | null)?.fold === true
  }

  function noteProjection(part: Pick<WireAppend, 'tenant' | 'stream'>, stream: Stream, record: WireRecord): void {
    const shape = shapeOf(record[3])
    if (!isProjected(part.stream, shape.type)) return
    const whole = {
      ...shape,
      tenant: part.tenant,
      stream: part.stream,
      seq: record[0],
      at: record[2],
      ...(record[4] === null ? undefined : { path: record[4] }),
      payload: bodyOf(part.tenant, record[14], record[9]),
    } as unknown as LedgerRecord
    let told: boolean
    try {
      told = projections.apply(whole, stream.id)
    } catch (error) {
      if (db.isTransaction && error instanceof TypeError)
        throw new ConvokeError('INPUT_INVALID', `${refOf(whole)} is not a whole ${shape.type}: ${error.message}`, {
          details: { stream: part.stream, seq: record[0], type: shape.type },
        })
      throw error
    }
    if (told) transaction.tell(part.tenant, part.stream)
  }

  function appendAll(batch: readonly WireAppend[], extras: WireExtras | null): void {
    if (extras !== null && extras.blobs.length > 0)
      for (const tenant of new Set(batch.map((part) => part.tenant))) blobs.put(tenant, extras.blobs)
    let fresh = batch.length === 0 ? 1 : 0
    for (const part of batch) {
      const found = memory.find(part.tenant, part.stream)
      const records = check(part, found)
      if (records.length === 0) continue
      fresh += records.length
      const stream = found ?? memory.create(part.tenant, part.stream)
      for (const record of records) {
        write(part, stream, record)
        noteProjection(part, stream, record)
      }
    }
    // All of it stood there already: so do its guards and posts.
    if (fresh === 0) return
    for (const guard of extras?.guards ?? []) guards.hold(guard)
    for (const message of extras?.posts ?? []) postOne(message)
  }

  /** Hardly anything can refuse it once its place and epoch are right, so it has no savepoint of its own. */
  function appendOne(part: WireAppend, added: readonly WireBlob[]): void {
    const found = memory.find(part.tenant, part.stream)
    const records = check(part, found)
    transaction.unsaved(() => {
      blobs.put(part.tenant, added)
      if (records.length === 0) return
      const stream = found ?? memory.create(part.tenant, part.stream)
      for (const record of records) {
        write(part, stream, record)
        noteProjection(part, stream, record)
      }
    })
  }

  function postOne(message: WirePost): Posted {
    if (!message.stream.startsWith('inbox/'))
      throw new ConvokeError('INPUT_INVALID', `${message.stream} is not an inbox`, {
        details: { stream: message.stream },
        next: 'use append',
      })
    const stream = memory.find(message.tenant, message.stream) ?? memory.create(message.tenant, message.stream)
    if (stream.archived) throw runArchived(message.stream)
    const seen = findMessage.get(stream.id, message.id) as { seq: number } | undefined
    if (seen !== undefined) return { seq: seen.seq, duplicate: true }
    const sealed = seal(
      {
        type: message.type,
        actor: JSON.parse(message.actor) as Actor,
        labels: JSON.parse(message.labels) as Labels,
        causes: JSON.parse(message.causes) as readonly Cause[],
        payload: JSON.parse(message.payload) as Json,
      },
      {
        tenant: message.tenant,
        stream: message.stream,
        epoch: 0,
        head: { seq: stream.seq, hash: stream.hash },
        at: message.at,
        salt: message.salt,
      },
    )
    if (sealed.spilled !== undefined) blobs.put(message.tenant, [sealed.spilled])
    const record = toWire(sealed.record)
    const part = { tenant: message.tenant, stream: message.stream, epoch: 0, records: [record] }
    write(part, stream, record)
    addMessage.run(stream.id, message.id, stream.seq)
    noteProjection(part, stream, record)
    transaction.tell(message.tenant, message.stream)
    return { seq: stream.seq, duplicate: false }
  }

  return {
    append(batch, extras) {
      transaction.grow()
      const part = batch.length === 1 ? batch[0] : undefined
      if (part === undefined || isConditional(extras)) transaction.nested(() => appendAll(batch, extras))
      else appendOne(part, extras?.blobs ?? [])
      return undefined
    },
    post(message) {
      transaction.grow()
      return transaction.unsaved(() => postOne(message))
    },
    copy(tenant, records) {
      for (const [name, record] of records) {
        const found = memory.find(tenant, name)
        if (isStored(record, found)) continue
        checkPlaces(name, found, [record])
        const stream = found ?? memory.create(tenant, name)
        const part = { tenant, stream: name }
        write(part, stream, record, true)
        const erased = record[10] === '' || (record[9] !== null && blobs.get(tenant, record[9]) === undefined)
        if (!erased) noteProjection(part, stream, record)
      }
    },
    restore(tenant, name, position, record) {
      const stream = memory.find(tenant, name)
      if (stream?.archived) write({ tenant }, stream, record, true, position)
    },
  }
}

function isConditional(extras: WireExtras | null): boolean {
  return extras !== null && (extras.guards.length > 0 || extras.posts.length > 0)
}
