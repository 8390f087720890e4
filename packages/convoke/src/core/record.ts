import { canonicalize, quote, settle } from './canonical.ts'
import { ConvokeError } from './errors.ts'
import { sha256 } from './hash.ts'
import type { Json } from './json.ts'
import type { Labels } from './labels.ts'

/** Where a record stands: `<stream>@<seq>`, within its tenant. */
export type RecordRef = string

export type CauseKind = 'input' | 'control' | 'declared' | 'evidence' | 'shown' | 'retry' | 'supersedes' | 'approval'
export interface Cause {
  readonly ref: RecordRef
  readonly kind: CauseKind
}

export interface Actor {
  readonly kind: 'orchestrator' | 'agent' | 'person' | 'tool' | 'model' | 'system'
  readonly id: string
  readonly version?: string
  readonly onBehalfOf?: string
}

/**
 * One event of a stream. `hash` covers the header and `commitment`; `commitment` covers `salt` and the payload, so a
 * payload can be erased together with its salt and the chain stays valid, and nobody can guess a short payload back.
 */
export interface LedgerRecord {
  readonly v: 1
  readonly tenant: string
  readonly stream: string
  /** 1 for the first record of a stream, without gaps. */
  readonly seq: number
  readonly epoch: number
  /** Milliseconds since the Unix epoch, as the writer's clock said. Order is `seq`, never time. */
  readonly at: number
  readonly type: string
  /** A reader that does not know a critical type refuses; an unknown other one is kept and hashed. */
  readonly critical: boolean
  readonly path?: string
  /** Nearest enclosing scope whose inner records need not be loaded once it has finished (an `ask`). */
  readonly fold?: string
  readonly causes: readonly Cause[]
  readonly actor: Actor
  readonly labels: Labels
  /** Content hashes of the blobs that the payload refers to. */
  readonly blobs?: readonly string[]
  /** Hash of the blob that holds the canonical payload when that has 64 KiB or more; `payload` is null then. */
  readonly spill?: string
  readonly payload: Json
  /** 32 hexadecimal digits; empty once the payload was erased. */
  readonly salt: string
  readonly commitment: string
  /** Hash of the record before; 64 zeros for the first. */
  readonly prevHash: string
  readonly hash: string
}

export interface Blob {
  /** SHA-256 of the bytes, hexadecimal. */
  readonly hash: string
  readonly bytes: Uint8Array
  readonly mediaType: string
}

/** What a writer says; the sequencer adds position, hashes and salt. */
export interface Draft {
  readonly type: string
  readonly critical?: boolean
  readonly path?: string
  readonly fold?: string
  readonly causes?: readonly Cause[]
  readonly actor: Actor
  readonly labels: Labels
  readonly blobs?: readonly string[]
  readonly payload: Json
}

export interface Head {
  readonly seq: number
  readonly hash: string
}

export const emptyHash: string = '0'.repeat(64)
export const emptyHead: Head = Object.freeze({ seq: 0, hash: emptyHash })
export const spillBytes: number = 64 * 1024

export function refOf(record: { readonly stream: string; readonly seq: number }): RecordRef {
  return `${record.stream}@${record.seq}`
}

/** @throws RECORD_UNKNOWN when the text is not `<stream>@<seq>` */
export function parseRef(ref: RecordRef): { readonly stream: string; readonly seq: number } {
  const cut = ref.lastIndexOf('@')
  const seq = Number(ref.slice(cut + 1))
  if (cut < 1 || !Number.isSafeInteger(seq) || seq < 1)
    throw new ConvokeError('RECORD_UNKNOWN', `${JSON.stringify(ref)} is not a record: expected <stream>@<seq>`)
  return { stream: ref.slice(0, cut), seq }
}

export interface Sealed {
  readonly record: LedgerRecord
  /** Canonical payload, also when spilled. */
  readonly body: string
  /** Decoded payload, also when spilled. */
  readonly payload: Json
  /** Blob that must be stored with the record when the payload was spilled. */
  readonly spilled?: Blob
}

