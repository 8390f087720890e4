import {
  ConvokeError,
  tool,
  type Accepts,
  type EffectClass,
  type Json,
  type JsonObject,
  type NetworkRules,
  type Tool,
  type ToolContext,
  type ToolLabels,
  type ToolRetry,
} from 'convoke'
import { nextPage, outputSchema, pagingHint, pagingOf, readAnswer } from './answer.ts'
import { authenticator, nobody, type Auth } from './auth.ts'
import { readDocument, type Document, type DocumentSource } from './document.ts'
import { inputSchema } from './input.ts'
import { toolNames } from './names.ts'
import { listOperations, readOperation, unsupported, type Listed, type Operation, type Parameter } from './operation.ts'
import { draft, finish, inputOf, type Fill } from './request.ts'
import { select, type Choice } from './select.ts'
import { serverOf, type ServerChoice } from './server.ts'
import { fromJsonSchema } from './standard.ts'

/** What a repeat of an operation does, when the app knows better than its method tells. */
export type DeclaredEffect =
  | 'read'
  | 'idempotent'
  | 'unsafe'
  /** The server honours this header; `Idempotency-Key` unless said. */
  | 'keyed'
  | { readonly effect: 'keyed'; readonly header: string }

/** What only the app can say of an operation. */
export interface Declared {
  /** `financial-commitment`, `external-communication`, … */
  readonly categories?: readonly string[]
  /** What may go into it. */
  readonly accepts?: Accepts
  readonly external?: boolean
  readonly labels?: ToolLabels
  readonly timeoutMs?: number
}

export interface OpenApiOptions {
  /** Begins each tool's name; what policies and roles match on: `github_*`. */
  readonly name: string
  /** By `operationId` (or `METHOD /path`), by tag or by path; or all. */
  readonly operations: 'all' | readonly Choice[]
  readonly server?: ServerChoice
  readonly auth?: Auth
  /** By operation. GET and HEAD read, everything else is unsafe, unless said. */
  readonly effects?: Readonly<Record<string, DeclaredEffect>>
  /** What policies and labels need to know of single operations. */
  readonly declare?: Readonly<Record<string, Declared>>
  /** Names of tools by operation, where the made ones do not please. */
  readonly names?: Readonly<Record<string, string>>
  /** Values of parameters that callers do not choose, by the parameter's name. */
  readonly fill?: Readonly<Record<string, Fill>>
  /**
   * Statuses by operation that are answers of the business and no failures: `{ status, body }`. One with `Retry-After` is
   * none: whoever says "come again" has not decided.
   */
  readonly answers?: Readonly<Record<string, readonly number[]>>
  /** Path parameters of which slashes are a part, as `operation.parameter`. */
  readonly slashes?: readonly string[]
  /** Whether answers must fit the document; they must, unless it is known to be wrong. */
  readonly check?: 'answers' | 'nothing'
  /** The document's form was looked at before, such as by a test: it is not looked at again, which saves half a second. */
  readonly checked?: boolean
  /** Tools of a catalogue are searched and not listed; above 40 operations they are, unless said. */
  readonly catalog?: boolean
  readonly network?: NetworkRules
  readonly labels?: ToolLabels
  readonly timeoutMs?: number
  readonly maxResultBytes?: number
  readonly retry?: ToolRetry
  /** Enters fingerprints; raise it when the server's meaning changes. `info.version` unless said. */
  readonly version?: string
}

/** Takes the operation's parameters by name, and `body`; gives what the document promises. */
export type OperationTool = Tool<JsonObject, Json>

export interface OpenApiTools {
  readonly tools: readonly OperationTool[]
  /** By operation. @throws OPENAPI_UNSUPPORTED for one that was not imported */
  tool(operation: string): OperationTool
  /** What was chosen by tag, by path or with all others and cannot be a tool, with the reason. */
  readonly refused: readonly { readonly operation: string; readonly code: string; readonly why: string }[]
}

const listedAtMost = 40

