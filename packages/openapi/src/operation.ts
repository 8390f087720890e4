import { ConvokeError, type Json, type JsonObject } from 'convoke'
import type { Document } from './document.ts'
import { chooseMedia, type Body } from './media.ts'
import { isObject, listOf, member, objectOf, strings, textOf } from './shape.ts'

// What a document says about one operation, read once and in the words that the rest of this package uses.

export type Place = 'path' | 'query' | 'header' | 'cookie' | 'querystring'
export type Style =
  'matrix' | 'label' | 'simple' | 'form' | 'spaceDelimited' | 'pipeDelimited' | 'deepObject' | 'cookie'

export interface Parameter {
  /** As it travels. */
  readonly name: string
  /** As callers write it: the same, unless another place has a parameter of that name. */
  readonly argument: string
  readonly in: Place
  readonly required: boolean
  readonly style: Style
  readonly explode: boolean
  readonly allowReserved: boolean
  /** Set for parameters that are documents themselves. */
  readonly media: string | undefined
  readonly schema: Json | undefined
  readonly description: string | undefined
  /** A path parameter whose slashes are part of the path. */
  readonly segments: boolean
}

export interface Answer {
  /** `200`, `2XX` or `default`. */
  readonly status: string
  readonly media: string | undefined
  readonly schema: Json | undefined
  /** Names in lower case. */
  readonly headers: readonly string[]
}

export interface Operation {
  /** `operationId`, or method and path where there is none or another has the same. */
  readonly id: string
  readonly method: string
  readonly path: string
  readonly tags: readonly string[]
  readonly summary: string | undefined
  readonly description: string | undefined
  readonly deprecated: boolean
  readonly parameters: readonly Parameter[]
  readonly body: Body | undefined
  readonly answers: readonly Answer[]
  /** Alternatives; in each, names of security schemes with the scopes they need. */
  readonly security: readonly Readonly<Record<string, readonly string[]>>[]
  readonly servers: readonly Json[]
}

const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace', 'query'] as const

/** Where an operation stands in its document, before anything of it is read. */
export interface Listed {
  readonly id: string
  readonly method: string
  readonly path: string
  readonly tags: readonly string[]
  readonly node: JsonObject
  readonly item: JsonObject
}

/** All operations in the document's order. Duplicate ids are no ids: such operations go by method and path. */
export function listOperations(document: Document): readonly Listed[] {
  const found: (Omit<Listed, 'id'> & { readonly said: string | undefined })[] = []
  for (const [path, entry] of Object.entries(objectOf(member(document.root, 'paths')))) {
    const item = document.follow(entry)
    if (!isObject(item) || !path.startsWith('/')) continue
    const named = methods.map((method): [string, Json | undefined] => [method, member(item, method)])
    const more = Object.entries(objectOf(member(item, 'additionalOperations')))
    for (const [method, node] of [...named, ...more])
      if (isObject(node))
        found.push({
          said: textOf(member(node, 'operationId')),
          method: method.toUpperCase(),
          path,
          tags: strings(member(node, 'tags')),
          node,
          item,
        })
  }
  const times = new Map<string, number>()
  for (const { said } of found) if (said !== undefined) times.set(said, (times.get(said) ?? 0) + 1)
  return found.map(({ said, ...rest }) => ({
    id: said !== undefined && said.trim() !== '' && times.get(said) === 1 ? said : `${rest.method} ${rest.path}`,
    ...rest,
  }))
}

/** Reads an operation. @throws OPENAPI_UNSUPPORTED, OPENAPI_INVALID */
export function readOperation(document: Document, place: Listed): Operation {
  const { node, item, id, method, path, tags } = place
  const summary = textOf(member(node, 'summary')) ?? textOf(member(item, 'summary'))
  const description = textOf(member(node, 'description')) ?? textOf(member(item, 'description'))
  const body = document.follow(member(node, 'requestBody'))
  const bodyless = ['GET', 'HEAD', 'TRACE'].includes(method)
  return {
    id,
    method,
    path,
    tags,
    summary,
    description,
    deprecated: member(node, 'deprecated') === true,
    parameters: readParameters(document, place),
    body: isObject(body) && !bodyless ? chooseMedia(document, body) : undefined,
    answers: readAnswers(document, node),
    security: readSecurity(document, node),
    servers: [member(node, 'servers'), member(item, 'servers'), member(document.root, 'servers')]
      .map(listOf)
      .find((list) => list.length > 0) ?? [{ url: '/' }],
  }
}

