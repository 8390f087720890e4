import { canonicalize } from '../core/canonical.ts'
import { ConvokeError } from '../core/errors.ts'
import { sha256 } from '../core/hash.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Blob, RecordRef } from '../core/record.ts'
import { estimateTokens } from '../costs/estimate.ts'

export type Transform = 'verbatim' | 'summary' | 'redacted'

/** A piece of what an agent is shown. */
export interface Segment {
  /** Text, or a value that is shown as JSON. */
  readonly content: Json
  /** Where it comes from: an outcome, a record, or a source's name such as `input` or `policy`. */
  readonly from?: string | { readonly record: RecordRef }
  readonly title?: string
  /** What was done to it on the way; `verbatim` unless said. */
  readonly transform?: Transform
  /** Milliseconds since the epoch at which it was true; the time it is shown unless said. */
  readonly asOf?: number
}

/** A segment as one agent saw it. `ref` is the record that proves that it did. */
export interface Shown {
  /** Short name by which claims cite it: `s1`, `s2`, … in the order shown. */
  readonly id: string
  readonly text: string
  readonly hash: string
  /** Record it comes from, or the name of a source. */
  readonly from: string
  readonly title?: string
  readonly transform: Transform
  readonly asOf: number
  /** An estimate. */
  readonly tokens: number
}

/** @throws INPUT_INVALID for an empty segment */
export function prepare(segment: Segment, id: string, at: number, redact: (value: Json) => Json): Shown {
  const content = redact(segment.content)
  if (content === undefined)
    throw new ConvokeError('INPUT_INVALID', `segment ${id} of a briefing has no content`, {
      next: 'give it a text or a value',
    })
  const text = typeof content === 'string' ? content.toWellFormed() : canonicalize(content)
  return {
    id,
    text,
    hash: sha256(text),
    from: sourceOf(segment.from),
    ...(segment.title === undefined ? {} : { title: segment.title }),
    transform: segment.transform ?? 'verbatim',
    asOf: segment.asOf ?? at,
    tokens: estimateTokens(text),
  }
}

function sourceOf(from: Segment['from']): string {
  if (from === undefined) return 'agent'
  return typeof from === 'string' ? from : from.record
}

/** Whether a source is a record rather than a name. */
export function isRef(from: string): boolean {
  return /^[a-z]+\/.+@\d+$/.test(from)
}

export function segmentBlob(shown: Shown): Blob {
  return { hash: shown.hash, bytes: Buffer.from(shown.text, 'utf8'), mediaType: 'text/plain' }
}

/** How the record lists it; its text is the blob of that hash. */
export function segmentJson(shown: Shown): JsonObject {
  const { text: _, ...listed } = shown
  return { ...listed }
}

/** How the model sees it. */
export function segmentText(shown: Shown): string {
  const title = shown.title === undefined ? '' : ` title=${JSON.stringify(shown.title)}`
  const note = shown.transform === 'verbatim' ? '' : ` transform="${shown.transform}"`
  return `<segment id="${shown.id}"${title}${note}>\n${shown.text}\n</segment>`
}
