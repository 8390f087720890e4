import {
  ConvokeError,
  tool,
  type Accepts,
  type Json,
  type JsonObject,
  type NetworkRules,
  type Tool,
  type ToolContext,
  type ToolLabels,
  type ToolRetry,
} from 'convoke'
import { pagingHint } from './answer.ts'
import type { Auth } from './auth.ts'
import { readDocument, type Document, type DocumentSource } from './document.ts'
import { effectOf, type DeclaredEffect } from './effect.ts'
import { toolNames } from './names.ts'
import { listOperations, type Listed } from './operation.ts'
import { reconcilerOf } from './reconcile.ts'
import { inputOf, type Fill } from './request.ts'
import { select, type Choice } from './select.ts'
import { senderOf } from './sender.ts'
import type { ServerChoice } from './server.ts'

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
      made.set(place.id, toolOf(document, place, listed, names.get(place) as string, catalog, options))
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
  listed: readonly Listed[],
  name: string,
  catalog: string | undefined,
  options: OpenApiOptions,
): OperationTool {
  const effect = effectOf(place, options.effects?.[place.id])
  const alsoAnswers = options.answers?.[place.id] ?? []
  const sender = senderOf(document, place, options, { header: effect.header, alsoAnswers })
  const { operation, paging } = sender
  const reconciler =
    effect.reconcile === undefined ? undefined : reconcilerOf(document, place, effect.reconcile, listed, options)
  const hosts =
    sender.hosts === undefined || (reconciler !== undefined && reconciler.hosts === undefined)
      ? undefined
      : [...new Set([...sender.hosts, ...(reconciler?.hosts ?? [])])]
  const version = options.version ?? versionOf(document)

  async function execute(given: unknown, context: ToolContext): Promise<unknown> {
    const answered = await sender.send(inputOf(given), context)
    if ('failed' in answered) return answered.failed
    return answered.also ? { status: answered.status, body: answered.body } : answered.body
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
    inputSchema: sender.input,
    outputSchema: sender.output,
    effect: effect.class,
    version,
    execute,
    ...(reconciler === undefined ? {} : { reconcile: (input, context) => reconciler.ask(input, context) }),
    ...(catalog === undefined ? {} : { catalog }),
    network: options.network ?? (hosts === undefined ? {} : { hosts }),
    ...(options.labels === undefined ? {} : { labels: options.labels }),
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    ...(options.maxResultBytes === undefined ? {} : { maxResultBytes: options.maxResultBytes }),
    ...(options.retry === undefined ? {} : { retry: options.retry }),
    ...options.declare?.[operation.id],
  })
}

function versionOf(document: Document): string {
  const info = document.root['info'] as JsonObject | undefined
  const said = info?.['version']
  return typeof said === 'string' && said !== '' ? said.slice(0, 64) : '1'
}