/**
 * Makes tools of a document's operations. Nothing is fetched: whoever has the document decides that it is trusted.
 * @throws OPENAPI_INVALID, OPENAPI_REF_EXTERNAL; OPENAPI_UNSUPPORTED for an operation that was named and cannot be a tool,
 *   and for choices that meet nothing; DEFINITION_INVALID for what no tool may be
 */
export async function openApiTools(source: DocumentSource, options: OpenApiOptions): Promise<OpenApiTools> {
  const document = await readDocument(source, options.checked)
  const listed = listOperations(document)
  const { chosen, named, missed } = select(listed, options.operations)
  const [first] = missed
  if (first !== undefined) throw nothing(first)
  for (const [what, keys] of [
    ['effects', Object.keys(options.effects ?? {})],
    ['declare', Object.keys(options.declare ?? {})],
    ['names', Object.keys(options.names ?? {})],
    ['answers', Object.keys(options.answers ?? {})],
  ] as const)
    for (const key of keys)
      if (!listed.some(({ id }) => id === key))
        throw new ConvokeError('OPENAPI_UNSUPPORTED', `${what}: the document has no operation ${key}`, {
          details: { operation: key },
        })
  const names = toolNames(options.name, listed)
  const made = new Map<string, OperationTool>()
  const refused: { operation: string; code: string; why: string }[] = []
  const catalog = (options.catalog ?? chosen.length > listedAtMost) ? options.name : undefined
  for (const place of chosen) {
    try {
      made.set(place.id, toolOf(document, place, names.get(place) as string, catalog, options))
    } catch (error) {
      if (named.has(place) || !(error instanceof ConvokeError)) throw error
      refused.push({ operation: place.id, code: error.code, why: error.message })
    }
  }
  return {
    tools: [...made.values()],
    refused,
    tool(operation) {
      const found = made.get(operation)
      if (found !== undefined) return found
      throw new ConvokeError('OPENAPI_UNSUPPORTED', `operation ${operation} was not imported`, {
        details: { operation, known: [...made.keys()].slice(0, 50) },
        next: 'choose it among operations',
      })
    },
  }
}

function nothing(choice: Choice): ConvokeError {
  return new ConvokeError('OPENAPI_UNSUPPORTED', `the document has no operation for ${JSON.stringify(choice)}`, {
    details: { choice: choice as Json },
    next: 'look at its operationIds, tags and paths',
  })
}

