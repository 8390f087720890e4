import { canonicalize, deepFreeze, quote } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { noLabels, type Labels } from '../core/labels.ts'
import { bodyOf, isSealed, type Actor, type Cause, type CauseKind, type LedgerRecord } from '../core/record.ts'
import type { AppendOptions, Guard, InboxMessage, StreamRef } from '../ports/ledger.ts'
import type { Page, WireBlob, WireExtras, WireGuard, WirePost, WireRecord } from './protocol.ts'

// How a record is taken apart for the store and put together again. What follows from its place (tenant, stream,
// prevHash) is not stored with it; type, actor and labels repeat so much that they are stored once as a shape.

export interface Shape {
  readonly v: 1
  readonly type: string
  readonly critical: boolean
  readonly actor: Actor
  readonly labels: Labels
}

type Shaped = Pick<LedgerRecord, 'v' | 'type' | 'critical' | 'actor' | 'labels'>

let last: { readonly of: Shaped; readonly text: string } | undefined

/** Most records have the shape of the one before. */
export function shapeText(r: Shaped): string {
  const of = last?.of
  const same = of?.type === r.type && of.actor === r.actor && of.labels === r.labels && of.critical === r.critical
  if (same && of.v === r.v && Object.isFrozen(r.actor) && Object.isFrozen(r.labels))
    return (last as { text: string }).text
  const text = JSON.stringify([r.v, r.type, r.critical, r.actor, r.labels])
  last = { of: { v: r.v, type: r.type, critical: r.critical, actor: r.actor, labels: r.labels }, text }
  return text
}

export function parseShape(text: string): Shape {
  const [v, type, critical, actor, labels] = JSON.parse(text) as [1, string, boolean, Actor, Labels]
  deepFreeze(actor as unknown as Json)
  deepFreeze(labels as unknown as Json)
  return { v, type, critical, actor, labels }
}

const letters: Readonly<Record<CauseKind, string>> = {
  input: 'i',
  control: 'c',
  declared: 'd',
  evidence: 'e',
  shown: 's',
  retry: 'r',
  supersedes: 'u',
  approval: 'a',
}
const kinds: Readonly<Record<string, CauseKind>> = Object.fromEntries(
  Object.entries(letters).map(([kind, letter]) => [letter, kind as CauseKind]),
)

/** `["c@12"]`: kind, then the place, where the stream is left out when it is the record's own. */
export function causesText(
  causes: readonly Cause[],
  stream: string,
): { readonly text: string | null; readonly foreign: string | null } {
  if (causes.length === 0) return noCauses
  const out: string[] = []
  const foreign: string[] = []
  for (const { kind, ref } of causes) {
    const own = ref.startsWith(stream) && ref.charCodeAt(stream.length) === 64
    if (!own) foreign.push(ref)
    out.push(letters[kind] + (own ? ref.slice(stream.length) : ref))
  }
  return { text: JSON.stringify(out), foreign: foreign.length === 0 ? null : JSON.stringify(foreign) }
}
const noCauses = { text: null, foreign: null } as const

export function parseCauses(text: string | null, stream: string): readonly Cause[] {
  return text === null ? none : causesFrom(JSON.parse(text) as readonly string[], stream)
}

function causesFrom(items: readonly string[], stream: string): readonly Cause[] {
  const causes = items.map((item) =>
    Object.freeze({
      kind: kinds[item.charAt(0)] as CauseKind,
      ref: item.charCodeAt(1) === 64 ? stream + item.slice(1) : item.slice(1),
    }),
  )
  return Object.freeze(causes)
}
const none: readonly Cause[] = Object.freeze([])

/** Stored causes as a record's header holds them: what `parseCauses` gives, as canonical JSON. */
export function causesAsHashed(text: string, stream: string): string {
  let out = ''
  for (const item of JSON.parse(text) as readonly string[]) {
    const ref = item.charCodeAt(1) === 64 ? stream + item.slice(1) : item.slice(1)
    out += `${out === '' ? '' : ','}{"kind":"${String(kinds[item.charAt(0)])}","ref":${quote(ref)}}`
  }
  return `[${out}]`
}

const sum = /^[0-9a-f]{64}$/
const saltForm = /^(?:[0-9a-f]{32})?$/