/** Set by the connection or by the gateway, whatever a document says (RFC 9110, 7.6.1; OpenAPI: Parameter Object). */
const unsettable = new Set([
  'accept',
  'accept-encoding',
  'authorization',
  'connection',
  'content-length',
  'content-type',
  'cookie',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

function readParameters(document: Document, { node, item, path, id }: Listed): readonly Parameter[] {
  const byPlace = new Map<string, JsonObject>()
  for (const entry of [...listOf(member(item, 'parameters')), ...listOf(member(node, 'parameters'))]) {
    const parameter = document.follow(entry)
    const [name, where] = [textOf(member(parameter, 'name')), textOf(member(parameter, 'in'))]
    if (!isObject(parameter) || name === undefined || where === undefined) continue
    byPlace.set(`${where}\n${where === 'header' ? name.toLowerCase() : name}`, parameter)
  }
  const out: Parameter[] = []
  const taken = new Set(['body'])
  for (const parameter of byPlace.values()) {
    const name = textOf(member(parameter, 'name')) as string
    const where = textOf(member(parameter, 'in')) as Place
    if (where === 'header' && unsettable.has(name.toLowerCase())) continue
    // Some documents list parameters that their path does not have.
    if (where === 'path' && !path.includes(`{${name}}`)) continue
    let argument = name.replace(/[^A-Za-z0-9_.-]+/g, '_').slice(0, 64) || where
    if (taken.has(argument)) argument = `${argument}_${where}`
    for (let n = 2; taken.has(argument); n++) argument = `${argument}_${n}`
    taken.add(argument)
    out.push({ ...parameterOf(document, parameter, name, where), argument })
  }
  for (const [, name = ''] of path.matchAll(/\{([^{}]+)\}/g))
    if (!out.some((p) => p.in === 'path' && p.name === name))
      throw unsupported(id, `its path needs ${name}, which is no parameter`)
  return out
}

function parameterOf(
  document: Document,
  parameter: JsonObject,
  name: string,
  where: Place,
): Omit<Parameter, 'argument'> {
  const content = Object.entries(objectOf(member(parameter, 'content')))[0]
  const style =
    (textOf(member(parameter, 'style')) as Style | undefined) ??
    (where === 'query' || where === 'cookie' ? 'form' : 'simple')
  const explode = member(parameter, 'explode')
  const schema = content === undefined ? member(parameter, 'schema') : member(document.follow(content[1]), 'schema')
  return {
    name,
    in: where,
    required: where === 'path' || member(parameter, 'required') === true,
    style,
    explode: typeof explode === 'boolean' ? explode : style === 'form' || style === 'cookie',
    allowReserved: member(parameter, 'allowReserved') === true,
    media: content?.[0],
    schema,
    description: textOf(member(parameter, 'description')),
    segments: where === 'path' && member(parameter, 'x-multi-segment') === true,
  }
}

function readAnswers(document: Document, node: JsonObject): readonly Answer[] {
  return Object.entries(objectOf(member(node, 'responses'))).map(([status, entry]) => {
    const answer = document.follow(entry)
    const content = Object.entries(objectOf(member(answer, 'content')))
    const json = content.find(([media]) => isJson(media)) ?? content[0]
    return {
      status: status.toUpperCase() === 'DEFAULT' ? 'default' : status.toUpperCase(),
      media: json?.[0],
      schema: json === undefined ? undefined : member(document.follow(json[1]), 'schema'),
      headers: Object.keys(objectOf(member(answer, 'headers'))).map((name) => name.toLowerCase()),
    }
  })
}

function readSecurity(document: Document, node: JsonObject): Operation['security'] {
  const list = member(node, 'security') ?? member(document.root, 'security')
  return listOf(list).map((entry) =>
    Object.fromEntries(Object.entries(objectOf(entry)).map(([name, scopes]) => [name, strings(scopes)])),
  )
}

export function isJson(media: string): boolean {
  const type = media.split(';')[0]?.trim().toLowerCase() ?? ''
  return type === 'application/json' || type.endsWith('+json') || type === '*/*' || type === 'application/*'
}

export function unsupported(operation: string, why: string): ConvokeError {
  return new ConvokeError('OPENAPI_UNSUPPORTED', `operation ${operation} cannot be a tool: ${why}`, {
    details: { operation },
    next: 'leave the operation out, or write a tool() for it',
  })
}