/** Gives a draft its place in the chain. Pure: time and salt come in. */
export function seal(
  draft: Draft,
  place: {
    readonly tenant: string
    readonly stream: string
    readonly epoch: number
    readonly head: Head
    readonly at: number
    readonly salt: string
  },
): Sealed {
  const { text, value: payload } = settle(draft.payload)
  // Hashing makes one flat text of both: the payload's is a part of it then, not another.
  const salted = place.salt + text
  const commitment = sha256(salted)
  const body = salted.slice(place.salt.length)
  const bytes = body.length * 3 >= spillBytes ? Buffer.from(body, 'utf8') : undefined
  const spilled =
    bytes !== undefined && bytes.length >= spillBytes
      ? { hash: sha256(bytes), bytes, mediaType: 'application/json' }
      : undefined
  const blobs = spilled === undefined ? draft.blobs : [...(draft.blobs ?? []), spilled.hash]
  const record: Mutable<LedgerRecord> = {
    v: 1,
    tenant: place.tenant,
    stream: place.stream,
    seq: place.head.seq + 1,
    epoch: place.epoch,
    at: place.at,
    type: draft.type,
    critical: draft.critical ?? false,
    causes: draft.causes ?? noCauses,
    actor: draft.actor,
    labels: draft.labels,
    payload: spilled === undefined ? payload : null,
    salt: place.salt,
    commitment,
    prevHash: place.head.hash,
    hash: '',
  }
  if (draft.path !== undefined) record.path = draft.path
  if (draft.fold !== undefined) record.fold = draft.fold
  if (blobs !== undefined && blobs.length > 0) record.blobs = blobs
  if (spilled !== undefined) record.spill = spilled.hash
  record.hash = sha256(headerText(record))
  if (spilled === undefined) Object.defineProperty(record, bodyText, { value: body })
  return { record: Object.freeze(record), body, payload, ...(spilled === undefined ? {} : { spilled }) }
}

/** Not enumerable: a copy, or a record with another payload made from it, does not have it. */
const bodyText: unique symbol = Symbol('canonical payload')

/** The canonical text of a record's payload; a record that was sealed here still has it at hand. */
export function bodyOf(record: LedgerRecord): string {
  return (record as { readonly [bodyText]?: string })[bodyText] ?? canonicalize(record.payload)
}

/** Whether the record was sealed by this process, and is as it was then; one that was read may be sealed as well. */
export function isSealed(record: LedgerRecord): boolean {
  return Object.hasOwn(record, bodyText)
}

const noCauses: readonly Cause[] = Object.freeze([])
type Mutable<T> = { -readonly [K in keyof T]: T[K] }
type Header = Omit<LedgerRecord, 'payload' | 'salt' | 'hash'>

/**
 * The text that a record's hash covers: the canonical JSON of everything but payload, salt and hash. Written member by
 * member in sorted order, because it is on the path of every append (a property test holds it against `canonicalize`).
 */
export function headerText(r: Header): string {
  return (
    `{"actor":${small(r.actor)},"at":${r.at},` +
    (r.blobs === undefined ? '' : `"blobs":${JSON.stringify(r.blobs)},`) +
    `"causes":${causesText(r.causes)},"commitment":"${r.commitment}","critical":${r.critical},"epoch":${r.epoch},` +
    (r.fold === undefined ? '' : `"fold":${quote(r.fold)},`) +
    `"labels":${small(r.labels)},` +
    (r.path === undefined ? '' : `"path":${quote(r.path)},`) +
    `"prevHash":"${r.prevHash}","seq":${r.seq},` +
    (r.spill === undefined ? '' : `"spill":"${r.spill}",`) +
    `"stream":${quote(r.stream)},"tenant":${quote(r.tenant)},"type":${quote(r.type)},"v":${r.v}}`
  )
}

function causesText(causes: readonly Cause[]): string {
  let out = '['
  for (const cause of causes)
    out += `${out.length > 1 ? ',' : ''}{"kind":${quote(cause.kind)},"ref":${quote(cause.ref)}}`
  return out + ']'
}

/** Actors and labels are few frozen objects shared by many records. */
const texts = new WeakMap<object, string>()
function small(value: Actor | Labels): string {
  let text = texts.get(value)
  if (text === undefined) {
    text = canonicalize(value)
    if (Object.isFrozen(value)) texts.set(value, text)
  }
  return text
}

/** Whether the header is the one that was hashed; the payload is another matter. */
export function headerHolds(record: LedgerRecord): boolean {
  return sha256(headerText(record)) === record.hash
}

/**
 * Says what is wrong with a record that should follow `previous`, or undefined when nothing is. An erased payload
 * (salt '') passes: its commitment stays in the chain. `body` is the canonical payload where it was spilled, or wherever
 * the reader has the stored text at hand, which saves writing it again; `payload` must be decoded from that text.
 */
export function faultOf(record: LedgerRecord, previous: Head, body?: string): string | undefined {
  if (record.seq !== previous.seq + 1) return `seq ${record.seq} follows ${previous.seq}`
  if (record.prevHash !== previous.hash) return 'prevHash is not the hash of the record before'
  if (!headerHolds(record)) return 'the header does not match the hash'
  if (record.salt === '') return undefined
  if (record.spill !== undefined && body === undefined) return undefined
  if (sha256(record.salt + (body ?? canonicalize(record.payload))) !== record.commitment)
    return 'the payload does not match its commitment'
  return undefined
}
