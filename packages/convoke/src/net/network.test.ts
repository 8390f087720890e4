import type { LookupAddress } from 'node:dns'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ConvokeError } from '../core/errors.ts'
import type { NetworkRequest } from '../ports/network.ts'
import { openNetwork } from './network.ts'

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void

const servers: Server[] = []
let seen: {
  readonly url: string
  readonly method: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}[]

async function serve(handler: Handler, host = '127.0.0.1'): Promise<string> {
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      seen.push({ url: request.url ?? '', method: request.method ?? '', headers: request.headers, body })
      handler(request, response, body)
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  return `http://${host}:${(server.address() as AddressInfo).port}`
}

beforeEach(() => (seen = []))
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

const network = openNetwork()

function send(
  url: string,
  more: Partial<NetworkRequest> = {},
  through = network,
): Promise<{ status: number; headers: Headers; text: string; url: string }> {
  return through
    .request({
      url,
      method: 'GET',
      headers: new Headers(),
      body: undefined,
      rules: { inside: ['loopback'] },
      maxBytes: 100_000,
      signal: AbortSignal.timeout(20_000),
      ...more,
    })
    .then(async ({ status, headers, body, url: from }) => {
      const parts: Uint8Array[] = []
      for await (const part of body) parts.push(part)
      return { status, headers, text: Buffer.concat(parts).toString(), url: from }
    })
}

const refusal = (promise: Promise<unknown>): Promise<ConvokeError> =>
  promise.then(
    () => expect.unreachable('it should have been refused'),
    (error: unknown) => error as ConvokeError,
  )

describe('names that change', () => {
  /** Says one thing first and another afterwards, as names do that attack a check before the connection. */
  function rebinding(...answers: readonly (readonly LookupAddress[])[]) {
    let asked = 0
    const connected: string[] = []
    const made = openNetwork({
      resolve: () => Promise.resolve(answers[Math.min(asked++, answers.length - 1)] ?? []),
      onConnect: (address) => connected.push(address),
    })
    return { made, connected, asked: () => asked }
  }
  const here = { address: '127.0.0.1', family: 4 }
  const allowed = { inside: ['127.0.0.1'] }

  test('a name is resolved once per connection, and the connection goes to what was checked', async () => {
    const url = await serve((_, response) => response.end('ok'))
    const { port } = new URL(url)
    // Whoever resolved twice would check 127.0.0.1 and connect to 127.0.0.2.
    const { made, connected, asked } = rebinding([here], [{ address: '127.0.0.2', family: 4 }])
    expect((await send(`http://name.test:${port}/`, { rules: allowed }, made)).text).toBe('ok')
    expect(asked()).toBe(1)
    expect(connected).toEqual(['127.0.0.1'])
    made.close()
  })

  test('a name that later leads elsewhere is refused then (NETWORK_DENIED)', async () => {
    const url = await serve((_, response) => response.setHeader('connection', 'close').end('ok'))
    const { port } = new URL(url)
    const { made, connected } = rebinding([here], [{ address: '10.0.0.1', family: 4 }])
    await send(`http://name.test:${port}/`, { rules: allowed }, made)
    const error = await refusal(send(`http://name.test:${port}/`, { rules: allowed }, made))
    expect(error).toMatchObject({ code: 'NETWORK_DENIED', details: { sent: false } })
    expect(connected).toEqual(['127.0.0.1'])
    made.close()
  })

  test('that a host was let through says nothing of its other ports, protocols, users or neighbours', async () => {
    const url = await serve((_, response) => response.end('ok'))
    const { host, port } = new URL(url)
    const rules = { hosts: [host], inside: ['127.0.0.1'] }
    for (let i = 0; i < 2; i++) expect((await send(url, { rules })).text).toBe('ok')
    const others = [`127.0.0.2:${port}`, `127.0.0.1:${Number(port) - 1}`, `somebody@${host}`, `:word@${host}`]
    for (const other of [...others.map((at) => `http://${at}/`), `ftp://${host}/`])
      expect((await refusal(send(other, { rules }))).code).toBe('NETWORK_DENIED')
    expect((await send(url, { rules })).text).toBe('ok')
  })

  test('a connection that one set of rules opened is not used under another', async () => {
    const url = await serve((_, response) => response.end('ok'))
    await send(url)
    expect(await refusal(send(url, { rules: {} }))).toMatchObject({ code: 'NETWORK_DENIED' })
    expect(seen).toHaveLength(1)
  })

  test('what it resolves to is not said', async () => {
    const { made } = rebinding([{ address: '10.9.8.7', family: 4 }])
    const error = await refusal(send('http://name.test/', { rules: {} }, made))
    expect(JSON.stringify(error)).not.toContain('10.9.8.7')
  })
})

