// The client under test: an app whose workflow calls what a server offers, through the gateway, as any app does. The
// conformance suite starts it with the server's address and says in the environment which scenario it plays.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  ClientCredentialsProvider,
  CrossAppAccessProvider,
  PrivateKeyJwtProvider,
  requestJwtAuthorizationGrant,
} from '@modelcontextprotocol/client'
import { convoke, workflow, type Json, type JsonObject } from 'convoke'
import { z } from 'zod'
import { mcpTools, type HttpServer, type McpTool, type McpTools } from '../../src/index.ts'
import { person, workload } from './person.ts'

const scenario = process.env['MCP_CONFORMANCE_SCENARIO'] ?? ''
const context = JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT'] ?? '{}') as Readonly<Record<string, string>> & {
  readonly toolCalls?: readonly { readonly name: string; readonly arguments: JsonObject }[]
}
const said = (key: string): string => context[key] ?? ''

interface Planned {
  readonly tool: string
  readonly input: JsonObject
}

/** What a scenario wants called: what it says, or every tool with what its schema demands. */
function planned(mcp: McpTools): readonly Planned[] {
  // What the suite calls with null is a boolean by the tool's own schema. The gateway sends nothing that does not fit a
  // schema, so it is left out; the scenario treats both alike.
  if (context.toolCalls !== undefined)
    return context.toolCalls.map(({ name, arguments: input }) => ({
      tool: `served.${name}`,
      input: Object.fromEntries(Object.entries(input).filter(([, value]) => value !== null)),
    }))
  // The suite's echo wants to see the schema of its other tool as the client has it.
  if (scenario === 'json-schema-2020-12-preservation') {
    const focal = mcp.tools.find(({ name }) => name === 'served.json_schema_2020_12_tool')
    return focal === undefined ? [] : [{ tool: 'served.json_schema_echo', input: { schema: schemaOf(focal) } }]
  }
  const numbers: JsonObject = { a: 5, b: 3, region: 'us-west1' }
  return mcp.tools
    .filter(({ name }) => !/\.(list_resources|read_resource)$/.test(name))
    .map((tool) => {
      const { properties = {} } = schemaOf(tool)
      const known = Object.entries(numbers).filter(([key]) => Object.hasOwn(properties as JsonObject, key))
      return { tool: tool.name, input: Object.fromEntries(known) }
    })
}

/** As models are shown it (Standard JSON Schema). */
function schemaOf(tool: McpTool): JsonObject {
  const { jsonSchema } = tool.inputSchema['~standard'] as unknown as {
    readonly jsonSchema: { input(options: { readonly target: 'draft-2020-12' }): JsonObject }
  }
  return jsonSchema.input({ target: 'draft-2020-12' })
}

/** Who lets us in: a person, or one of the official client's providers for programs. */
function credentials(): Pick<HttpServer, 'auth' | 'authorized'> {
  const { client_id, client_secret } = { client_id: said('client_id'), client_secret: said('client_secret') }
  switch (scenario) {
    case 'auth/client-credentials-jwt':
      return {
        auth: new PrivateKeyJwtProvider({
          clientId: client_id,
          privateKey: said('private_key_pem'),
          algorithm: context['signing_algorithm'] ?? 'ES256',
        }),
      }
    case 'auth/client-credentials-basic':
      return { auth: new ClientCredentialsProvider({ clientId: client_id, clientSecret: client_secret }) }
    case 'auth/enterprise-managed-authorization':
      return {
        auth: new CrossAppAccessProvider({
          clientId: client_id,
          clientSecret: client_secret,
          assertion: async ({ authorizationServerUrl, resourceUrl, fetchFn }) => {
            const { jwtAuthGrant } = await requestJwtAuthorizationGrant({
              tokenEndpoint: said('idp_token_endpoint'),
              audience: authorizationServerUrl,
              resource: resourceUrl,
              idToken: said('idp_id_token'),
              clientId: said('idp_client_id'),
              ...(fetchFn === undefined ? {} : { fetchFn }),
            })
            return jwtAuthGrant
          },
        }),
      }
    case 'auth/wif-jwt-bearer':
      return { auth: workload(client_id, said('valid_jwt')) }
    default: {
      if (!scenario.startsWith('auth/')) return {}
      const { provider, authorized } = person({
        dpop: scenario.startsWith('auth/dpop'),
        ...(client_id === '' ? {} : { registered: { client_id, client_secret } }),
      })
      return { auth: provider, authorized }
    }
  }
}

async function play(url: string, dir: string): Promise<Json> {
  const server: HttpServer = {
    name: 'served',
    url,
    network: { inside: ['loopback'] },
    resources: scenario === 'http-standard-headers',
    ...credentials(),
    ...(scenario.startsWith('elicitation') || scenario.startsWith('sep-2322')
      ? { elicit: () => Promise.resolve({ action: 'accept' as const, content: {} }) }
      : {}),
  }
  const pins = join(dir, 'pins.json')
  const first = await mcpTools({ servers: [server], pins })
  for (const { tool, hash } of first.quarantined) await first.accept({ tool, hash, by: 'conformance' })
  await first.close()
  const [gone] = first.unreachable
  if (gone !== undefined) throw gone.error
  const names = first.quarantined.map(({ tool }) => tool.slice('served.'.length))
  const mcp = await mcpTools({
    servers: [{ ...server, tools: Object.fromEntries(names.map((name) => [name, 'read' as const])) }],
    pins,
  })
  const flow = workflow({ name: 'flow', input: z.array(z.any()), output: z.any() }, async (run, calls) => {
    const answers: Json[] = []
    for (const { tool, input } of calls as readonly Planned[]) {
      const its = mcp.tools.find(({ name }) => name === tool)
      if (its === undefined) throw new Error(`${tool} is not there`)
      try {
        answers.push((await run.call(its, input)) as Json)
      } catch (error) {
        answers.push({ failed: String(error) })
      }
    }
    const list = mcp.tools.find(({ name }) => name === 'served.list_resources')
    const read = mcp.tools.find(({ name }) => name === 'served.read_resource')
    if (list !== undefined && read !== undefined) {
      const { parts = [] } = await run.call(list, {})
      for (const part of parts) if ('uri' in part) answers.push((await run.call(read, { uri: part.uri })) as Json)
    }
    return answers
  })
  const app = convoke({ store: join(dir, 'store'), workflows: { flow }, durability: 'process-crash-only' })
  try {
    return await (await app.start(flow, [...planned(mcp)])).result()
  } finally {
    await app.close()
    await mcp.close()
  }
}

const dir = await mkdtemp(join(tmpdir(), 'convoke-conformance-'))
try {
  const answers = await play(process.argv.at(-1) ?? '', dir)
  process.stdout.write(`${JSON.stringify(answers, null, 2)}\n`)
  // A result without `resultType` is no result of 2026-07-28: the official client refuses it, and so the call fails. The
  // scenario asks no more than that it is not sent again.
  const meant = scenario === 'sep-2322-client-request-state' ? 1 : 0
  if (JSON.stringify(answers).split('"failed":').length - 1 !== meant) process.exitCode = 1
} catch (error) {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  process.exitCode = 1
} finally {
  await rm(dir, { recursive: true, force: true })
}
