import {
  causesText,
  bodyOf,
  canonicalize,
  ConvokeError,
  emptyHash,
  headerText,
  isProjected,
  outsideLabels,
  project,
  refOf,
  runIdOf,
  seal,
  sha256,
  shapeText,
  type AppendOptions,
  type Blob,
  type Change,
  type Guard,
  type InboxMessage,
  type Json,
  type LedgerRecord,
  type StreamAppend,
  type StreamRef,
} from 'convoke/adapter'
import { toText } from './text.ts'

// An append taken apart: everything that can be said of it before the store has been asked. Pure.

export interface Prepared {
  readonly parts: readonly PreparedPart[]
  readonly blobs: readonly Blob[]
  readonly tenants: readonly string[]
  readonly guards: readonly Guard[]
  readonly posts: readonly PreparedPost[]
  /** Streams it concerns, as keys. */
  readonly streams: readonly StreamRef[]
  /** About how much it weighs on its way, in bytes. */
  readonly size: number
}

export interface PreparedPart {
  readonly ref: StreamRef
  readonly epoch: number
  readonly records: readonly PreparedRecord[]
  /** Why none of it can be appended unless it stands there already: 1 an inbox, 2 another epoch, 3 no chain. */
  readonly refuse: 0 | 1 | 2 | 3
}

export interface PreparedRecord {
  readonly record: LedgerRecord
  readonly shape: string
  readonly body: string
  readonly causes: string | null
  readonly foreign: readonly string[]
  readonly fold: boolean
  readonly changes: readonly object[]
}

export interface PreparedPost {
  readonly ref: StreamRef
  readonly id: string
  readonly shape: string
  readonly record: LedgerRecord
  readonly body: string
  /** The header's text around the previous hash and the position, which only the store knows. */
  readonly before: string
  readonly after: string
  readonly causes: string | null
  readonly foreign: readonly string[]
  readonly changes: readonly object[]
  readonly spilled: Blob | undefined
}

/** @throws TENANT_MISSING, NAME_INVALID, INPUT_INVALID, RECORD_UNSUPPORTED, NOT_CANONICAL, LEDGER_CORRUPT */
export function prepareAppend(batch: readonly StreamAppend[], options: AppendOptions, salt: () => string): Prepared {
  const { blobs = [], guards = [], posts = [] } = options
  checkBlobs(blobs)
  const parts = mergeParts(batch).map((part) => preparePart(part, blobs))
  const made = posts.map(({ ref, message }) => preparePost(ref, message, salt()))
  const tenants = [...new Set(batch.map((part) => part.ref.tenant))]
  let size = 0
  for (const { records } of parts) for (const { body } of records) size += body.length + 300
  for (const blob of blobs) size += blob.bytes.length * 2
  return {
    parts,
    blobs,
    tenants,
    guards,
    posts: made,
    streams: [
      ...parts.map((part) => part.ref),
      ...made.map((post) => post.ref),
      ...guards.flatMap((guard) => (guard.kind === 'inbox' ? [guard.ref] : [])),
    ],
    size,
  }
}

export function checkBlobs(blobs: readonly Blob[]): void {
  for (const blob of blobs)
    if (sha256(blob.bytes) !== blob.hash)
      throw new ConvokeError('LEDGER_CORRUPT', `the bytes of blob ${blob.hash} have another hash`, {
        details: { hash: blob.hash },
        next: 'hash the very bytes that are stored',
      })
}

/** Records for one stream in several parts are one part. */
function mergeParts(batch: readonly StreamAppend[]): readonly StreamAppend[] {
  if (batch.length < 2) return batch
  const merged = new Map<string, StreamAppend>()
  for (const part of batch) {
    const key = keyOf(part.ref)
    const before = merged.get(key)
    merged.set(key, before === undefined ? part : { ...before, records: [...before.records, ...part.records] })
  }
  return [...merged.values()]
}

export function keyOf(ref: StreamRef): string {
  return `${ref.tenant}\0${ref.stream}`
}

function preparePart(part: StreamAppend, blobs: readonly Blob[]): PreparedPart {
  const { tenant, stream } = part.ref
  checkRef(part.ref)
  let refuse: PreparedPart['refuse'] = stream.startsWith('inbox/') ? 1 : 0
  let before: LedgerRecord | undefined
  for (const record of part.records) {
    if (record.tenant !== tenant || record.stream !== stream)
      throw new ConvokeError('INPUT_INVALID', `a record of ${record.stream} cannot be appended to ${stream}`, {
        details: { tenant, stream, found: record.stream },
      })
    if ((record.v as number) !== 1)
      throw new ConvokeError('RECORD_UNSUPPORTED', `record version ${String(record.v)} is not known`, {
        details: { stream, seq: record.seq },
      })
    if (refuse === 0 && record.epoch !== part.epoch) refuse = 2
    if (refuse === 0 && before !== undefined && (record.seq !== before.seq + 1 || record.prevHash !== before.hash))
      refuse = 3
    before = record
  }
  return {
    ref: part.ref,
    epoch: part.epoch,
    records: part.records.map((record) => prepareRecord(record, blobs)),
    refuse,
  }
}

const sum = /^[0-9a-f]{64}$/
const saltForm = /^(?:[0-9a-f]{32})?$/
const ends = /^step\.(?:completed|failed)$/

