import { canonicalize, deepFreeze } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import type { Json } from '../core/json.ts'
import { noLabels, type Labels } from '../core/labels.ts'
import type { Actor, Cause, CauseKind, LedgerRecord } from '../core/record.ts'
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

export function shapeText(r: Pick<LedgerRecord, 'v' | 'type' | 'critical' | 'actor' | 'labels'>): string {
  return JSON.stringify([r.v, r.type, r.critical, r.actor, r.labels])
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
export function causesText(causes: readonly Cause[], stream: string): string | null {
  if (causes.length === 0) return null
  const out: string[] = []
  for (const { kind, ref } of causes) {
    const own = ref.startsWith(stream) && ref.charCodeAt(stream.length) === 64
    out.push(letters[kind] + (own ? ref.slice(stream.length) : ref))
  }
  return JSON.stringify(out)
}

export function parseCauses(text: string | null, stream: string): readonly Cause[] {
  if (text === null) return []
  return (JSON.parse(text) as readonly string[]).map((item) => ({
    kind: kinds[item.charAt(0)] as CauseKind,
    ref: item.charCodeAt(1) === 64 ? stream + item.slice(1) : item.slice(1),
  }))
}

export function toWire(record: LedgerRecord): WireRecord {
  return [
    record.seq,
    record.epoch,
    record.at,
    shapeText(record),
    record.path ?? null,
    record.fold ?? null,
    causesText(record.causes, record.stream),
    record.blobs === undefined || record.blobs.length === 0 ? null : record.blobs.join(' '),
    record.spill ?? null,
    record.salt,
    record.commitment,
    record.prevHash,
    record.hash,
    canonicalize(record.payload),
  ]
}

/** A record within a page, as JSON. */
type PageRow = readonly [
  stream: string | 0,
  seq: number,
  epoch: number,
  at: number,
  shape: number,
  path: string | 0,
  fold: string | 0,
  causes: readonly Cause[],
  blobs: readonly string[] | 0,
  spill: string | 0,
  salt: string,
  commitment: string,
  prevHash: string,
  hash: string,
  payload: Json,
  position: number,
]

/** Puts the records of a page together, frozen. `shapes` is the client's collection and grows. */
export function fromPage(
  page: Page,
  place: { readonly tenant: string; readonly stream?: string },
  shapes: Map<number, Shape>,
): { readonly position: number; readonly record: LedgerRecord }[] {
  for (const [id, text] of page.shapes) shapes.set(id, parseShape(text))
  const rows = JSON.parse(page.text) as readonly PageRow[]
  return rows.map((row) => {
    const shape = shapes.get(row[4])!
    const record: LedgerRecord = {
      v: shape.v,
      tenant: place.tenant,
      stream: row[0] === 0 ? place.stream! : row[0],
      seq: row[1],
      epoch: row[2],
      at: row[3],
      type: shape.type,
      critical: shape.critical,
      ...(row[5] === 0 ? undefined : { path: row[5] }),
      ...(row[6] === 0 ? undefined : { fold: row[6] }),
      causes: deepFreeze(row[7] as unknown as Json) as unknown as readonly Cause[],
      actor: shape.actor,
      labels: shape.labels,
      ...(row[8] === 0 ? undefined : { blobs: Object.freeze(row[8]) }),
      ...(row[9] === 0 ? undefined : { spill: row[9] }),
      payload: deepFreeze(row[14]),
      salt: row[10],
      commitment: row[11],
      prevHash: row[12],
      hash: row[13],
    }
    return { position: row[15], record: Object.freeze(record) }
  })
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
