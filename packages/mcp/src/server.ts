import type { AuthProvider, OAuthClientProvider } from '@modelcontextprotocol/client'
import type { EffectClass, JsonObject, NetworkRules, SecretRef, ToolLabels } from 'convoke'

/** What an app says of one of a server's tools. A server's own hints count for nothing. */
export interface Declared {
  /** `unsafe` unless said. */
  readonly effect?: EffectClass
  /**
   * What an answer with `isError` says of the effect. `unknown` unless said: part of the work may be done. `none`: this
   * tool reports an error only when nothing happened.
   */
  readonly errors?: 'unknown' | 'none'
  readonly categories?: readonly string[]
  /** Whether its arguments leave the app's own house; true unless said, for reads as well. */
  readonly external?: boolean
}

interface Common {
  /** Letters, digits, `-` and `_`; 24 at most. Tools are called `<name>.<tool>`. */
  readonly name: string
  /** By the server's name for the tool. */
  readonly tools?: Readonly<Record<string, EffectClass | Declared>>
  /** Makes `<name>.list_resources` and `<name>.read_resource` of the server's resources. */
  readonly resources?: boolean
  /** Tools of a catalogue are searched by models and not listed; above 40 accepted ones they are, unless said. */
  readonly catalog?: boolean
  /** What all its outputs carry; untrusted unless said. */
  readonly labels?: ToolLabels
  /** Milliseconds for one call; 60,000 unless said. */
  readonly timeoutMs?: number
  /** Milliseconds for connecting, and for a list of tools; 30,000 unless said. A person who logs in has no longer. */
  readonly connectMs?: number
  /**
   * Answers a server that asks for input while a tool works (elicitation). Unless given, servers are told that nobody can
   * be asked, and a tool that insists has failed: as with `isError`, what it did before is not known.
   */
  readonly elicit?: (request: JsonObject) => Promise<Elicited>
}

export interface Elicited {
  readonly action: 'accept' | 'decline' | 'cancel'
  readonly content?: Readonly<Record<string, string | number | boolean | string[]>>
}

/** A program that speaks MCP over its standard input and output. */
export interface StdioServer extends Common {
  readonly command: string
  readonly args?: readonly string[]
  /** Its working folder; the app's unless said. */
  readonly cwd?: string
  /**
   * All it is given of the environment, besides what programs need to start at all (PATH, HOME, USER, LOGNAME, SHELL,
   * TERM). Values may be `secret('name')`.
   */
  readonly env?: Readonly<Record<string, string | SecretRef>>
}

/** A server over streamable HTTP. */
export interface HttpServer extends Common {
  readonly url: string
  /** Sent with every request. Values may be `secret('name')`. */
  readonly headers?: Readonly<Record<string, string | SecretRef>>
  /** A token for `Authorization: Bearer`. */
  readonly bearer?: SecretRef
  /** Where requests may go: the server's own host on a public address unless said. With OAuth, its hosts as well. */
  readonly network?: NetworkRules
  /** A provider of the official client: a bearer token, client credentials, or OAuth with a person. */
  readonly auth?: AuthProvider | OAuthClientProvider
  /** After `auth` has sent a person to the authorization server: what it sent back. */
  readonly authorized?: () => Promise<URLSearchParams>
}

export type McpServer = StdioServer | HttpServer

export function declared(server: McpServer, tool: string): Declared {
  const said = Object.hasOwn(server.tools ?? {}, tool) ? server.tools?.[tool] : undefined
  return typeof said === 'string' ? { effect: said } : (said ?? {})
}

export function connectMs(server: McpServer): number {
  return server.connectMs ?? 30_000
}

/** Names of the secrets that a server is given. */
export function secretsOf(server: McpServer): readonly string[] {
  const said = ('command' in server ? server.env : server.headers) ?? {}
  const bearer = 'url' in server && server.bearer !== undefined ? [server.bearer] : []
  return [...Object.values(said), ...bearer].flatMap((value) => (typeof value === 'string' ? [] : [value.$secret]))
}
