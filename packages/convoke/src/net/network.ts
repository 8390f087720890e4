import { lookup as systemLookup, type LookupAddress } from 'node:dns'
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import type { LookupFunction, Socket } from 'node:net'
import { callbackify } from 'node:util'
import { ConvokeError } from '../core/errors.ts'
import type { Network, NetworkRequest, NetworkResponse } from '../ports/network.ts'
import { decoded } from './decode.ts'
import { nextHop } from './redirect.ts'
import { admission, denied, hostOf, isLiteral, portOf, type Admission } from './rules.ts'

// Owns: pools of connections, one for each set of rules.
// Invariants:
// 1. A name is resolved once per connection, all its addresses are checked, and the connection goes to one of those: what
//    the name means a moment later does not matter.
// 2. A connection is used under the rules that it was opened under.
// 3. A request that changes something has a connection of its own: a kept one may be about to close, and nobody could
//    say what became of the request.
// 4. Each redirect is a request of its own, under the same rules.

const maxRedirects = 5
const idleMs = 4_000

export type Resolve = (host: string) => Promise<readonly LookupAddress[]>

export interface NetworkOptions {
  /** The system's resolver unless said. */
  readonly resolve?: Resolve
  /** Told of every connection that is made, with the address that it goes to. */
  readonly onConnect?: (address: string) => void
}

/** HTTP/1.1 over connections that go only where rules allow. */
export function openNetwork(options: NetworkOptions = {}): Network {
  const resolve = options.resolve ?? systemResolve
  const pools = new Map<string, { readonly http: HttpAgent; readonly https: HttpsAgent }>()

  const poolOf = (key: string): { readonly http: HttpAgent; readonly https: HttpsAgent } => {
    let pool = pools.get(key)
    if (pool === undefined) {
      const kept = { keepAlive: true, timeout: idleMs, maxFreeSockets: 32, scheduling: 'lifo' as const }
      pools.set(key, (pool = { http: new HttpAgent(kept), https: new HttpsAgent(kept) }))
    }
    return pool
  }

  async function hop(request: NetworkRequest, url: URL, rules: Admission): Promise<IncomingMessage> {
    rules.url(url)
    const host = hostOf(url)
    const secure = url.protocol === 'https:'
    const reads = ['GET', 'HEAD', 'OPTIONS'].includes(request.method)
    const pool = poolOf(rules.key)
    request.beforeSend?.()
    return new Promise<IncomingMessage>((done, failed) => {
      const sent = { any: false }
      const outgoing: ClientRequest = (secure ? httpsRequest : httpRequest)({
        host,
        port: portOf(url),
        path: `${url.pathname}${url.search}`,
        method: request.method,
        headers: headersOf(request, url),
        agent: reads ? (secure ? pool.https : pool.http) : false,
        lookup: pinned(resolve, url, rules),
        signal: request.signal,
        ...(secure && !isLiteral(host) ? { servername: host } : {}),
      })
      outgoing.on('socket', (socket) => watch(socket, outgoing.reusedSocket, secure, sent, options.onConnect))
      outgoing.once('response', done)
      outgoing.once('error', (error) =>
        failed(request.signal.aborted ? (request.signal.reason as Error) : unreachable(error, url, sent.any)),
      )
      outgoing.end(request.body)
    })
  }

  return {
    admit: (rules) => void admission(rules),
    async request(request) {
      const rules = admission(request.rules)
      let now = request
      let url = parsed(request.url)
      for (let redirects = 0; ; redirects++) {
        let incoming: IncomingMessage | undefined
        try {
          incoming = await hop(now, url, rules)
          const next = nextHop(now, url, incoming)
          if (next === undefined) return responseOf(now, url, incoming)
          incoming.resume()
          if (redirects >= maxRedirects) throw denied(url, `it redirects more than ${maxRedirects} times`)
          now = next.request
          url = next.url
        } catch (error) {
          incoming?.destroy()
          throw incoming !== undefined || redirects > 0 ? afterAnswer(error) : error
        }
      }
    },
    close() {
      for (const { http, https } of pools.values()) {
        http.destroy()
        https.destroy()
      }
      pools.clear()
    },
  }
}

