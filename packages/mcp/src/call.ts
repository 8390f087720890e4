import { ProtocolError, SdkError, SdkErrorCode, SdkHttpError, type Client } from '@modelcontextprotocol/client'
import type { Json, JsonObject } from 'convoke'
import { ConvokeError, isConvokeError, type ToolCall, type ToolTransport } from 'convoke/adapter'
import { spent, type Connection } from './connection.ts'
import { difference, hashOf, type Definition } from './definition.ts'
import { notLetIn } from './open.ts'
import { answerOf, contentsOf } from './result.ts'
import { declared, secretsOf, type Declared } from './server.ts'

/** The gateway ends calls; this only keeps the client's own limit out of the way. Milliseconds. */
const never = 2 ** 31 - 1

/** Whether a person has accepted the form of this hash since the tool was made. */
export type AcceptedSince = (hash: string) => Promise<boolean>

/**
 * Calls one tool, if it still is what was accepted. One that changed and was accepted anew is another tool, with another
 * description and other schemas: the call that was meant for the old one is refused all the same.
 */
export function toolTransport(
  connection: Connection,
  accepted: Definition,
  acceptedSince?: AcceptedSince,
): ToolTransport {
  const { server } = connection
  const pinned = hashOf(accepted)
  const { errors: meaning = 'unknown' } = declared(server, accepted.name)
  return {
    async call(call) {
      await knowSecrets(connection, call)
      const served = (await connection.listing()).find(({ name }) => name === accepted.name)
      if (served === undefined || hashOf(served) !== pinned) {
        const since = served === undefined ? false : await acceptedSince?.(hashOf(served)).catch(() => false)
        throw new ConvokeError(
          'TOOL_QUARANTINED',
          `MCP server ${server.name} ${served === undefined ? 'no longer has' : 'has changed'} the tool ${accepted.name}`,
          {
            details: {
              tool: call.tool,
              server: server.name,
              reason: served === undefined ? 'gone' : 'changed',
              ...(since === true ? { accepted: true } : {}),
              difference: difference(accepted, served).slice(0, 20_000),
            },
            next:
              since === true
                ? 'it has been accepted as it is now: call it again'
                : 'a person must look at the difference and accept it',
          },
        )
      }
      const client = await connection.client()
      call.signal.throwIfAborted()
      try {
        const result = await connection.admitted(client, () => {
          call.assertLease()
          return client.callTool(
            {
              name: accepted.name,
              arguments: call.input as Record<string, unknown>,
              _meta: { 'convoke/idempotency-key': call.idempotencyKey },
            },
            {
              signal: call.signal,
              timeout: never,
              onprogress: (progress) => call.progress(progress as unknown as Json),
            },
          )
        })
        connection.healthy()
        const answer = answerOf(result)
        if (result.isError === true)
          throw said(call, answer.text ?? JSON.stringify(answer.structured ?? 'it did not say why'), meaning)
        return answer
      } catch (error) {
        throw await failure(connection, client, call, error, meaning)
      } finally {
        concealTokens(connection, call)
      }
    },
  }
}

export type ResourceRequest = { readonly uri: string } | { readonly cursor?: string }

/** Lists or reads a server's resources. */
export function resourceTransport(connection: Connection, what: 'list' | 'read'): ToolTransport {
  return {
    async call(call) {
      await knowSecrets(connection, call)
      const client = await connection.client()
      const options = { signal: call.signal, timeout: never, cacheMode: 'bypass' as const }
      const asked = <T>(ask: () => Promise<T>): Promise<T> =>
        connection.admitted(client, () => {
          call.assertLease()
          return ask()
        })
      try {
        if (what === 'read') {
          const { uri } = call.input as unknown as { uri: string }
          const { contents } = await asked(() => client.readResource({ uri }, options))
          connection.healthy()
          return { parts: contents.map(contentsOf) }
        }
        const { resources } = await asked(() => client.listResources(undefined, options))
        connection.healthy()
        return {
          parts: resources.map(({ uri, name, mimeType, description }) => ({
            type: 'link',
            uri,
            name,
            ...(mimeType === undefined ? {} : { mediaType: mimeType }),
            ...(description === undefined ? {} : { description }),
          })),
        }
      } catch (error) {
        throw await failure(connection, client, call, error)
      } finally {
        concealTokens(connection, call)
      }
    },
  }
}

/** What the server was given must not come back in answers: the gateway takes out what it knows. */
async function knowSecrets({ server }: Connection, call: ToolCall): Promise<void> {
  for (const name of secretsOf(server)) await call.secret(name)
}

/** Tokens are got by the way, so they are made known when a call is over, before its answer is looked at. */
function concealTokens({ server, tokens }: Connection, call: ToolCall): void {
  for (const token of tokens) call.conceal(token, `${server.name} token`)
}

type Meaning = NonNullable<Declared['errors']>

function said(call: ToolCall, text: string, meaning: Meaning): Error {
  const message = `${call.tool} answered with an error: ${text.slice(0, 4000)}`
  // Whatever is no error of ours tells the gateway that the tool failed and that nobody knows what it did before.
  return meaning === 'none'
    ? new ConvokeError('TOOL_FAILED', message, { details: { tool: call.tool } })
    : new Error(message)
}

/** By what went wrong, whether anything can have happened. */
async function failure(
  connection: Connection,
  client: Client,
  call: ToolCall,
  error: unknown,
  meaning: Meaning = 'none',
): Promise<unknown> {
  if (call.signal.aborted) connection.doubted()
  if (isConvokeError(error) || call.signal.aborted) return error
  const { server } = connection
  const why = error instanceof Error ? error.message : String(error)
  const details: JsonObject = { tool: call.tool, server: server.name }
  const refused = (text: string, next: string): ConvokeError =>
    new ConvokeError('TOOL_FAILED', `${call.tool} ${text}`, { details, next, cause: error })
  const lost = (sent: boolean): ConvokeError =>
    new ConvokeError('TOOL_UNREACHABLE', `MCP server ${server.name} did not answer: ${why}`, {
      details: { ...details, sent },
      cause: error,
    })
  if (spent(error)) await connection.drop(client)
  if (notLetIn(error)) return refused(`was not let in: ${why}`, 'see to the credentials of the server')
  if (error instanceof SdkHttpError) {
    const { status } = error
    // The session is gone, and a server that does not know the session has done nothing (2025-11-25, session management).
    if (status === 404) return lost(false)
    if (status === undefined || status >= 500 || status === 408 || status === 429) return lost(true)
    return refused(`was refused with ${status}: ${why}`, 'correct the call')
  }
  if (error instanceof SdkError) {
    // What it did before it asked is not known, as with any other error that it reports.
    if (error.code === SdkErrorCode.UnsupportedResultType)
      return said(call, 'it asks for input from a person, and nobody may be asked: give the server `elicit`', meaning)
    if (error.code === SdkErrorCode.InvalidResult)
      return new ConvokeError('TOOL_OUTPUT_INVALID', `${call.tool}: ${why}`, { details, cause: error })
    return lost(error.code !== SdkErrorCode.NotConnected)
  }
  // JSON-RPC 2.0: the server could not read the request, does not know the method, or refuses the parameters.
  if (error instanceof ProtocolError && [-32700, -32600, -32601, -32602].includes(error.code))
    return refused(`was refused: ${why}`, 'correct the arguments')
  if (error instanceof ProtocolError) return said(call, why, meaning)
  return lost(true)
}
