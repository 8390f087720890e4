import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { parse } from 'yaml'

// Serves recorded HTTP exchanges (VCR YAML) from loopback. Answers come in the order of the recording, per path.

export interface Exchange {
  readonly file: string
  readonly path: string
  readonly request: Readonly<Record<string, unknown>>
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Where recorded traffic lies: CONVOKE_TEST_DATA, or `../shared/data` beside the repository; undefined when absent. */
export function trafficFolder(): string | undefined {
  const base = process.env['CONVOKE_TEST_DATA'] ?? resolve(import.meta.dirname, '../../../../../shared/data')
  const folder = join(base, 'provider-traffic')
  return existsSync(folder) ? folder : undefined
}

export function readRecordings(folder: string): readonly Exchange[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .flatMap((name) => exchanges(name, readFileSync(join(folder, name), 'utf8')))
}

interface Recorded {
  readonly request?: { readonly uri: string; readonly parsed_body?: unknown }
  readonly response: {
    readonly status: { readonly code: number }
    readonly headers?: Readonly<Record<string, readonly string[]>>
    readonly body?: { readonly string?: string }
    readonly parsed_body?: unknown
  }
}

function exchanges(file: string, text: string): readonly Exchange[] {
  const { interactions } = parse(text) as { readonly interactions: readonly Recorded[] }
  return interactions.flatMap(({ request, response }) => {
    // A few recordings are of web sockets, without requests.
    if (request === undefined) return []
    const headers = Object.entries(response.headers ?? {}).map(([key, values]) => [key, values[0] ?? ''])
    return [
      {
        file,
        path: new URL(request.uri).pathname,
        request: (request.parsed_body ?? {}) as Record<string, unknown>,
        status: response.status.code,
        headers: Object.fromEntries(headers) as Record<string, string>,
        body: response.body?.string ?? JSON.stringify(response.parsed_body ?? null),
      },
    ]
  })
}

export interface Server {
  readonly url: string
  /** Bodies of the requests that came, parsed. */
  readonly requests: readonly Readonly<Record<string, unknown>>[]
  close(): Promise<void>
}

export async function serve(
  handle: (request: Readonly<Record<string, unknown>>, response: ServerResponse, path: string) => void,
): Promise<Server> {
  const requests: Readonly<Record<string, unknown>>[] = []
  const server = createServer((message, response) => {
    void bodyOf(message).then((body) => {
      requests.push(body)
      handle(body, response, new URL(message.url ?? '/', 'http://localhost').pathname)
    })
  })
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}

async function bodyOf(message: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const chunks: Buffer[] = []
  for await (const chunk of message) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString('utf8')
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
}

/** Hop-by-hop headers and those about an encoding that the recording no longer has. */
const dropped = new Set(['connection', 'transfer-encoding', 'content-length', 'content-encoding', 'keep-alive'])

export function replay(recorded: readonly Exchange[]): Promise<Server> {
  const left = [...recorded]
  return serve((_, response, path) => {
    const at = left.findIndex((exchange) => exchange.path.endsWith(path))
    const exchange = at === -1 ? undefined : left.splice(at, 1)[0]
    if (exchange === undefined) {
      response.writeHead(599).end(`nothing recorded for ${path}`)
      return
    }
    const headers = Object.entries(exchange.headers).filter(([key]) => !dropped.has(key.toLowerCase()))
    response.writeHead(exchange.status, Object.fromEntries(headers)).end(exchange.body)
  })
}