function toolOf(
  document: Document,
  place: Listed,
  name: string,
  catalog: string | undefined,
  options: OpenApiOptions,
): OperationTool {
  const operation = withSlashes(readOperation(document, place), options.slashes ?? [])
  const effect = effectOf(operation, options.effects?.[operation.id])
  const fills = fillsOf(operation, effect.header, options.fill ?? {})
  const server = serverOf(operation.servers, options.server)
  const auth = authenticator(document, operation, options.auth)
  // Whoever says that the server is inside also says that the way to it is.
  const openly = (address: string): boolean =>
    auth !== nobody && address.startsWith('http:') && (options.network?.inside ?? []).length === 0
  for (const origin of [server.fixed?.origin ?? '', ...auth.origins])
    if (openly(origin)) throw unsupported(operation.id, `its credentials would travel openly to ${origin}`)
  const paging = pagingOf(document, operation)
  const alsoAnswers = options.answers?.[operation.id] ?? []
  const output =
    options.check === 'nothing' ? undefined : outputSchema(document, operation, paging?.link === true, alsoAnswers)
  const hosts =
    server.fixed === undefined ? undefined : [server.fixed.host, ...auth.origins.map((o) => new URL(o).host)]
  const version = options.version ?? versionOf(document)

  async function execute(given: unknown, context: ToolContext): Promise<unknown> {
    const input = inputOf(given)
    const base = await server.url()
    if (openly(base))
      throw new ConvokeError('NETWORK_DENIED', 'credentials do not travel over plain http', {
        details: { sent: false },
      })
    for (let fresh = false; ; fresh = true) {
      const request = await draft(operation, base, input, fills, context)
      if (effect.header !== undefined) request.headers.set(effect.header, context.idempotencyKey)
      await auth.apply(request, context, fresh)
      const { url, init } = finish(request)
      const response = await context.fetch(url, init)
      if (response.status === 401 && auth.renews && !fresh) continue
      if (alsoAnswers.includes(response.status) && !response.headers.has('retry-after'))
        return { status: response.status, body: await readAnswer(response) }
      if (!response.ok) return response
      const value = await readAnswer(response)
      if (paging?.link !== true) return value
      const next = nextPage(response.headers.get('link'), operation, url)
      return { items: value, ...(next === undefined ? {} : { next }) }
    }
  }

  const tidy = [
    operation.deprecated ? 'Deprecated.' : '',
    operation.summary ?? '',
    operation.description === operation.summary ? '' : (operation.description ?? ''),
    paging === undefined ? '' : pagingHint(paging),
  ]
  return tool({
    name: options.names?.[operation.id] ?? name,
    description:
      tidy
        .filter((part) => part !== '')
        .join('\n')
        .trim() || `${operation.method} ${operation.path}`,
    inputSchema: fromJsonSchema<JsonObject>(() => inputSchema(document, operation, new Set(fills.keys()))),
    outputSchema: fromJsonSchema<Json>(() => output ?? {}),
    effect: effect.class,
    version,
    execute,
    ...(catalog === undefined ? {} : { catalog }),
    network: options.network ?? (hosts === undefined ? {} : { hosts }),
    ...(options.labels === undefined ? {} : { labels: options.labels }),
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    ...(options.maxResultBytes === undefined ? {} : { maxResultBytes: options.maxResultBytes }),
    ...(options.retry === undefined ? {} : { retry: options.retry }),
    ...options.declare?.[operation.id],
  })
}

function withSlashes(operation: Operation, slashes: readonly string[]): Operation {
  const mine = (p: Parameter): boolean => p.in === 'path' && slashes.includes(`${operation.id}.${p.name}`)
  if (!operation.parameters.some(mine)) return operation
  return { ...operation, parameters: operation.parameters.map((p) => (mine(p) ? { ...p, segments: true } : p)) }
}

/** By method, and by what the app declares: never by what a document or a server claims of itself. */
function effectOf(
  operation: Operation,
  declared: DeclaredEffect | undefined,
): { readonly class: EffectClass; readonly header: string | undefined } {
  if (declared === undefined)
    return { class: ['GET', 'HEAD'].includes(operation.method) ? 'read' : 'unsafe', header: undefined }
  if (typeof declared === 'object') return { class: 'keyed', header: headerName(operation, declared.header) }
  return { class: declared, header: declared === 'keyed' ? 'Idempotency-Key' : undefined }
}

function headerName(operation: Operation, header: string): string {
  if (/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(header)) return header
  throw unsupported(operation.id, `${JSON.stringify(header)} is no name of a header`)
}

/** Parameters that callers never see: what the app fills in, and the idempotency key, which is the gateway's (R4). */
function fillsOf(
  operation: Operation,
  keyHeader: string | undefined,
  fill: Readonly<Record<string, Fill>>,
): ReadonlyMap<Parameter, Fill> {
  const fills = new Map<Parameter, Fill>()
  for (const parameter of operation.parameters) {
    const header = parameter.in === 'header' ? parameter.name.toLowerCase() : undefined
    if (Object.hasOwn(fill, parameter.name)) fills.set(parameter, fill[parameter.name] as Fill)
    else if (header === 'idempotency-key' || (header !== undefined && header === keyHeader?.toLowerCase()))
      fills.set(parameter, (context) => context.idempotencyKey)
  }
  return fills
}

function versionOf(document: Document): string {
  const info = document.root['info'] as JsonObject | undefined
  const said = info?.['version']
  return typeof said === 'string' && said !== '' ? said.slice(0, 64) : '1'
}