/** @throws INPUT_INVALID when the record was not sealed */
export function toWire(record: LedgerRecord): WireRecord {
  if (!isSealed(record) && (!sum.test(record.hash) || !sum.test(record.commitment) || !saltForm.test(record.salt)))
    throw new ConvokeError('INPUT_INVALID', `${record.stream}@${record.seq} is not a sealed record`, {
      details: { stream: record.stream, seq: record.seq },
      next: 'seal it: hash and commitment are 64 lower-case hexadecimal digits, the salt 32',
    })
  const causes = causesText(record.causes, record.stream)
  return [
    record.seq,
    record.epoch,
    record.at,
    shapeText(record),
    record.path ?? null,
    record.fold ?? null,
    causes.text,
    causes.foreign,
    record.blobs === undefined || record.blobs.length === 0 ? null : record.blobs.join(' '),
    record.spill ?? null,
    record.salt,
    record.commitment,
    record.prevHash,
    record.hash,
    bodyOf(record),
  ]
}

/** A record within a page, as JSON: what is stored, as it is stored, so that the thread has little to do with it. */
type PageRow = readonly [
  stream: string | 0,
  seq: number,
  epoch: number,
  at: number,
  shape: number,
  path: string | 0,
  fold: string | 0,
  causes: readonly string[] | 0,
  blobs: readonly string[] | 0,
  spill: string | 0,
  /** Hash, commitment and salt, one after the other. */
  sums: string,
  /** 0 when it is the hash of the row before. */
  prevHash: string | 0,
  payload: Json,
  position: number,
]

/** Puts the records of a page together, frozen. `shapes` is the client's collection and grows. */
export function fromPage(
  page: Page,
  place: { readonly tenant: string; readonly stream?: string },
  shapes: Map<number, Shape>,
): { readonly position: number; readonly record: LedgerRecord }[] {
  for (const [id, text] of page.shapes) if (!shapes.has(id)) shapes.set(id, parseShape(text))
  const out: { readonly position: number; readonly record: LedgerRecord }[] = []
  let last = ''
  for (const text of page.texts)
    for (const row of JSON.parse(text) as readonly PageRow[]) {
      const record = fromRow(row, place, shapes.get(row[4]) as Shape, last)
      last = record.hash
      out.push({ position: row[13], record })
    }
  return out
}

function fromRow(
  row: PageRow,
  place: { readonly tenant: string; readonly stream?: string },
  shape: Shape,
  last: string,
): LedgerRecord {
  const stream = row[0] === 0 ? (place.stream ?? '') : row[0]
  const sums = row[10]
  const record: { -readonly [K in keyof LedgerRecord]: LedgerRecord[K] } = {
    v: shape.v,
    tenant: place.tenant,
    stream,
    seq: row[1],
    epoch: row[2],
    at: row[3],
    type: shape.type,
    critical: shape.critical,
    causes: row[7] === 0 ? none : causesFrom(row[7], stream),
    actor: shape.actor,
    labels: shape.labels,
    payload: deepFreeze(row[12]),
    salt: sums.slice(128),
    commitment: sums.slice(64, 128),
    prevHash: row[11] === 0 ? last : row[11],
    hash: sums.slice(0, 64),
  }
  if (row[5] !== 0) record.path = row[5]
  if (row[6] !== 0) record.fold = row[6]
  if (row[8] !== 0) record.blobs = Object.freeze(row[8])
  if (row[9] !== 0) record.spill = row[9]
  return Object.freeze(record)
}

export const outsideLabels: Labels = Object.freeze({
  ...noLabels,
  integrity: 'untrusted',
  sources: Object.freeze(['inbox']),
})

/** @throws NOT_CANONICAL when the message cannot be written */
export function toWirePost(ref: StreamRef, message: InboxMessage, salt: string): WirePost {
  if (typeof message.id !== 'string' || message.id === '')
    throw new ConvokeError('INPUT_INVALID', 'a message needs an id of its sender', {
      next: 'give the message an id that stays the same when it is sent again',
    })
  return {
    tenant: ref.tenant,
    stream: ref.stream,
    id: message.id,
    type: message.type,
    at: message.at,
    actor: canonicalize(message.actor),
    causes: canonicalize(message.causes ?? []),
    labels: canonicalize(message.labels ?? outsideLabels),
    payload: canonicalize(message.payload),
    salt,
  }
}

export function toWireExtras(options: AppendOptions | undefined, salt: () => string): WireExtras | null {
  if (options === undefined) return null
  const { blobs = [], guards = [], posts = [] } = options
  if (blobs.length === 0 && guards.length === 0 && posts.length === 0) return null
  return {
    blobs: blobs.map(toWireBlob),
    guards: guards.map(toWireGuard),
    posts: posts.map(({ ref, message }) => toWirePost(ref, message, salt())),
  }
}

export function toWireBlob(blob: WireBlob): WireBlob {
  return { hash: blob.hash, bytes: blob.bytes, mediaType: blob.mediaType }
}

function toWireGuard(guard: Guard): WireGuard {
  return guard.kind === 'inbox'
    ? { kind: 'inbox', tenant: guard.ref.tenant, stream: guard.ref.stream, seq: guard.seq }
    : { ...guard }
}