describe('redirects', () => {
  test('are followed, each under the same rules', async () => {
    const url = await serve((request, response) =>
      request.url === '/a' ? response.writeHead(302, { location: '/b' }).end() : response.end('there'),
    )
    expect(await send(`${url}/a`)).toMatchObject({ status: 200, text: 'there', url: `${url}/b` })
  })

  test('to where the rules forbid it end there, and say that something was sent', async () => {
    for (const target of [
      'http://169.254.169.254/latest/',
      'http://10.0.0.1/',
      'file:///etc/passwd',
      'http://[::ffff:a9fe:a9fe]/',
      'http://u:p@127.0.0.1/',
      'gopher://127.0.0.1/',
    ]) {
      const url = await serve((_, response) => response.writeHead(302, { location: target }).end())
      expect([target, await refusal(send(url))]).toEqual([
        target,
        expect.objectContaining({ code: 'NETWORK_DENIED', details: expect.objectContaining({ sent: true }) }),
      ])
    }
  })

  test('to another origin lose whatever could be a credential', async () => {
    const other = await serve((_, response) => response.end('ok'))
    const url = await serve((_, response) => response.writeHead(307, { location: `${other}/x` }).end())
    const headers = new Headers({ authorization: 'Bearer t', cookie: 'a=b', 'x-api-key': 'k', accept: 'text/plain' })
    await send(url, { headers })
    expect(seen[0]?.headers).toMatchObject({ authorization: 'Bearer t', 'x-api-key': 'k' })
    expect(seen[1]?.headers).toMatchObject({ accept: 'text/plain' })
    for (const name of ['authorization', 'cookie', 'x-api-key']) expect(seen[1]?.headers).not.toHaveProperty(name)
  })

  test('of a request that changes something stay at its origin, or become a GET', async () => {
    const other = await serve((_, response) => response.end('ok'))
    const url = await serve((request, response) => {
      const to: Record<string, [number, string]> = {
        '/307': [307, `${other}/x`],
        '/303': [303, '/done'],
        '/same': [308, '/done'],
      }
      const [status, location] = to[request.url ?? ''] ?? [200, '']
      response.writeHead(status, location === '' ? {} : { location }).end('done')
    })
    const post = { method: 'POST', body: Buffer.from('pay') }
    expect(await refusal(send(`${url}/307`, post))).toMatchObject({ code: 'NETWORK_DENIED', details: { sent: true } })
    await send(`${url}/303`, post)
    await send(`${url}/same`, post)
    expect(seen.map(({ method, url: path, body }) => [method, path, body])).toEqual([
      ['POST', '/307', 'pay'],
      ['POST', '/303', 'pay'],
      ['GET', '/done', ''],
      ['POST', '/same', 'pay'],
      ['POST', '/done', 'pay'],
    ])
  })

  test('without an end are ended', async () => {
    const url = await serve((_, response) => response.writeHead(302, { location: '/again' }).end())
    expect(await refusal(send(url))).toMatchObject({ code: 'NETWORK_DENIED' })
    expect(seen).toHaveLength(6)
  })

  test('may be left to the caller, or be an error', async () => {
    const url = await serve((_, response) => response.writeHead(302, { location: '/x' }).end())
    expect(await send(url, { redirect: 'manual' })).toMatchObject({ status: 302 })
    expect(await refusal(send(url, { redirect: 'error' }))).toMatchObject({ code: 'NETWORK_DENIED' })
  })
})

