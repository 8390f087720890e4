import type { Json, JsonObject } from 'convoke'
import type { Document } from './document.ts'
import { isObject, member, objectOf, textOf } from './shape.ts'

/** How a body is written: as callers give it, and as it travels. */
export type BodyKind = 'json' | 'form' | 'multipart' | 'text' | 'bytes'

export interface Body {
  readonly media: string
  readonly kind: BodyKind
  readonly required: boolean
  readonly schema: Json | undefined
  readonly description: string | undefined
  /** How single members of a form travel; see the Encoding Object. */
  readonly encoding: JsonObject
}

const order: readonly BodyKind[] = ['json', 'form', 'multipart', 'text', 'bytes']

/** The media type that is best to write, of those that a request body offers. */
export function chooseMedia(document: Document, body: JsonObject): Body | undefined {
  const offers = Object.entries(objectOf(member(body, 'content')))
    .map(([media, entry]) => ({ media: media.trim(), kind: kindOf(media), content: document.follow(entry) }))
    .sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))
  const best = offers[0]
  if (best === undefined) return undefined
  return {
    // A range names no type that could be sent.
    media: best.media.includes('*')
      ? best.kind === 'json'
        ? 'application/json'
        : 'application/octet-stream'
      : best.media,
    kind: best.kind,
    required: member(body, 'required') === true,
    schema: member(best.content, 'schema'),
    description: textOf(member(body, 'description')),
    encoding: objectOf(member(best.content, 'encoding')),
  }
}

function kindOf(media: string): BodyKind {
  const type = media.split(';')[0]?.trim().toLowerCase() ?? ''
  if (type === 'application/json' || type.endsWith('+json') || type === '*/*') return 'json'
  if (type === 'application/x-www-form-urlencoded') return 'form'
  if (type.startsWith('multipart/')) return 'multipart'
  if (type.startsWith('text/') || type === 'application/xml' || type.endsWith('+xml')) return 'text'
  return 'bytes'
}

/** Bytes travel in JSON as base64, with a name and a type where a file has them. */
export const fileSchema: JsonObject = {
  type: 'object',
  description: 'a file: its bytes in base64, or `blob`, the hash of a file that the run was given',
  properties: {
    base64: { type: 'string' },
    blob: { type: 'string' },
    name: { type: 'string' },
    type: { type: 'string', description: 'media type' },
  },
  oneOf: [{ required: ['base64'] }, { required: ['blob'] }],
  additionalProperties: false,
}

/** Whether a member of a form is a file: 3.0 says `format: binary`, newer documents `contentMediaType` or nothing. */
export function isFile(schema: Json | undefined): boolean {
  if (!isObject(schema)) return false
  const type = member(schema, 'type')
  if (member(schema, 'format') === 'binary') return type === undefined || type === 'string'
  if (textOf(member(schema, 'contentMediaType')) !== undefined)
    return member(schema, 'contentEncoding') === undefined && type !== 'object' && type !== 'array'
  return false
}
