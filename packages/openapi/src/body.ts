import { ConvokeError, type Json, type ToolContext } from 'convoke'
import type { Body } from './media.ts'
import type { Style } from './operation.ts'
import { entriesOf, queryPairs, scalar, wrong } from './parameters.ts'
import { isObject, member, textOf } from './shape.ts'

/** What fetch takes as a body, as far as this package makes it. */
export type RequestBody = string | Uint8Array<ArrayBuffer> | FormData

/**
 * Writes a body as its media type wants it, and sets the content type.
 * @throws TOOL_INPUT_INVALID for bytes that are not base64; BLOB_MISSING for a file that is not there
 */
export async function encodeBody(
  body: Body | undefined,
  value: Json | undefined,
  headers: Headers,
  context: ToolContext,
): Promise<RequestBody | undefined> {
  if (body === undefined || value === undefined) return undefined
  if (body.kind !== 'multipart') headers.set('content-type', body.media)
  switch (body.kind) {
    case 'json':
      return JSON.stringify(value)
    case 'text':
      return scalar(value)
    case 'form':
      return formText(body, value)
    case 'bytes':
      return (await fileOf(value, 'body', context)).bytes
    case 'multipart':
      return multipart(body, value, context)
  }
}

/** application/x-www-form-urlencoded: members are written like query parameters, as their encoding says. */
function formText(body: Body, value: Json): string {
  return entriesOf(value)
    .flatMap(([name, part]) => {
      const encoding = member(body.encoding, name)
      const style = (textOf(member(encoding, 'style')) ?? 'form') as Style
      const explode = member(encoding, 'explode')
      const media = textOf(member(encoding, 'contentType'))
      return queryPairs(
        {
          name,
          style,
          explode: typeof explode === 'boolean' ? explode : style === 'form',
          allowReserved: false,
          media: media !== undefined && /json/i.test(media) ? media : undefined,
        },
        part,
      )
    })
    .map(([name, text]) => `${name}=${text}`)
    .join('&')
    .replaceAll('%20', '+')
}

async function multipart(body: Body, value: Json, context: ToolContext): Promise<FormData> {
  const form = new FormData()
  for (const [name, part] of entriesOf(value)) {
    const said = textOf(member(member(body.encoding, name), 'contentType'))
      ?.split(',')[0]
      ?.trim()
    for (const item of Array.isArray(part) ? (part as readonly Json[]) : [part]) {
      if (isFileValue(item)) {
        const file = await fileOf(item, `body/${name}`, context)
        form.append(name, new Blob([file.bytes], { type: file.type ?? said ?? 'application/octet-stream' }), file.name)
      } else if (isObject(item) || said !== undefined) {
        const text = isObject(item) ? JSON.stringify(item) : scalar(item)
        form.append(name, new Blob([text], { type: said ?? 'application/json' }))
      } else form.append(name, scalar(item))
    }
  }
  return form
}

function isFileValue(value: Json): boolean {
  return isObject(value) && (typeof value['base64'] === 'string' || typeof value['blob'] === 'string')
}

interface FileValue {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly name: string
  readonly type: string | undefined
}

async function fileOf(value: Json, argument: string, context: ToolContext): Promise<FileValue> {
  const name = (textOf(member(value, 'name')) ?? 'file').replace(/[\0-\x1f\x7f"\\/]/g, '_').slice(0, 200)
  const said = textOf(member(value, 'type'))
  const type = said !== undefined && /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(said) ? said : undefined
  const hash = textOf(member(value, 'blob'))
  if (hash === undefined) {
    const base64 = textOf(member(value, 'base64')) ?? ''
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64) || base64.length % 4 === 1) throw wrong({ argument }, 'is not base64')
    return { bytes: Uint8Array.from(Buffer.from(base64, 'base64')), name, type }
  }
  const bytes = await context.blob(hash)
  if (bytes === undefined)
    throw new ConvokeError('BLOB_MISSING', `${argument} names a file that the run does not have`, {
      details: { blob: hash.slice(0, 200) },
    })
  return { bytes: Uint8Array.from(bytes), name, type }
}
