import { ConvokeError, type Json, type JsonObject, type ToolContext } from 'convoke'
import { nextPage, outputSchema, pagingOf, readAnswer, type Paging } from './answer.ts'
import { authenticator, nobody } from './auth.ts'
import type { Document } from './document.ts'
import { inputSchema } from './input.ts'
import { readOperation, unsupported, type Listed, type Operation, type Parameter } from './operation.ts'
import { draft, finish, type Fill } from './request.ts'
import { serverOf } from './server.ts'
import { fromJsonSchema, type JsonSchema } from './standard.ts'
import type { OpenApiOptions } from './tools.ts'

/** What came back: what counts as an answer, or a response that is a failure. */
export type Answered =
  /** `also`: of a status that is an answer only because the app says so. */
  { readonly status: number; readonly body: Json; readonly also: boolean } | { readonly failed: Response }

/** Sends one operation's requests through the gateway, with its credentials, to its own hosts. */
export interface Sender {
  readonly operation: Operation
  readonly paging: Paging | undefined
  readonly input: JsonSchema<JsonObject>
  /** Of what a tool gives for an answer. */
  readonly output: JsonSchema<Json>
  /** Where it goes; unknown where the app gives its address at each call. */
  readonly hosts: readonly string[] | undefined
  send(input: JsonObject, context: ToolContext): Promise<Answered>
}

/**
 * @param header in which the gateway's idempotency key travels
 * @param alsoAnswers statuses besides those of success that are answers
 * @throws OPENAPI_UNSUPPORTED, OPENAPI_INVALID
 */
export function senderOf(
  document: Document,
  place: Listed,
  options: OpenApiOptions,
  { header, alsoAnswers }: { readonly header: string | undefined; readonly alsoAnswers: readonly number[] },
): Sender {
  const operation = withSlashes(readOperation(document, place), options.slashes ?? [])
  const fills = fillsOf(operation, header, options.fill ?? {})
  const server = serverOf(operation.servers, options.server)
  const auth = authenticator(document, operation, options.auth)
  // Whoever says that the server is inside also says that the way to it is.
  const openly = (address: string): boolean =>
    auth !== nobody && address.startsWith('http:') && (options.network?.inside ?? []).length === 0
  for (const origin of [server.fixed?.origin ?? '', ...auth.origins])
    if (openly(origin)) throw unsupported(operation.id, `its credentials would travel openly to ${origin}`)
  const paging = pagingOf(document, operation)
  const output =
    options.check === 'nothing' ? undefined : outputSchema(document, operation, paging?.link === true, alsoAnswers)
  return {
    operation,
    paging,
    input: fromJsonSchema<JsonObject>(() => inputSchema(document, operation, new Set(fills.keys()))),
    output: fromJsonSchema<Json>(() => output ?? {}),
    hosts: server.fixed === undefined ? undefined : [server.fixed.host, ...auth.origins.map((o) => new URL(o).host)],
    async send(input, context) {
      const base = await server.url()
      if (openly(base))
        throw new ConvokeError('NETWORK_DENIED', 'credentials do not travel over plain http', {
          details: { sent: false },
        })
      for (let fresh = false; ; fresh = true) {
        const request = await draft(operation, base, input, fills, context)
        if (header !== undefined) request.headers.set(header, context.idempotencyKey)
        await auth.apply(request, context, fresh)
        const { url, init } = finish(request)
        const response = await context.fetch(url, init)
        if (response.status === 401 && auth.renews && !fresh) continue
        if (alsoAnswers.includes(response.status) && !response.headers.has('retry-after'))
          return { status: response.status, body: await readAnswer(response), also: true }
        if (!response.ok) return { failed: response }
        const body = await readAnswer(response)
        if (paging?.link !== true) return { status: response.status, body, also: false }
        const next = nextPage(response.headers.get('link'), operation, url)
        const page = { items: body, ...(next === undefined ? {} : { next }) }
        return { status: response.status, body: page, also: false }
      }
    },
  }
}

function withSlashes(operation: Operation, slashes: readonly string[]): Operation {
  const mine = (p: Parameter): boolean => p.in === 'path' && slashes.includes(`${operation.id}.${p.name}`)
  if (!operation.parameters.some(mine)) return operation
  return { ...operation, parameters: operation.parameters.map((p) => (mine(p) ? { ...p, segments: true } : p)) }
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
