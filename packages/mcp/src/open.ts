import {
  Client,
  OAuthClientFlowError,
  OAuthError,
  SdkHttpError,
  StreamableHTTPClientTransport,
  UnauthorizedError,
  type Transport,
} from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import type { JsonObject } from 'convoke'
import { ConvokeError, isConvokeError, type Network, type Secrets } from 'convoke/adapter'
import { networkFetch } from './http.ts'
import { connectMs, secretsOf, type HttpServer, type McpServer, type StdioServer } from './server.ts'

/** Old servers may leave the new protocol's first question unanswered: over stdio, this long is a no. Milliseconds. */
const probeMs = 5_000
const keptOfStderr = 4_000

export interface OpenDeps {
  readonly secrets: Secrets
  readonly network: Network
  /** Filled with the tokens that are sent, whoever got them: they must come back in nothing. */
  readonly tokens: Set<string>
}

/** A connection that stands, and what it takes to let a person in or to end its session. */
export interface Opened {
  readonly client: Client
  readonly transport: Transport
  /** Takes what the server was given out of text that comes from it. */
  readonly hide: (text: string) => string
}

/**
 * Connects, once more after a person was sent to the authorization server.
 * @throws SECRET_MISSING, and what `trouble` makes of the rest
 */
export async function openClient(server: McpServer, deps: OpenDeps, onChanged: () => void): Promise<Opened> {
  const given = await resolved(server, deps.secrets)
  const hide = (text: string): string =>
    [...given.secret, ...[...deps.tokens].flatMap(formsOf)]
      .sort((a, b) => b.length - a.length)
      .reduce((out, value) => out.replaceAll(value, '[secret]'), text)
  let stderr = ''
  for (let asked = false; ; asked = true) {
    const client = newClient(server, onChanged)
    const transport =
      'command' in server
        ? stdio(server, given.values, (piece) => (stderr = (stderr + piece).slice(-keptOfStderr)))
        : http(server, given.values, deps)
    try {
      await client.connect(transport, { timeout: connectMs(server) })
      return { client, transport, hide }
    } catch (error) {
      await client.close().catch(() => undefined)
      try {
        if (!asked && error instanceof UnauthorizedError && (await letIn(server, { transport, hide }))) continue
      } catch (refused) {
        throw trouble(server, refused, hide)
      }
      throw trouble(server, error, hide, stderr)
    }
  }
}

/**
 * Waits for a person to come back from the authorization server; false where there is nobody.
 * @throws TOOL_FAILED when they come back with nothing that lets us in
 */
export async function letIn(
  server: McpServer,
  { transport, hide }: Pick<Opened, 'transport' | 'hide'>,
): Promise<boolean> {
  if (!('url' in server) || server.authorized === undefined || !(transport instanceof StreamableHTTPClientTransport))
    return false
  try {
    await transport.finishAuth(await server.authorized())
  } catch (error) {
    throw refusal(server, saidBy(error, hide))
  }
  return true
}

function refusal({ name }: McpServer, why: string): ConvokeError {
  return new ConvokeError('TOOL_FAILED', `MCP server ${name} does not let us in: ${why}`, {
    details: { server: name },
    next: 'give the server `bearer`, `headers` or `auth`',
    cause: new Error(why),
  })
}

/** A server's words, without what it was given; they may end up in a terminal. */
function saidBy(error: unknown, hide: (text: string) => string): string {
  const said = hide(error instanceof Error ? error.message : String(error))
  return said
    .replace(/\p{Cc}+/gu, ' ')
    .slice(0, 2_000)
    .toWellFormed()
}

/** Whether a server refused us for who we are. It did nothing of what was asked. */
export function notLetIn(error: unknown): boolean {
  return (
    error instanceof UnauthorizedError ||
    error instanceof OAuthClientFlowError ||
    error instanceof OAuthError ||
    (error instanceof SdkHttpError && (error.status === 401 || error.status === 403))
  )
}

/** What goes wrong before anything is called: nothing was sent. */
export function trouble(
  server: McpServer,
  error: unknown,
  hide: (text: string) => string,
  stderr: string = '',
): ConvokeError {
  const own = ownOf(error)
  if (own?.details?.['server'] === server.name) return own
  if (own !== undefined)
    return new ConvokeError(own.code, `MCP server ${server.name}: ${own.message}`, {
      details: { ...own.details, server: server.name, ...(own.code === 'TOOL_UNREACHABLE' ? { sent: false } : {}) },
      ...(own.next === undefined ? {} : { next: own.next }),
      cause: own.cause,
    })
  const why = saidBy(error, hide)
  if (notLetIn(error)) return refusal(server, why)
  return new ConvokeError('TOOL_UNREACHABLE', `MCP server ${server.name} cannot be reached: ${why}`, {
    details: { server: server.name, sent: false, ...(stderr === '' ? {} : { stderr: hide(stderr).toWellFormed() }) },
    next: 'command' in server ? 'start it by hand with the same arguments' : `see that ${server.url} answers`,
    cause: new Error(why),
  })
}