describe('bodies', () => {
  const pack = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync }

  test.each(Object.entries(pack))('%s is undone', async (encoding, compress) => {
    const url = await serve((_, response) =>
      response.writeHead(200, { 'content-encoding': encoding }).end(compress('x'.repeat(50_000))),
    )
    const { text, headers } = await send(url)
    expect(text).toBe('x'.repeat(50_000))
    expect(headers.get('content-encoding')).toBeNull()
  })

  test.each(Object.entries(pack))(
    'a %s bomb is stopped at the bound (TOOL_RESULT_TOO_LARGE)',
    async (encoding, compress) => {
      const bomb = compress(Buffer.alloc(50_000_000))
      expect(bomb.byteLength).toBeLessThan(100_000)
      const url = await serve((_, response) => response.writeHead(200, { 'content-encoding': encoding }).end(bomb))
      const before = process.memoryUsage().arrayBuffers
      expect(await refusal(send(url))).toMatchObject({ code: 'TOOL_RESULT_TOO_LARGE' })
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(30_000_000)
    },
  )

  test('layers of encodings, and encodings that nobody asked for, are refused', async () => {
    for (const encoding of ['gzip, gzip', 'gzip, br', 'compress', 'zstd']) {
      const url = await serve((_, response) => response.writeHead(200, { 'content-encoding': encoding }).end('x'))
      expect([encoding, await refusal(send(url))]).toEqual([
        encoding,
        expect.objectContaining({ code: 'TOOL_OUTPUT_INVALID' }),
      ])
    }
  })

  test('what is not encoded as it says, and what breaks off, are errors', async () => {
    const lies = await serve((_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('no gzip'))
    expect(await refusal(send(lies))).toMatchObject({ code: 'TOOL_OUTPUT_INVALID' })
    const breaks = await serve((_, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write('part')
      setImmediate(() => response.destroy())
    })
    expect(await refusal(send(breaks))).toMatchObject({ code: 'ECONNRESET' })
  })

  test('a body without an end is cut at the bound', async () => {
    const url = await serve((_, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write('x'.repeat(16_384)));
      }
      response.on('drain', more)
      more()
    })
    expect(await refusal(send(url))).toMatchObject({ code: 'TOOL_RESULT_TOO_LARGE' })
  })

  test('a server that never answers, or dribbles, is given up at the signal', async () => {
    const silent = await serve(() => undefined)
    expect((await refusal(send(silent, { signal: AbortSignal.timeout(100) }))).name).toBe('TimeoutError')
    const dribbles = await serve((_, response) => {
      const timer = setInterval(() => response.write('x'), 20)
      response.on('close', () => clearInterval(timer))
    })
    expect((await refusal(send(dribbles, { signal: AbortSignal.timeout(200) }))).name).toBe('TimeoutError')
  })

  test('headers beyond what Node takes are refused', async () => {
    const url = await serve((_, response) => response.writeHead(200, { 'x-pad': 'x'.repeat(100_000) }).end())
    expect(await refusal(send(url))).toMatchObject({ code: 'TOOL_UNREACHABLE', details: { sent: true } })
  })
})

describe('requests', () => {
  test('how a message is framed and where it goes is not for its headers to say', async () => {
    const url = await serve((_, response) => response.end('ok'))
    const headers = new Headers({
      host: 'evil.test',
      'content-length': '1',
      'transfer-encoding': 'chunked',
      connection: 'upgrade',
      upgrade: 'h2c',
      te: 'trailers',
      'x-mine': 'kept',
    })
    await send(url, { method: 'POST', headers, body: Buffer.from('hello') })
    expect(seen[0]).toMatchObject({
      body: 'hello',
      headers: { host: new URL(url).host, 'content-length': '5', 'x-mine': 'kept' },
    })
    for (const name of ['transfer-encoding', 'upgrade', 'te']) expect(seen[0]?.headers).not.toHaveProperty(name)
  })

  test('reads keep a connection; what changes something has one of its own', async () => {
    const ports: (number | undefined)[] = []
    const url = await serve((request, response) => {
      ports.push(request.socket.remotePort)
      response.end('ok')
    })
    const own = openNetwork()
    for (const method of ['GET', 'GET', 'POST', 'POST', 'GET']) await send(url, { method }, own)
    const [a, b, c, d, e] = ports
    expect([b, e]).toEqual([a, a])
    expect(new Set([a, c, d]).size).toBe(3)
    own.close()
  })

  test('who is not there was sent nothing', async () => {
    const url = await serve((_, response) => response.end())
    const server = servers.pop() as Server
    await new Promise((resolve) => server.close(resolve))
    expect(await refusal(send(url))).toMatchObject({ code: 'TOOL_UNREACHABLE', details: { sent: false } })
  })

  test('the lease is asked before each hop', async () => {
    const url = await serve((request, response) =>
      request.url === '/a' ? response.writeHead(302, { location: '/b' }).end() : response.end('there'),
    )
    let asked = 0
    const lost = new Error('lease')
    const beforeSend = (): void => {
      if (++asked === 2) throw lost
    }
    expect(await refusal(send(`${url}/a`, { beforeSend }))).toBe(lost)
    expect(seen).toHaveLength(1)
  })

  test('rules that cannot be read are refused (DEFINITION_INVALID)', () => {
    for (const rules of [
      { hosts: ['http://x'] },
      { hosts: [''] },
      { hosts: ['a b'] },
      { hosts: ['*'] },
      { hosts: ['a*b.test'] },
      { inside: ['10.0.0.0/33'] },
      { inside: ['everything'] },
    ])
      expect(() => network.admit(rules), JSON.stringify(rules)).toThrow(
        expect.objectContaining({ code: 'DEFINITION_INVALID' }),
      )
  })
})
