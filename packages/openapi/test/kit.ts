import type { Json, JsonObject, ToolContext } from 'convoke'
import { openApiTools, type OpenApiOptions, type OperationTool } from '../src/index.ts'

/** What a tool sent, as the gateway's fetch would be given it. */
export interface Sent {
  readonly method: string
  readonly url: string
  /** Path and query. */
  readonly target: string
  readonly headers: Headers
  readonly body: string
}

export interface Desk {
  readonly sent: Sent[]
  readonly concealed: string[]
  readonly context: ToolContext
}

/** A call's context without a gateway around it: answers are made by `reply`. */
export function desk(
  reply: (sent: Sent) => Response | Promise<Response> = () => Response.json({}),
  secrets: Readonly<Record<string, string>> = {},
): Desk {
  const sent: Sent[] = []
  const concealed: string[] = []
  return {
    sent,
    concealed,
    context: {
      signal: new AbortController().signal,
      idempotencyKey: 'key-1',
      tenant: `t-${Math.random()}`,
      run: 'r1',
      path: 'p',
      secret: (name) => Promise.resolve(secrets[name as string] ?? 'some secret'),
      conceal: (value) => void concealed.push(value),
      fetch: async (url, init = {}) => {
        const { effect: _, ...plain } = init
        const request = new Request(url, plain)
        const { pathname, search } = new URL(request.url)
        const seen = {
          method: request.method,
          url: request.url,
          target: pathname + search,
          headers: request.headers,
          body: await request.text(),
        }
        sent.push(seen)
        return reply(seen)
      },
      blob: (hash) => Promise.resolve(hash === 'known' ? Buffer.from('from a blob') : undefined),
      progress: () => undefined,
    },
  }
}

export function documentOf(paths: Json, more: JsonObject = {}): JsonObject {
  return {
    openapi: '3.1.0',
    info: { title: 'test', version: '1' },
    servers: [{ url: 'https://api.test/v1' }],
    paths,
    ...more,
  }
}

/** A document with one operation, `op`. */
export async function only(
  path: string,
  operation: JsonObject,
  more: JsonObject = {},
  options: Partial<OpenApiOptions> = {},
): Promise<OperationTool> {
  const { method = 'get', ...node } = operation
  const document = documentOf(
    { [path]: { [method as string]: { operationId: 'op', responses: { 200: { description: 'ok' } }, ...node } } },
    more,
  )
  const made = await openApiTools(document, { name: 'x', operations: ['op'], ...options })
  return made.tool('op')
}

/** Calls a tool as the gateway would, its schema first. */
export async function callTool(tool: OperationTool, input: JsonObject, at: Desk): Promise<unknown> {
  const checked = await tool.inputSchema['~standard'].validate(input)
  if (checked.issues !== undefined)
    throw new Error(checked.issues.map((i) => `${JSON.stringify(i.path)}: ${i.message}`).join('; '))
  return tool.execute?.(checked.value, at.context)
}
