import { Client, StreamableHTTPClientTransport, UnauthorizedError, type Transport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { isSecretRef, type JsonObject, type SecretRef } from 'convoke'
import { ConvokeError, type Network, type Secrets } from 'convoke/adapter'
import { definitionOf, type Definition } from './definition.ts'
import { networkFetch } from './http.ts'
import type { HttpServer, McpServer, StdioServer } from './server.ts'

// Owns one server's client and, over stdio, its process. Invariants: at most one connection at a time, made when it is
// first needed; after a failure or a crash the next one waits for a time that doubles, and whoever asks earlier is told
// how long; a listing belongs to one connection and is taken anew when the server says that it changed, or is old.

export interface Connection {
  readonly server: McpServer
  /** @throws TOOL_UNREACHABLE with `sent: false`, SECRET_MISSING, TOOL_FAILED when the server does not let us in */
  client(): Promise<Client>
  /** What it serves now. @throws as `client` */
  listing(): Promise<readonly Definition[]>
  /** The server does its work: what went wrong before is forgotten. */
  healthy(): void
  /** This connection is of no use any more. */
  drop(client: Client): Promise<void>
  close(): Promise<void>
}

const firstDelayMs = 250
const maxDelayMs = 30_000
const listingMs = 60_000
const connectMs = 30_000
/** Old servers may leave the new protocol's first question unanswered. */
const probeMs = 5_000
const keptOfStderr = 4_000

export function openConnection(
  server: McpServer,
  deps: { readonly secrets: Secrets; readonly network: Network },
): Connection {
  let current: Promise<Client> | undefined
  let listed: { readonly by: Client; readonly at: number; readonly tools: readonly Definition[] } | undefined
  let live: Client | undefined
  let failures = 0
  let notBefore = 0
  let closed = false

  const failed = (): void => {
    failures++
    notBefore = performance.now() + Math.min(maxDelayMs, firstDelayMs * 2 ** (failures - 1))
  }

  async function connect(): Promise<Client> {
    const values = await resolved(server, deps.secrets)
    let stderr = ''
    for (let authorized = false; ; authorized = true) {
      const client = newClient(server, () => (listed = undefined))
      const transport =
        'command' in server
          ? stdio(server, values, (piece) => (stderr = (stderr + piece).slice(-keptOfStderr)))
          : http(server, values, deps.network)
      try {
        await client.connect(transport, { timeout: connectMs })
      } catch (error) {
        await client.close().catch(() => undefined)
        if (error instanceof UnauthorizedError && !authorized && 'url' in server && server.authorized !== undefined) {
          await (transport as StreamableHTTPClientTransport).finishAuth(await server.authorized())
          continue
        }
        throw trouble(server, error, hide(stderr, values))
      }
      return client
    }
  }

  async function opened(): Promise<Client> {
    if (closed)
      throw new ConvokeError('TOOL_UNREACHABLE', `${server.name} was closed`, {
        details: { server: server.name, sent: false },
      })
    const wait = Math.ceil(notBefore - performance.now())
    if (failures > 0 && wait > 0)
      throw new ConvokeError(
        'TOOL_UNREACHABLE',
        `MCP server ${server.name} went down ${failures} times; it is tried again in ${wait} ms`,
        {
          details: { server: server.name, sent: false, failures, retryAfterMs: wait },
          next: 'see why it ends: start it by hand with the same arguments',
        },
      )
    const client = await connect()
    client.onclose = () => {
      if (live !== client) return
      live = undefined
      current = undefined
      listed = undefined
      if (!closed) failed()
    }
    live = client
    return client
  }

  async function client(): Promise<Client> {
    if (current === undefined) {
      const next = opened()
      current = next
      next.catch(() => {
        if (current !== next) return
        current = undefined
        if (performance.now() >= notBefore && !closed) failed()
      })
    }
    return current
  }

  return {
    server,
    client,
    async listing() {
      const by = await client()
      if (listed?.by === by && performance.now() - listed.at < listingMs) return listed.tools
      if (by.getServerCapabilities()?.tools === undefined) return []
      const at = performance.now()
      let tools: readonly Definition[]
      try {
        tools = (await by.listTools(undefined, { cacheMode: 'refresh', timeout: connectMs })).tools.map(definitionOf)
      } catch (error) {
        throw trouble(server, error, '')
      }
      listed = { by, at, tools }
      return tools
    },
    healthy() {
      failures = 0
    },
    async drop(gone) {
      const now = await current?.catch(() => undefined)
      if (now === gone) {
        current = undefined
        listed = undefined
      }
      await gone.close().catch(() => undefined)
    },
    async close() {
      closed = true
      const open = current
      current = undefined
      await (await open?.catch(() => undefined))?.close()
    },
  }
}

function newClient(server: McpServer, onChanged: () => void): Client {
  const { elicit } = server
  const client = new Client(
    { name: 'convoke', version: '0.1.0' },
    {
      versionNegotiation: { mode: 'auto', probe: { timeoutMs: probeMs } },
      // Whoever is told that nobody can be asked asks nobody. Sampling and roots are never offered.
      capabilities: elicit === undefined ? {} : { elicitation: { form: {} } },
      inputRequired: { autoFulfill: elicit !== undefined },
      listChanged: { tools: { autoRefresh: false, onChanged } },
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

type Values = Readonly<Record<string, { readonly value: string; readonly secret: boolean }>>

async function resolved(server: McpServer, secrets: Secrets): Promise<Values> {
  const said: Readonly<Record<string, string | SecretRef>> = ('command' in server ? server.env : server.headers) ?? {}
  const out: Record<string, { value: string; secret: boolean }> = {}
  for (const [key, value] of Object.entries(said)) {
    if (typeof value === 'string') {
      out[key] = { value, secret: false }
      continue
    }
    const name = isSecretRef(value) ? String(value['$secret']) : ''
    const found = await secrets.get(name)
    if (found === undefined)
      throw new ConvokeError(
        'SECRET_MISSING',
        `MCP server ${server.name} needs the secret ${name}, which has no value`,
        {
          details: { server: server.name, secret: name },
          next: secrets.hint?.(name) ?? 'give it a value',
        },
      )
    out[key] = { value: found, secret: true }
  }
  return out
}

function plain(values: Values): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, { value }]) => [key, value]))
}