/** An error of ours that the client has wrapped in its own. */
function ownOf(error: unknown): ConvokeError | undefined {
  let inner: unknown = error
  for (let depth = 0; depth < 4 && inner !== undefined; depth++) {
    if (isConvokeError(inner)) return inner
    const { cause, data } = (inner ?? {}) as { cause?: unknown; data?: { cause?: unknown } }
    inner = cause ?? data?.cause
  }
  return undefined
}

function newClient(server: McpServer, onChanged: () => void): Client {
  const { elicit } = server
  const client = new Client(
    { name: 'convoke', version: '0.1.0' },
    {
      // Over HTTP silence is an outage, and a person may be on their way to a login: no shorter limit than for the rest.
      versionNegotiation: {
        mode: 'auto',
        probe: { timeoutMs: 'command' in server ? Math.min(probeMs, connectMs(server)) : connectMs(server) },
      },
      // Whoever is told that nobody can be asked asks nobody. Sampling and roots are never offered.
      capabilities: elicit === undefined ? {} : { elicitation: { form: { applyDefaults: true } } },
      inputRequired: { autoFulfill: elicit !== undefined },
      // At once: within the client's usual wait a tool that has just changed would still be called.
      listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged } },
    },
  )
  if (elicit !== undefined)
    client.setRequestHandler('elicitation/create', async (request) => {
      const { action, content } = await elicit(request.params as unknown as JsonObject)
      return { action, ...(content === undefined ? {} : { content: { ...content } }) }
    })
  client.onerror = () => undefined
  return client
}

interface Given {
  readonly values: Readonly<Record<string, string>>
  readonly secret: readonly string[]
}

/** Environment or headers, with their secrets in place. */
async function resolved(server: McpServer, secrets: Secrets): Promise<Given> {
  const found = new Map<string, string>()
  for (const name of secretsOf(server)) {
    const value = await secrets.get(name)
    if (value === undefined || value === '')
      throw new ConvokeError(
        'SECRET_MISSING',
        `MCP server ${server.name} needs the secret ${name}, which has no value`,
        { details: { server: server.name, secret: name }, next: secrets.hint?.(name) ?? 'give it a value' },
      )
    found.set(name, value)
  }
  const said = ('command' in server ? server.env : server.headers) ?? {}
  const values = Object.fromEntries(
    Object.entries(said).map(([key, value]) => [
      key,
      typeof value === 'string' ? value : (found.get(value.$secret) ?? ''),
    ]),
  )
  if ('url' in server && server.bearer !== undefined)
    values['authorization'] = `Bearer ${found.get(server.bearer.$secret) ?? ''}`
  return { values, secret: [...found.values()].flatMap(formsOf) }
}

function formsOf(value: string): string[] {
  return [value, encodeURIComponent(value), Buffer.from(value).toString('base64')]
}

function stdio(
  server: StdioServer,
  env: Readonly<Record<string, string>>,
  onStderr: (piece: string) => void,
): Transport {
  const transport = new StdioClientTransport({
    command: server.command,
    args: [...(server.args ?? [])],
    env: { ...env },
    stderr: 'pipe',
    ...(server.cwd === undefined ? {} : { cwd: server.cwd }),
  })
  transport.stderr?.on('data', (piece: Buffer) => onStderr(piece.toString()))
  return transport
}

/** Of tokens that were sent, this many are remembered. */
const rememberedTokens = 16

function http(
  server: HttpServer,
  headers: Readonly<Record<string, string>>,
  { network, tokens }: Pick<OpenDeps, 'network' | 'tokens'>,
): Transport {
  const url = new URL(server.url)
  const rules = server.network ?? (server.auth === undefined ? { hosts: [url.host] } : {})
  const reach = networkFetch(network, rules)
  // Those have names in the secret store.
  const own = Object.values(headers).join(' ')
  return new StreamableHTTPClientTransport(url, {
    fetch: async (to, init) => {
      const token = /^\S+ (\S{8,})$/.exec(new Headers(init?.headers).get('authorization') ?? '')?.[1]
      if (token !== undefined && !own.includes(token)) tokens.add(token)
      for (const oldest of tokens) if (tokens.size > rememberedTokens) tokens.delete(oldest)
      const response = await reach(to, init)
      if (response.status === 401 && new URL(to).href === url.href) await forgetWhere(server, init)
      return response
    },
    requestInit: { headers },
    ...(server.auth === undefined ? {} : { authProvider: server.auth }),
  })
}

/**
 * A token that is no longer taken may be because the server has moved to another authorization server: where it is, is
 * asked anew (2026-07-28, authorization server binding; SEP-2352).
 */
async function forgetWhere({ auth }: HttpServer, init: RequestInit | undefined): Promise<void> {
  if (auth === undefined || !('invalidateCredentials' in auth) || !new Headers(init?.headers).has('authorization'))
    return
  await auth.invalidateCredentials?.('discovery')
}
