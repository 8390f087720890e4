import { fromJsonSchema, type JsonSchemaType } from '@modelcontextprotocol/client'
import { envSecrets, tool, type AnyTool, type JsonObject, type Tool } from 'convoke'
import { ConvokeError, isConvokeError, lazyNetwork, type Network, type Secrets } from 'convoke/adapter'
import { z } from 'zod'
import { resourceTransport, toolTransport, type AcceptedSince } from './call.ts'
import { openConnection, type Connection } from './connection.ts'
import { hashOf } from './definition.ts'
import { knownOf, type KnownServer } from './known.ts'
import { acceptedNow, readPins, samePins, watchPins, writePins, type Pins } from './pins.ts'
import { oneAtATime } from './once.ts'
import { refOf, review, toolName, type Quarantined, type Served } from './review.ts'
import type { McpAnswer } from './result.ts'
import { declared, type McpServer } from './server.ts'

export interface McpOptions {
  readonly servers: readonly McpServer[]
  /** The file of accepted tools, such as `join(import.meta.dirname, 'convoke.mcp.json')`; commit it. */
  readonly pins: string
  /** Names of the app's other tools, which servers may not imitate. */
  readonly own?: readonly string[]
  /** Where `secret('name')` in `env` and `headers` is looked up; the environment unless said. */
  readonly secrets?: Secrets
  readonly network?: Network
}

/** More tools of one server than these are searched by models, and not listed to them. */
const listedAtMost = 40

export type McpTool = Tool<JsonObject, McpAnswer>

export interface McpTools {
  /**
   * What people accepted, and the servers still serve. The list changes in place when the pins do; an app that was given
   * it follows with the next run that it takes up.
   */
  readonly tools: readonly McpTool[]
  /** The app's own tools and then these, as one list that changes as `tools` does. */
  toolsWith(own: readonly AnyTool[]): readonly AnyTool[]
  /** Looks at the pins, and at the servers where the pins have changed. It is done by itself when their file changes. */
  refresh(): Promise<void>
  readonly quarantined: readonly Quarantined[]
  /** Servers that do not answer. Their accepted tools are among `tools`; calls fail until they are back. */
  readonly unreachable: readonly { readonly server: string; readonly error: ConvokeError }[]
  /** All servers, with every tool that they serve or that was accepted of them. */
  readonly servers: readonly KnownServer[]
  /** Accepted tools that cannot be made into tools of the app, with the reason. */
  readonly refused: readonly { readonly tool: string; readonly why: string }[]
  /**
   * A person accepts what was shown; it is a tool as soon as the file's change is seen, here and in every process that
   * reads the file.
   * @throws TOOL_UNKNOWN; TOOL_QUARANTINED when the tool is not what was shown (by `hash`)
   */
  accept(decision: { readonly tool: string; readonly hash: string; readonly by: string }): Promise<void>
  /** Ends the servers that were started. */
  close(): Promise<void>
}

/**
 * Connects to servers and makes tools of what people accepted of them. Everything else is in quarantine: it reaches no
 * model and cannot be called.
 * @throws CONFIG_INVALID for pins that cannot be read, DEFINITION_INVALID for servers that cannot be named
 */
export async function mcpTools(options: McpOptions): Promise<McpTools> {
  checkNames(options.servers)
  const ownNetwork = options.network === undefined ? lazyNetwork() : undefined
  const deps = {
    secrets: options.secrets ?? envSecrets(process.env),
    network: options.network ?? (ownNetwork as Network),
  }
  const connections = new Map(options.servers.map((server) => [server.name, openConnection(server, deps)]))
  const fixed = [...connections.values()].flatMap((c) => (c.server.resources === true ? resourceTools(c) : []))
  const own = [...(options.own ?? []), ...fixed.map(({ name }) => name)]
  const made = new Map<string, { readonly key: string; readonly tool: McpTool }>()

  /** A tool stays the same object as long as nothing of it has changed. */
  function toolFor(one: Served, catalog: boolean): McpTool {
    const ref = refOf(one)
    const key = `${hashOf(one.definition)} ${catalog}`
    const before = made.get(ref)
    if (before?.key === key) return before.tool
    const connection = connections.get(one.server) as Connection
    const its = toolOf(connection, one, catalog, (hash) => acceptedSince(ref, hash))
    made.set(ref, { key, tool: its })
    return its
  }

  async function survey(pins: Pins): Promise<State> {
    const unreachable: { server: string; error: ConvokeError }[] = []
    const listed = [...connections.values()].map(async (connection) => {
      const { name } = connection.server
      try {
        return (await connection.listing()).map((definition): Served => ({ server: name, definition }))
      } catch (error) {
        if (!isConvokeError(error)) throw error
        unreachable.push({ server: name, error })
        return pinnedOf(pins, name)
      }
    })
    const served = (await Promise.all(listed)).flat()
    const { accepted, quarantined } = review(served, pins, own)
    const refused: { tool: string; why: string }[] = []
    const tools: McpTool[] = []
    for (const one of accepted) {
      try {
        const many = accepted.filter(({ server }) => server === one.server).length > listedAtMost
        tools.push(toolFor(one, connections.get(one.server)?.server.catalog ?? many))
      } catch (error) {
        refused.push({ tool: refOf(one), why: error instanceof Error ? error.message : String(error) })
      }
    }
    return { pins, served, quarantined, refused, unreachable, tools: [...tools, ...fixed] }
  }

  let state = await survey(await readPins(options.pins))
  const lists = [{ own: [] as readonly AnyTool[], list: [...state.tools] as AnyTool[] }]
  let closed = false
  /** Reads the pins; where they say something else than before, asks the servers anew and changes the lists in place. */
  const refresh = oneAtATime(async () => {
    if (closed) return
    const pins = await readPins(options.pins)
    if (samePins(pins, state.pins)) return
    for (const connection of connections.values()) connection.doubted()
    const now = await survey(pins)
    // Whoever was closed meanwhile cannot be reached, which says nothing of the server.
    if (closed) return
    state = now
    for (const { own: mine, list } of lists) list.splice(0, list.length, ...mine, ...state.tools)
  })
  async function acceptedSince(ref: string, hash: string): Promise<boolean> {
    await refresh()
    return state.pins.get(ref)?.hash === hash && !state.quarantined.some(({ tool: held }) => held === ref)
  }
  // What cannot be read just now is read when it is asked for.
  const unwatch = watchPins(options.pins, () => void refresh().catch(() => undefined))
  let writing: Promise<void> = Promise.resolve()
  return {
    tools: lists[0]?.list as McpTool[],
    toolsWith(mine) {
      const list = [...mine, ...state.tools]
      lists.push({ own: mine, list })
      return list
    },
    refresh,
    get quarantined() {
      return state.quarantined
    },
    get unreachable() {
      return state.unreachable
    },
    get refused() {
      return state.refused
    },
    get servers() {
      return knownOf(options.servers, state.served, state.pins, state)
    },
    async accept({ tool: ref, hash, by }) {
      const shown = state.quarantined.filter((q) => q.tool === ref)
      const definition = state.served.find((one) => refOf(one) === ref && hashOf(one.definition) === hash)?.definition
      const [first] = shown
      if (first === undefined)
        throw new ConvokeError('TOOL_UNKNOWN', `${ref} is not in quarantine`, {
          details: { tool: ref, quarantined: state.quarantined.map((q) => q.tool) },
          next: 'convoke mcp ls',
        })
      const its = shown.find((q) => q.hash === hash)
      if (its === undefined || definition === undefined)
        throw new ConvokeError('TOOL_QUARANTINED', `${ref} is not what was shown`, {
          details: { tool: ref, hash: first.hash, shown: hash },
          next: 'look at the difference again: convoke mcp ls',
        })
      // One after the other: each writes what it has read.
      writing = writing
        .catch(() => undefined)
        .then(async () => {
          const now = await readPins(options.pins)
          const pin = acceptedNow(now.get(ref), {
            hash,
            definition,
            rivals: its.rivals,
            by,
            at: new Date().toISOString(),
          })
          await writePins(options.pins, new Map([...now, [ref, pin]]))
        })
      await writing
    },
    async close() {
      closed = true
      unwatch()
      await Promise.all([...connections.values()].map((connection) => connection.close()))
      ownNetwork?.close()
    },
  }
}

