import type { Validator } from '@seriousme/openapi-schema-validator'
import { ConvokeError, type Json, type JsonObject } from 'convoke'
import { isObject, listOf, member, textOf } from './shape.ts'

/** A document that can be used: valid, complete in itself, and nobody else's object. */
export interface Document {
  /** `3.0`, `3.1` or `3.2`. */
  readonly version: '3.0' | '3.1' | '3.2'
  readonly root: JsonObject
  /** What a `#/…` or `#anchor` reference points to. @throws OPENAPI_INVALID when nothing is there */
  lookup(ref: string): Json
  /** The same, through references to references. */
  follow(value: Json | undefined): Json | undefined
}

/** It compiles the schemas of OpenAPI once. Patterns of other languages and odd addresses are no reason to refuse. */
let validator: Promise<Validator> | undefined

const maxText = 64 * 1024 * 1024
const maxHops = 32
const maxDepth = 500

/** Whoever holds a document already knows where it came from; reading files and addresses is not done here. */
export type DocumentSource = string | JsonObject | Readonly<Record<string, unknown>>

/**
 * Reads a document from JSON or YAML text, or from an object, which is copied. `checked`: its form was looked at before,
 * by a test for instance; then only references are.
 * @throws OPENAPI_INVALID with the problems; OPENAPI_REF_EXTERNAL for a reference to another document;
 *   OPENAPI_UNSUPPORTED for a version before 3.0, and for dynamic references
 */
export async function readDocument(source: DocumentSource, checked: boolean = false): Promise<Document> {
  const root = await plain(source)
  const version = versionOf(root)
  const anchors = survey(root)
  if (!checked) await assertValid(root)
  const lookup = (ref: string): Json => {
    const found = ref.startsWith('#/') || ref === '#' ? at(root, ref) : anchors.get(ref.slice(1))
    if (found === undefined) throw invalid(`${ref} points to nothing`, [ref])
    return found
  }
  return {
    version,
    root,
    lookup,
    follow(value) {
      let found = value
      for (let hops = 0; isObject(found); hops++) {
        const ref = textOf(member(found, '$ref'))
        if (ref === undefined) break
        if (hops > maxHops) throw invalid(`${ref} refers to itself`, [ref])
        found = lookup(ref)
      }
      return found
    },
  }
}

/** The validator weighs more than the rest of this package: it is loaded when it is needed. */
async function assertValid(root: JsonObject): Promise<void> {
  let verdict: Awaited<ReturnType<Validator['validate']>>
  try {
    validator ??= import('@seriousme/openapi-schema-validator').then((m) => new m.Validator({ validateFormats: false }))
    verdict = await (await validator).validate(root)
  } catch (error) {
    throw invalid(`it cannot be checked: ${error instanceof Error ? error.message : String(error)}`, [])
  }
  if (!verdict.valid) throw refused(verdict.errors)
}

async function plain(source: DocumentSource): Promise<JsonObject> {
  let value: unknown
  try {
    if (typeof source === 'string') {
      if (source.length > maxText) throw invalid(`it is longer than ${maxText} characters`, [])
      // Aliases are a way to make a small text huge; YAML's own limit on them holds.
      value = /^\s*\{/.test(source) ? JSON.parse(source) : (await import('yaml')).parse(source, { maxAliasCount: 100 })
    } else value = source
    // A copy: what the caller does with the object later changes no tool, and what is no data is refused here.
    value = JSON.parse(JSON.stringify(value))
  } catch (error) {
    if (error instanceof ConvokeError) throw error
    throw invalid(`it is neither JSON nor YAML: ${error instanceof Error ? error.message.slice(0, 500) : ''}`, [])
  }
  if (!isObject(value as Json)) throw invalid('it is no object', [])
  return value as JsonObject
}

function versionOf(root: JsonObject): Document['version'] {
  const said = textOf(member(root, 'openapi')) ?? textOf(member(root, 'swagger'))
  const version = (['3.0', '3.1', '3.2'] as const).find((known) => said?.startsWith(`${known}.`) || said === known)
  if (version !== undefined && member(root, 'openapi') !== undefined) return version
  throw new ConvokeError(
    'OPENAPI_UNSUPPORTED',
    `OpenAPI ${said ?? 'of an unknown version'} is not supported; 3.0, 3.1 and 3.2 are`,
    {
      details: { version: said ?? null },
      next: 'convert the document to OpenAPI 3',
    },
  )
}

/** Values under these are data, in which `$ref` is just a key. */
const data = new Set(['example', 'examples', 'default', 'enum', 'const', 'x-examples'])

/** One walk over all of it: refuses what leads elsewhere, finds anchors. Not recursive, as documents are foreign. */
function survey(root: JsonObject): Map<string, Json> {
  const anchors = new Map<string, Json>()
  const stack: { readonly value: Json; readonly depth: number }[] = [{ value: root, depth: 0 }]
  for (let item = stack.pop(); item !== undefined; item = stack.pop()) {
    const { value, depth } = item
    if (depth > maxDepth) throw invalid(`it is nested deeper than ${maxDepth}`, [])
    if (Array.isArray(value)) {
      for (const part of value as readonly Json[])
        if (typeof part === 'object') stack.push({ value: part, depth: depth + 1 })
      continue
    }
    if (!isObject(value)) continue
    for (const [key, part] of Object.entries(value)) {
      if (typeof part === 'string') {
        if (key === '$ref' && !part.startsWith('#')) throw external(part)
        if (key === '$dynamicRef') throw unsupported('it uses $dynamicRef')
        if (key === '$anchor') anchors.set(part, value)
      } else if (!data.has(key)) stack.push({ value: part, depth: depth + 1 })
    }
  }
  return anchors
}

function at(root: JsonObject, ref: string): Json | undefined {
  let found: Json | undefined = root
  for (const part of ref.split('/').slice(1)) {
    let key: string
    try {
      key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
    } catch {
      return undefined
    }
    found = Array.isArray(found) ? listOf(found)[Number(key)] : member(found, key)
  }
  return found
}

type Problems = Awaited<ReturnType<Validator['validate']>>['errors']

function refused(problems: Problems): ConvokeError {
  if (problems === undefined || typeof problems === 'string') return invalid(problems ?? 'no reason was given', [])
  const lines = problems
    .slice(0, 20)
    .map((p) => `${p.instancePath === '' ? 'the document' : p.instancePath}: ${p.message ?? p.keyword}`)
  return invalid(lines.slice(0, 3).join('; '), lines)
}

export function invalid(why: string, problems: readonly string[]): ConvokeError {
  return new ConvokeError('OPENAPI_INVALID', `the OpenAPI document cannot be used: ${why}`, {
    details: { problems: problems.map((p) => p.slice(0, 500).toWellFormed()) },
    next: 'correct the document, or take one that its publisher has checked',
  })
}

function unsupported(why: string): ConvokeError {
  return new ConvokeError('OPENAPI_UNSUPPORTED', `the OpenAPI document cannot be used: ${why}`, {
    next: 'bundle the document without it',
  })
}

function external(ref: string): ConvokeError {
  return new ConvokeError(
    'OPENAPI_REF_EXTERNAL',
    `the document refers to another one: ${JSON.stringify(ref.slice(0, 200))}`,
    {
      details: { ref: ref.slice(0, 200).toWellFormed() },
      next: 'bundle the documents into one, after a look at where they come from',
    },
  )
}
