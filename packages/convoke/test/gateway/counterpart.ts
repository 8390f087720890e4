import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

/**
 * How the counterpart answers one request: before or after the effect it may fail in its ways. `lost` has the effect
 * and breaks the connection; `never` has it and stays silent; `500-after` has it and answers 500.
 */
export type Mode =
  'ok' | 'lost' | 'drop' | 'never' | 'silent' | '429' | '500' | '500-after' | '400' | 'garbage' | 'large' | 'digits'

export interface Seen {
  readonly key: string | undefined
  readonly body: unknown
  readonly applied: boolean
}

/** A real system out there, which counts. The only judge of how often something happened. */
export interface Counterpart {
  readonly url: string
  /** Answers of the next requests to /do; then `ok`. */
  plan(...modes: Mode[]): void
  readonly requests: readonly Seen[]
  /** Effects that really happened. */
  readonly effects: readonly Seen[]
  /** Resolves when /do was called so often. */
  called(times: number): Promise<void>
  close(): Promise<void>
}

/** `honoursKeys`: the same Idempotency-Key again gets the first answer without a second effect. */
export async function counterpart(options: { readonly honoursKeys?: boolean } = {}): Promise<Counterpart> {
  const modes: Mode[] = []
  const requests: Seen[] = []
  const effects: Seen[] = []
  const byKey = new Map<string, number>()
  const sockets = new Set<Socket>()
  const waiters: { readonly times: number; readonly done: () => void }[] = []

  const server: Server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://x')
    if (url.pathname === '/state') {
      const at = byKey.get(url.searchParams.get('key') ?? '')
      json(response, 200, at === undefined ? { happened: false } : { happened: true, id: at })
      return
    }
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      const mode = modes.shift() ?? 'ok'
      const key = request.headers['idempotency-key'] as string | undefined
      const body: unknown = text === '' ? undefined : JSON.parse(text)
      const repeated = options.honoursKeys === true && key !== undefined && byKey.has(key)
      const acts = request.method !== 'GET' && !repeated && !['drop', 'silent', '429', '500', '400'].includes(mode)
      const seen: Seen = { key, body, applied: acts }
      requests.push(seen)
      if (acts) {
        effects.push(seen)
        if (key !== undefined) byKey.set(key, effects.length)
      }
      answer(mode, response, request.socket, key === undefined ? effects.length : (byKey.get(key) ?? effects.length))
      for (const waiter of waiters) if (requests.length >= waiter.times) waiter.done()
    })
  })

  function answer(mode: Mode, response: ServerResponse, socket: Socket, id: number): void {
    switch (mode) {
      case 'lost':
      case 'drop':
        socket.destroy()
        return
      case 'never':
      case 'silent':
        return
      case '429':
        response.setHeader('retry-after', '0')
        json(response, 429, { error: 'slow down' })
        return
      case '500':
      case '500-after':
        json(response, 500, { error: 'broken' })
        return
      case '400':
        json(response, 400, { error: 'no such vendor' })
        return
      case 'garbage':
        response.end('<html>')
        return
      case 'large':
        response.end(JSON.stringify({ id, pad: 'x'.repeat(200_000) }))
        return
      case 'digits':
        response.end(`{"id":${id},"amount":12345678901234567890.10}`)
        return
      case 'ok':
        json(response, 200, { id })
    }
  }

  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    plan: (...next) => void modes.push(...next),
    requests,
    effects,
    called: (times) =>
      requests.length >= times ? Promise.resolve() : new Promise((done) => waiters.push({ times, done })),
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}
