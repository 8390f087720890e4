import type { Json, JsonObject } from 'convoke'
import type { Document } from './document.ts'
import { isJson, type Answer, type Operation } from './operation.ts'
import { bundler } from './schema.ts'
import { isObject, listOf, member, objectOf, strings } from './shape.ts'

/** How an operation's answers go on, as far as its document tells. */
export interface Paging {
  /** The `Link` header of RFC 8288 names the next page. */
  readonly link: boolean
  /** Arguments that choose a page. */
  readonly arguments: readonly string[]
  /** Members of an answer that lead to the next one. */
  readonly members: readonly string[]
}

const pageArguments =
  /^(?:page|per_page|page_?size|page_?token|page_?number|cursor|after|before|starting_after|ending_before|offset|limit|start|next_?token|continuation_?token|marker|max_?results|\$?skip|\$?top|since)$/i
const pageMembers =
  /^(?:next|next_?page|next_?cursor|next_?page_?token|next_?token|has_?more|cursor|continuation_?token|@odata\.nextlink|next_?link|marker)$/i

export function pagingOf(document: Document, operation: Operation): Paging | undefined {
  if (operation.method !== 'GET') return undefined
  const ok = good(operation)
  const link = ok.some((answer) => answer.headers.includes('link'))
  const args = operation.parameters.filter((p) => p.in === 'query' && pageArguments.test(p.name)).map((p) => p.argument)
  const properties = ok.flatMap((answer) => Object.keys(objectOf(member(document.follow(answer.schema), 'properties'))))
  const members = [...new Set(properties.filter((name) => pageMembers.test(name)))]
  if (!link && args.length === 0 && members.length === 0) return undefined
  return { link, arguments: args, members }
}

/** A sentence for whoever calls. */
export function pagingHint(paging: Paging): string {
  const parts = [
    paging.arguments.length === 0 ? '' : `choose a page with ${paging.arguments.join(', ')}`,
    paging.link ? 'the answer is { items, next }: call again with the members of next until there is none' : '',
    !paging.link && paging.members.length > 0 ? `the answer's ${paging.members.join(', ')} leads on` : '',
  ]
  return `Paginated: ${parts.filter((part) => part !== '').join('; ')}.`
}

function good(operation: Operation): readonly Answer[] {
  const ok = operation.answers.filter((answer) => answer.status.startsWith('2'))
  return ok.length > 0 ? ok : operation.answers.filter((answer) => answer.status === 'default')
}

/** What a tool gives: what the document promises for success and for the statuses that count as answers. */
export function outputSchema(
  document: Document,
  operation: Operation,
  paged: boolean,
  alsoAnswers: readonly number[],
): JsonObject | undefined {
  const b = bundler(document, 'output')
  const schemas: Json[] = []
  for (const answer of good(operation)) {
    if (answer.media === undefined) schemas.push({ type: 'null' })
    else if (isJson(answer.media)) schemas.push(b.convert(answer.schema ?? true))
    else schemas.push(otherSchema(answer.media))
  }
  // A document may forget to say that nothing comes back; what it does say is held to.
  if (schemas.length === 0) return undefined
  const body: Json = schemas.length === 1 ? (schemas[0] as Json) : { anyOf: schemas }
  const value = paged ? pageSchema(body) : body
  const refusals = alsoAnswers.map((status): Json => {
    const answer = operation.answers.find(
      (a) => a.status === String(status) || a.status === `${Math.floor(status / 100)}XX`,
    )
    return {
      type: 'object',
      properties: { status: { const: status }, body: b.convert(answer?.schema ?? true) },
      required: ['status'],
    }
  })
  const schema: Json = refusals.length === 0 ? value : { anyOf: [value, ...refusals] }
  const defs = b.defs()
  const own = isObject(schema) ? schema : schema === false ? { not: {} } : {}
  return Object.keys(defs).length === 0 ? own : { ...own, $defs: defs }
}

function pageSchema(items: Json): Json {
  return {
    type: 'object',
    properties: { items, next: { type: 'object', description: 'arguments of the next page' } },
    required: ['items'],
  }
}

function otherSchema(media: string): Json {
  return isText(media)
    ? { type: 'string' }
    : {
        type: 'object',
        properties: { mediaType: { type: 'string' }, base64: { type: 'string' } },
        required: ['mediaType', 'base64'],
      }
}

function isText(media: string): boolean {
  return /^(?:text\/|application\/(?:xml|x-yaml|yaml|javascript|x-ndjson|jsonl|graphql))|\+xml$/i.test(media.trim())
}

/** Reads an answer by what it says it is. */
export async function readAnswer(response: Response): Promise<Json> {
  const media = (response.headers.get('content-type') ?? '').split(';')[0]?.trim() ?? ''
  if (response.status === 204 || response.status === 205 || response.status === 304) return null
  if (media === '' || isJson(media) || media.toLowerCase() === 'text/json') {
    const text = await response.clone().text()
    if (text.trim() === '') return null
    // `json()` of the gateway's responses keeps digits.
    return (await response.json()) as Json
  }
  if (isText(media)) return response.text()
  const bytes = Buffer.from(await response.arrayBuffer())
  return bytes.length === 0 ? null : { mediaType: media, base64: bytes.toString('base64') }
}

/** The arguments of the next page, from a `Link` header (RFC 8288) to the same address with another query. */
export function nextPage(header: string | null, operation: Operation, asked: string): JsonObject | undefined {
  const target = /<([^<>]*)>\s*;[^,]*\brel\s*=\s*"?[^",;]*\bnext\b/i.exec(header ?? '')?.[1]
  const url = target === undefined ? null : URL.parse(target, asked)
  if (url === null) return undefined
  const named = operation.parameters.filter((p) => p.in === 'query' && url.searchParams.has(p.name))
  const before = new URL(asked).searchParams
  const next = named
    .filter((p) => url.searchParams.get(p.name) !== before.get(p.name))
    .map((p) => [p.argument, typed(url.searchParams.get(p.name) ?? '', p.schema)] as const)
  return next.length === 0 ? undefined : Object.fromEntries(next)
}

function typed(text: string, schema: Json | undefined): Json {
  const type = member(schema, 'type')
  const numeric = type === 'integer' || type === 'number' || strings(listOf(type)).includes('integer')
  return numeric && /^\d{1,15}$/.test(text) ? Number(text) : text
}
