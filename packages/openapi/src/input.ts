import type { Json, JsonObject } from 'convoke'
import type { Document } from './document.ts'
import { fileSchema, isFile, type Body } from './media.ts'
import type { Operation, Parameter } from './operation.ts'
import { bundler, type Bundler } from './schema.ts'
import { isObject, listOf, member, objectOf, put, strings } from './shape.ts'

/**
 * What a tool takes: an object of the operation's parameters by name, and `body`. Parameters that the app fills in
 * itself are not in it.
 */
export function inputSchema(document: Document, operation: Operation, filled: ReadonlySet<Parameter>): JsonObject {
  const b = bundler(document, 'input')
  const properties: Record<string, Json> = {}
  const required: string[] = []
  for (const parameter of operation.parameters) {
    if (filled.has(parameter)) continue
    put(properties, parameter.argument, described(b.convert(parameter.schema ?? true), parameter))
    if (parameter.required) required.push(parameter.argument)
  }
  const { body } = operation
  if (body !== undefined) {
    put(properties, 'body', bodySchema(document, body, b))
    if (body.required) required.push('body')
  }
  const defs = b.defs()
  return {
    type: 'object',
    properties,
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
    ...(Object.keys(defs).length === 0 ? {} : { $defs: defs }),
  }
}

function described(schema: Json, parameter: Parameter): JsonObject {
  const own: JsonObject = isObject(schema) ? schema : {}
  const text = parameter.description
  if (parameter.in !== 'path') return text === undefined || 'description' in own ? own : { ...own, description: text }
  // An empty segment is another path.
  const type = own['type']
  return {
    ...own,
    ...(type === 'string' && own['minLength'] === undefined ? { minLength: 1 } : {}),
    ...(text === undefined || 'description' in own ? {} : { description: text }),
  }
}

function bodySchema(document: Document, body: Body, b: Bundler): Json {
  if (body.kind === 'bytes') return fileSchema
  if (body.kind === 'text') return { type: 'string', description: `${body.media}` }
  if (body.kind !== 'multipart') return b.convert(body.schema ?? true)
  const schema = document.follow(body.schema)
  const properties: Record<string, Json> = {}
  for (const [name, part] of Object.entries(objectOf(member(schema, 'properties')))) {
    const target = document.follow(part)
    if (isFile(target)) put(properties, name, fileSchema)
    else if (isFile(document.follow(member(target, 'items'))))
      put(properties, name, { type: 'array', items: fileSchema })
    else put(properties, name, b.convert(part))
  }
  const mandatory = strings(member(schema, 'required')).filter((name) => Object.hasOwn(properties, name))
  return {
    type: 'object',
    properties,
    ...(mandatory.length === 0 ? {} : { required: mandatory }),
    ...(listOf(member(schema, 'allOf')).length > 0 || Object.keys(properties).length === 0
      ? {}
      : { additionalProperties: false }),
  }
}