/** A redirect that goes wrong does not undo what was sent before it. */
function afterAnswer(error: unknown): unknown {
  if (!(error instanceof ConvokeError) || error.details?.['sent'] !== false) return error
  return new ConvokeError(error.code, error.message, {
    details: { ...error.details, sent: true },
    ...(error.next === undefined ? {} : { next: error.next }),
    cause: error,
  })
}

function parsed(text: string): URL {
  const url = URL.parse(text)
  if (url === null)
    throw new ConvokeError('NETWORK_DENIED', 'what should be called is no address', {
      details: { sent: false, url: text.split(/[?#]/)[0]?.slice(0, 200).toWellFormed() ?? '' },
    })
  return url
}

function headersOf(request: NetworkRequest, url: URL): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [name, value] of request.headers) if (!ours.has(name)) headers[name] = value
  headers['accept'] ??= '*/*'
  headers['user-agent'] ??= 'convoke'
  headers['accept-encoding'] = 'gzip, deflate, br'
  // Without the dot at a name's end, as the certificate has it.
  headers['host'] = url.host.replace(/\.(?=:\d+$|$)/, '')
  if (request.body !== undefined) headers['content-length'] = String(request.body.byteLength)
  else if (['POST', 'PUT', 'PATCH'].includes(request.method)) headers['content-length'] = '0'
  return headers
}

/** How a message is framed and where it goes is not for its sender to say. */
const ours = new Set([
  'accept-encoding',
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Resolves once, checks everything, and hands the connection nothing but what was checked. */
function pinned(resolve: Resolve, url: URL, rules: Admission): LookupFunction {
  const checked = async (host: string): Promise<readonly LookupAddress[]> => {
    const addresses = await resolve(host)
    const kind = addresses.map(({ address }) => rules.refuses(address)).find((refused) => refused !== undefined)
    if (kind !== undefined) throw denied(url, `its name leads to an address that is ${kind}`)
    return addresses
  }
  // Made for every request and called for the few that need a connection of their own.
  return (host, { family, all }, done) =>
    callbackify(checked)(host, (error: NodeJS.ErrnoException | null, addresses) => {
      const fit =
        error === null ? addresses.filter((a) => (family === 4 || family === 6 ? a.family === family : true)) : []
      const [first] = fit
      if (error !== null) done(error, [])
      else if (first === undefined) done(Object.assign(new Error(`${host} has no address`), { code: 'ENOTFOUND' }), [])
      else if (all === true) done(null, [...fit])
      else done(null, first.address, first.family)
    })
}

function systemResolve(host: string): Promise<readonly LookupAddress[]> {
  return new Promise((done, failed) =>
    systemLookup(host, { all: true, verbatim: true }, (error, addresses) =>
      error === null ? done(addresses) : failed(error),
    ),
  )
}

/** Notes from when on bytes may have left: as soon as there is a connection to write to. */
function watch(
  socket: Socket,
  reused: boolean,
  secure: boolean,
  sent: { any: boolean },
  onConnect: ((address: string) => void) | undefined,
): void {
  if (reused || !socket.connecting) {
    sent.any = true
    return
  }
  socket.once(secure ? 'secureConnect' : 'connect', () => (sent.any = true))
  if (onConnect !== undefined) socket.on('connectionAttempt', (address: string) => onConnect(address))
}

function unreachable(error: unknown, url: URL, sent: boolean): ConvokeError {
  if (error instanceof ConvokeError) return error
  const why = reasonOf(error)
  return new ConvokeError('TOOL_UNREACHABLE', `${hostOf(url)} did not answer: ${why}`, {
    details: { host: hostOf(url), sent },
    cause: error,
  })
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  if (!(error instanceof Error)) return String(error)
  const { code } = error as { code?: unknown }
  return error.message !== '' ? error.message : typeof code === 'string' ? code : error.name
}

function responseOf(request: NetworkRequest, url: URL, incoming: IncomingMessage): NetworkResponse {
  const headers = new Headers()
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2)
    headers.append(incoming.rawHeaders[i] as string, incoming.rawHeaders[i + 1] as string)
  const body = decoded(request, headers.get('content-encoding'), incoming)
  headers.delete('content-encoding')
  headers.delete('content-length')
  return { status: incoming.statusCode ?? 0, statusText: incoming.statusMessage ?? '', headers, url: url.href, body }
}