interface State extends Pick<McpTools, 'quarantined' | 'refused' | 'unreachable'> {
  readonly pins: Pins
  readonly served: readonly Served[]
  readonly tools: readonly McpTool[]
}

function checkNames(servers: readonly McpServer[]): void {
  const seen = new Set<string>()
  for (const { name } of servers) {
    if (!/^[A-Za-z][A-Za-z0-9_-]{0,23}$/.test(name) || seen.has(name.toLowerCase()))
      throw new ConvokeError('DEFINITION_INVALID', `an MCP server cannot be named ${JSON.stringify(name)}`, {
        details: { server: name },
        next: 'use a letter, then letters, digits, - and _, 24 at most, each name once',
      })
    seen.add(name.toLowerCase())
  }
}

function pinnedOf(pins: Pins, server: string): Served[] {
  return [...pins].filter(([ref]) => ref.startsWith(`${server}.`)).map(([, { definition }]) => ({ server, definition }))
}

function toolOf(connection: Connection, served: Served, catalog: boolean, accepted: AcceptedSince): McpTool {
  const { server } = connection
  const { definition } = served
  const { effect = 'unsafe', external = true, categories } = declared(server, definition.name)
  return tool({
    name: toolName(served),
    description: definition.description === '' ? (definition.title ?? definition.name) : definition.description,
    inputSchema: fromJsonSchema<JsonObject>(definition.inputSchema as JsonSchemaType),
    outputSchema: answerSchema,
    effect,
    external,
    transport: toolTransport(connection, definition, accepted),
    ...(categories === undefined ? {} : { categories }),
    ...(catalog ? { catalog: server.name } : {}),
    ...(server.labels === undefined ? {} : { labels: server.labels }),
    ...(server.timeoutMs === undefined ? {} : { timeoutMs: server.timeoutMs }),
  })
}

function resourceNames(server: string): [string, string] {
  return [`${server}.list_resources`, `${server}.read_resource`]
}

/** Reading changes nothing, as the protocol has it; but the address that is asked for leaves the house. */
function resourceTools(connection: Connection): McpTool[] {
  const { server } = connection
  const [list, read] = resourceNames(server.name)
  const common = {
    outputSchema: answerSchema,
    effect: 'read' as const,
    external: true,
    ...(server.labels === undefined ? {} : { labels: server.labels }),
    ...(server.timeoutMs === undefined ? {} : { timeoutMs: server.timeoutMs }),
  }
  return [
    tool({
      ...common,
      name: list,
      description: `Lists the resources of ${server.name}.`,
      inputSchema: z.object({}),
      transport: resourceTransport(connection, 'list'),
    }) as unknown as McpTool,
    tool({
      ...common,
      name: read,
      description: `Reads a resource of ${server.name}.`,
      inputSchema: z.object({ uri: z.string() }),
      transport: resourceTransport(connection, 'read'),
    }) as unknown as McpTool,
  ]
}

const answerSchema = z.object({
  text: z.string().optional(),
  structured: z.json().optional(),
  parts: z.array(z.looseObject({ type: z.enum(['image', 'audio', 'link', 'resource']) })).optional(),
}) as unknown as z.ZodType<McpAnswer, McpAnswer>