function prepareRecord(record: LedgerRecord, blobs: readonly Blob[], erased = false): PreparedRecord {
  if (!sum.test(record.hash) || !sum.test(record.commitment) || !saltForm.test(record.salt))
    throw new ConvokeError('INPUT_INVALID', `${refOf(record)} is not a sealed record`, {
      details: { stream: record.stream, seq: record.seq },
      next: 'seal it: hash and commitment are 64 lower-case hexadecimal digits, the salt 32',
    })
  const { text: causes, foreign } = causesText(record.causes, record.stream)
  const whole = (): LedgerRecord => {
    const blob = record.spill === undefined ? undefined : blobs.find((one) => one.hash === record.spill)
    return blob === undefined
      ? record
      : { ...record, payload: JSON.parse(Buffer.from(blob.bytes).toString('utf8')) as Json }
  }
  return {
    record,
    shape: shapeText(record),
    body: bodyOf(record),
    causes,
    foreign: foreign === null ? [] : (JSON.parse(foreign) as string[]),
    fold: ends.test(record.type) && (whole().payload as { fold?: unknown } | null)?.fold === true,
    changes: !erased && isProjected(record.stream, record.type) ? changesOf(whole()) : [],
  }
}

/** Records of a copy. What was erased, itself or its blob, says nothing to the projections any more. */
export async function prepareCopy(
  records: readonly LedgerRecord[],
  given: readonly { readonly hash: string; readonly bytes?: Uint8Array }[],
  getBlob: (hash: string) => Promise<Uint8Array | undefined>,
): Promise<readonly PreparedRecord[]> {
  return await Promise.all(
    records.map(async (record) => {
      const { spill } = record
      const says = ends.test(record.type) || isProjected(record.stream, record.type)
      if (spill === undefined || !says) return prepareRecord(record, [], record.salt === '')
      const bytes = given.find(({ hash }) => hash === spill)?.bytes ?? (await getBlob(spill))
      return bytes === undefined
        ? prepareRecord(record, [], true)
        : prepareRecord(record, [{ hash: spill, bytes, mediaType: 'application/json' }])
    }),
  )
}

/** What projections say of a record, as the store merges it. @throws INPUT_INVALID */
export function changesOf(record: LedgerRecord): object[] {
  let changes: readonly Change[]
  try {
    changes = project(record)
  } catch (error) {
    throw new ConvokeError('INPUT_INVALID', `${refOf(record)} is not a whole ${record.type}`, {
      details: { stream: record.stream, seq: record.seq, type: record.type },
      cause: error,
    })
  }
  const inbox = record.stream.startsWith('inbox/')
  const run = runIdOf(record.stream)
  return changes.map((change) => {
    if (change.kind === 'wake') return { kind: 'wake', id: change.run, at: change.at, inbox }
    if (change.kind === 'approval') return { kind: 'approval', id: change.id, run, set: change.set, inbox }
    const { dueClear, parkedClear, ...set } = change.set
    const clear = [...(dueClear ? ['due'] : []), ...(parkedClear ? ['parkedOn'] : [])]
    return { kind: 'run', id: change.run, set, clear, inbox }
  })
}

/** @throws TENANT_MISSING, NAME_INVALID, INPUT_INVALID, NOT_CANONICAL */
export function preparePost(ref: StreamRef, message: InboxMessage, salt: string): PreparedPost {
  checkRef(ref)
  if (!ref.stream.startsWith('inbox/'))
    throw new ConvokeError('INPUT_INVALID', `${ref.stream} is not an inbox`, {
      details: { stream: ref.stream },
      next: 'use append',
    })
  if (typeof message.id !== 'string' || message.id === '')
    throw new ConvokeError('INPUT_INVALID', 'a message needs an id of its sender', {
      next: 'give the message an id that stays the same when it is sent again',
    })
  const plain = <T>(value: T): T => JSON.parse(canonicalize(value)) as T
  const { record, body, payload, spilled } = seal(
    {
      type: message.type,
      actor: plain(message.actor),
      labels: plain(message.labels ?? outsideLabels),
      causes: plain(message.causes ?? []),
      payload: message.payload,
    },
    { ...ref, epoch: 0, head: { seq: -1, hash: emptyHash }, at: message.at, salt },
  )
  const header = headerText(record)
  // The last such text: no string of what follows can hold an unescaped quote.
  const place = `"prevHash":"${emptyHash}","seq":0`
  const cut = header.lastIndexOf(place)
  const causes = causesText(record.causes, record.stream)
  return {
    ref,
    id: message.id,
    shape: shapeText(record),
    record,
    body: spilled === undefined ? body : 'null',
    before: header.slice(0, cut) + '"prevHash":"',
    after: header.slice(cut + place.length),
    causes: causes.text,
    foreign: causes.foreign === null ? [] : (JSON.parse(causes.foreign) as string[]),
    changes: changesOf({ ...record, payload }),
    spilled,
  }
}

export function checkTenant(tenant: string): string {
  if (typeof tenant !== 'string' || tenant === '')
    throw new ConvokeError('TENANT_MISSING', 'the call names no tenant', {
      next: "pass the tenant; a single one is called 'local'",
    })
  return tenant
}

export function checkRef(ref: StreamRef): void {
  checkTenant(ref.tenant)
  if (!/^[a-z]+\/./.test(ref.stream))
    throw new ConvokeError(
      'NAME_INVALID',
      `${JSON.stringify(ref.stream)} does not name a stream: expected <kind>/<id>`,
      { details: { stream: String(ref.stream) } },
    )
}

/** Tenant and name as the store holds them. */
export function placeOf(ref: StreamRef): [tenant: string, name: string] {
  checkRef(ref)
  return [toText(ref.tenant), toText(ref.stream)]
}
