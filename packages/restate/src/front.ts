import {
  connect,
  constants,
  createServer,
  type ClientHttp2Session,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { ConvokeError } from 'convoke/adapter'
import type { Handler } from './service.ts'
import { watchSession } from './keepalive.ts'
import { forward, isLocal, refuse } from './forward.ts'

// The one address behind which the workers of a machine stand. The engine knows one address for a service and sends many
// invocations over one connection, so connections cannot be shared out: streams are.
//
// Owns: this worker's servers and its connections to the others.
// 1. Whoever can listen on the shared address is the front; the others listen on ports of their own and join it. When it
//    is gone the address is free, and one of them takes it. Nothing is configured and no process stands apart.
// 2. A stream goes to the worker that serves it and has the fewest. A worker that does not answer pings is dropped with
//    its streams, which the engine then tries again with another.
// 3. It carries hints and answers to them, never anything that a run needs.

export interface FrontOptions {
  readonly host: string
  /** 0 for one of this worker's own, not shared with others. */
  readonly port: number
  readonly services: ReadonlyMap<string, Handler>
  /** Told when the shared address is lost and cannot be had back. */
  readonly onTrouble: (error: Error) => void
}

export interface Front {
  /** `http://host:port` of the shared address. */
  readonly address: string
  /** Whether this process listens there. */
  readonly leads: boolean
  close(): Promise<void>
}

interface Member {
  readonly session: ClientHttp2Session
  readonly services: ReadonlySet<string>
  streams: number
}

const joinPath = '/convoke/join'

/** @throws ENGINE_UNREACHABLE when something else uses the address */
export async function openFront(options: FrontOptions): Promise<Front> {
  const { host, services, onTrouble } = options
  const members = new Set<Member>()
  const open = new Set<ServerHttp2Session>()
  const closing = new AbortController()
  let own = 0
  let port = options.port
  let shared: Http2Server | undefined
  let private_: Http2Server | undefined
  let joined: ClientHttp2Session | undefined

  function serve(server: Http2Server, isShared: boolean): void {
    server.on('session', (session) => {
      open.add(session)
      session.on('error', () => undefined)
      session.once('close', () => open.delete(session))
    })
    server.on('request', (request, response) => {
      request.stream.on('error', () => undefined)
      const path = request.url
      if (isShared && path === joinPath) return join(request, response)
      const service = path.slice(1, path.indexOf('/', 1))
      const local = services.get(service)
      const best = isShared ? leastBusy(service) : undefined
      if (best !== undefined && (local === undefined || best.streams < own)) {
        best.streams++
        forward(request, response, best.session, () => best.streams--)
      } else if (local !== undefined) {
        own++
        request.stream.once('close', () => own--)
        local(request, response)
      } else refuse(response, 503, `no worker here serves ${service}`)
    })
  }

  function leastBusy(service: string): Member | undefined {
    let best: Member | undefined
    for (const member of members)
      if (member.services.has(service) && (best === undefined || member.streams < best.streams)) best = member
    return best
  }

  /** Another worker of this machine says which services it has and where; it is with us for as long as its stream is. */
  function join(request: Http2ServerRequest, response: Http2ServerResponse): void {
    if (!isLocal(request.socket.remoteAddress)) return refuse(response, 403, 'workers join from their own machine')
    let text = ''
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => {
      text += chunk
      if (text.length > 1_000_000) request.stream.destroy()
      if (!text.endsWith('\n')) return
      const said = parseJoin(text)
      if (said === undefined) return refuse(response, 400, 'a worker says its port and its services')
      const session = connect(`http://127.0.0.1:${said.port}`)
      const member: Member = { session, services: new Set(said.services), streams: 0 }
      const gone = (): void => {
        members.delete(member)
        stopWatching()
        session.destroy()
        request.stream.close()
      }
      const stopWatching = watchSession(session, gone)
      session.once('close', gone)
      request.stream.once('close', gone)
      session.once('connect', () => {
        members.add(member)
        response.writeHead(200)
        response.write('joined\n')
      })
    })
  }

  /** Takes the shared address, or joins whoever has it. */
  async function settle(): Promise<void> {
    let last: unknown
    for (let tries = 0; tries < 40 && !closing.signal.aborted; tries++) {
      const server = createServer()
      const failed = await listen(server, host, port)
      if (failed === undefined) {
        shared = server
        serve(server, true)
        port = (server.address() as AddressInfo).port
        return
      }
      if (failed.code !== 'EADDRINUSE') throw unusable(failed)
      try {
        return await joinFront()
      } catch (error) {
        last = error
      }
      // It may be just about to go, or to come.
      await new Promise((resolve) => setTimeout(resolve, 25 + Math.random() * 50))
    }
    if (!closing.signal.aborted) throw unusable(last)
  }

  async function joinFront(): Promise<void> {
    if (private_ === undefined) {
      const server = createServer()
      const failed = await listen(server, '127.0.0.1', 0)
      if (failed !== undefined) throw failed
      private_ = server
      serve(server, false)
    }
    const session = connect(`http://${urlHost(isAny(host) ? '127.0.0.1' : host)}:${port}`)
    const stopWatching = watchSession(session, () => session.destroy())
    try {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error('it does not answer as a worker')), 2_000)
        session.once('error', reject)
        session.once('close', () => reject(new Error('it closed the connection')))
        const stream = session.request({ ':method': 'POST', ':path': joinPath }, { endStream: false })
        stream.on('error', reject)
        stream.on('data', () => undefined)
        stream.once('close', () => session.destroy())
        stream.once('response', (headers) => {
          clearTimeout(timer)
          const status = Number(headers[constants.HTTP2_HEADER_STATUS])
          if (status === 200) resolve()
          else reject(new Error(`it answers ${status}`))
        })
        const { port: own } = (private_ as Http2Server).address() as AddressInfo
        stream.write(`${JSON.stringify({ port: own, services: [...services.keys()] })}\n`)
      })
    } catch (error) {
      stopWatching()
      session.destroy()
      throw error
    }
    joined = session
    session.once('close', () => {
      stopWatching()
      joined = undefined
      if (!closing.signal.aborted) void settle().catch(again)
    })
  }

  /** Without the address the sweeps go on; it is tried for as long as the worker lives. */
  function again(error: unknown): void {
    if (closing.signal.aborted) return
    onTrouble(error as Error)
    setTimeout(() => void settle().catch(again), 5_000).unref()
  }

  function unusable(cause: unknown): ConvokeError {
    return new ConvokeError(
      'ENGINE_UNREACHABLE',
      `workers cannot be reached at ${host}:${port}: ${(cause as Error).message}`,
      {
        details: { listen: `${host}:${port}` },
        next: 'something else uses the address: choose another with restate://…?listen=host:port',
        cause,
      },
    )
  }

  await settle()
  return {
    get address() {
      return `http://${urlHost(host)}:${port}`
    },
    get leads() {
      return shared !== undefined
    },
    async close() {
      closing.abort()
      joined?.destroy()
      for (const { session } of members) session.destroy()
      const servers = [shared, private_].filter((server) => server !== undefined)
      const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)))
      for (const session of open) session.destroy()
      await Promise.all(closed)
    },
  }
}

function listen(server: Http2Server, host: string, port: number): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    server.once('error', resolve)
    server.listen(port, host, () => {
      server.off('error', resolve)
      server.on('error', () => undefined)
      resolve(undefined)
    })
  })
}

function parseJoin(text: string): { readonly port: number; readonly services: readonly string[] } | undefined {
  try {
    const { port, services } = JSON.parse(text) as { port?: unknown; services?: unknown }
    if (!Number.isInteger(port) || !Array.isArray(services)) return undefined
    return { port: port as number, services: services.map(String) }
  } catch {
    return undefined
  }
}

function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
