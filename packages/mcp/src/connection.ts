import { SdkError, SdkHttpError, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'
import type { Client } from '@modelcontextprotocol/client'
import { ConvokeError, type Network, type Secrets } from 'convoke/adapter'
import { definitionOf, type Definition } from './definition.ts'
import { letIn, openClient, trouble, type Opened } from './open.ts'
import { connectMs, type McpServer } from './server.ts'

// Owns one server's client and, over stdio, its process. Invariants: at most one connection at a time, made when it is
// first needed; after a failure or a crash the next one waits for a time that doubles, and whoever asks earlier is told
// how long; a listing belongs to one connection and is taken anew when the server says that it changed, is old, or a call
// had no answer; a connection whose listing fails is given up.

export interface Connection {
  readonly server: McpServer
  /** What was sent to say who we are: it must come back in nothing. */
  readonly tokens: ReadonlySet<string>
  /** @throws TOOL_UNREACHABLE with `sent: false`, SECRET_MISSING, TOOL_FAILED when the server does not let us in */
  client(): Promise<Client>
  /** What it serves now. @throws as `client` */
  listing(): Promise<readonly Definition[]>
  /** Asks once more where a person had to let us in first: who was not let in has done nothing. */
  admitted<T>(client: Client, ask: () => Promise<T>): Promise<T>
  /** The server does its work: what went wrong before is forgotten. */
  healthy(): void
  /** A call had no answer in its time: before the next one, the server must show that it still answers. */
  doubted(): void
  /** This connection is of no use any more. */
  drop(client: Client): Promise<void>
  close(): Promise<void>
}

const firstDelayMs = 250
const maxDelayMs = 30_000
const listingMs = 60_000
/** What a server has to end a session. */
const goodbyeMs = 2_000

/** Statuses after which a server may have forgotten the session, or wants other credentials than it was given. */
const strange: readonly (number | undefined)[] = [400, 401, 404]

/** Whether another connection may fare better than this one. */
export function spent(error: unknown): boolean {
  return error instanceof SdkHttpError && strange.includes(error.status)
}

export function openConnection(
  server: McpServer,
  deps: { readonly secrets: Secrets; readonly network: Network },
): Connection {
  const tokens = new Set<string>()
  let current: Promise<Opened> | undefined
  let live: Opened | undefined
  let listed: { readonly by: Client; readonly at: number; readonly tools: readonly Definition[] } | undefined
  let letting: Promise<boolean> | undefined
  let failures = 0
  let notBefore = 0
  let closed = false

  const failed = (): void => {
    failures++
    notBefore = performance.now() + Math.min(maxDelayMs, firstDelayMs * 2 ** (failures - 1))
  }

  async function open(): Promise<Opened> {
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
    const opened = await openClient(server, { ...deps, tokens }, () => (listed = undefined))
    opened.client.onclose = () => {
      if (live !== opened) return
      forget()
      if (!closed) failed()
    }
    live = opened
    return opened
  }

  function forget(): void {
    live = undefined
    current = undefined
    listed = undefined
  }

  async function connected(): Promise<Opened> {
    if (current === undefined) {
      const next = open()
      current = next
      next.catch(() => {
        if (current !== next) return
        current = undefined
        if (performance.now() >= notBefore && !closed) failed()
      })
    }
    return current
  }

  const client = async (): Promise<Client> => (await connected()).client

  async function drop(gone: Client): Promise<void> {
    if (live?.client === gone) forget()
    await gone.close().catch(() => undefined)
  }

  async function admitted<T>(asking: Client, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (error) {
      const opened = live
      if (!(error instanceof UnauthorizedError) || opened?.client !== asking) throw error
      letting ??= letIn(server, opened).finally(() => (letting = undefined))
      if (!(await letting)) throw error
      return await ask()
    }
  }

  return {
    server,
    tokens,
    client,
    admitted,
    drop,
    async listing() {
      const { client: by, hide } = await connected()
      if (listed?.by === by && performance.now() - listed.at < listingMs) return listed.tools
      if (by.getServerCapabilities()?.tools === undefined) return []
      const at = performance.now()
      let tools: readonly Definition[]
      try {
        const answer = await admitted(by, () =>
          by.listTools(undefined, { cacheMode: 'refresh', timeout: connectMs(server) }),
        )
        tools = answer.tools.map(definitionOf)
      } catch (error) {
        if (error instanceof SdkError) {
          if (live?.client === by && !spent(error)) failed()
          await drop(by)
        }
        throw trouble(server, error, hide)
      }
      listed = { by, at, tools }
      return tools
    },
    healthy() {
      failures = 0
    },
    doubted() {
      listed = undefined
    },
    async close() {
      closed = true
      const open = await current?.catch(() => undefined)
      if (open === undefined) return
      forget()
      await goodbye(open)
      await open.client.close()
    },
  }
}

/** Servers that keep sessions are told when one is over (2025-11-25, session management). Their answer is not needed. */
async function goodbye({ transport }: Opened): Promise<void> {
  if (!(transport instanceof StreamableHTTPClientTransport) || transport.sessionId === undefined) return
  let alarm: NodeJS.Timeout | undefined
  await Promise.race([
    transport.terminateSession().catch(() => undefined),
    new Promise((resolve) => (alarm = setTimeout(resolve, goodbyeMs))),
  ])
  clearTimeout(alarm)
}