function hide(text: string, values: Values): string {
  let out = text
  for (const { value, secret } of Object.values(values))
    if (secret && value !== '') out = out.replaceAll(value, '[secret]')
  return out
}

function stdio(server: StdioServer, values: Values, onStderr: (piece: string) => void): Transport {
  const transport = new StdioClientTransport({
    command: server.command,
    args: [...(server.args ?? [])],
    env: plain(values),
    stderr: 'pipe',
    ...(server.cwd === undefined ? {} : { cwd: server.cwd }),
  })
  transport.stderr?.on('data', (piece: Buffer) => onStderr(piece.toString()))
  return transport
}

function http(server: HttpServer, values: Values, network: Network): Transport {
  const url = new URL(server.url)
  const rules = server.network ?? (server.auth === undefined ? { hosts: [url.host] } : {})
  return new StreamableHTTPClientTransport(url, {
    fetch: networkFetch(network, rules),
    requestInit: { headers: plain(values) },
    ...(server.auth === undefined ? {} : { authProvider: server.auth }),
  })
}

function trouble(server: McpServer, error: unknown, stderr: string): ConvokeError {
  if (error instanceof ConvokeError) return error
  const why = error instanceof Error ? error.message : String(error)
  if (error instanceof UnauthorizedError)
    return new ConvokeError('TOOL_FAILED', `MCP server ${server.name} does not let us in: ${why}`, {
      details: { server: server.name },
      next: 'give the server `auth` or a header with a secret',
      cause: error,
    })
  return new ConvokeError('TOOL_UNREACHABLE', `MCP server ${server.name} cannot be reached: ${why}`, {
    details: { server: server.name, sent: false, ...(stderr === '' ? {} : { stderr: stderr.toWellFormed() }) },
    next: 'command' in server ? 'start it by hand with the same arguments' : `see that ${server.url} answers`,
    cause: error,
  })
}
