import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { LookupAddress } from 'node:dns'
import { createServer, isIP, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ConvokeError } from '../../src/core/errors.ts'
import type { NetworkRules } from '../../src/ports/network.ts'
import { kindOf } from '../../src/net/address.ts'
import { hostileAddresses, names } from './hostile.ts'
import { openNetwork } from '../../src/net/network.ts'

// A trap listens where most of these addresses lead, and every attempt of this process to connect is counted.

let traps: Server[]
let port: number
let caught = 0
const open = new Set<Socket>()
const attempts: string[] = []

const watch = (message: unknown): void => {
  const { socket } = message as { socket: Socket }
  socket.on('connectionAttempt', (address: string, at: number) => attempts.push(`${address} ${at}`))
}

const listen = (host: string, at: number): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      caught++
      open.add(socket)
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
    })
    server.once('error', reject)
    server.listen(at, host, () => resolve(server))
  })

beforeAll(async () => {
  const first = await listen('127.0.0.1', 0)
  port = (first.address() as AddressInfo).port
  traps = [
    first,
    ...(await listen('::1', port).then(
      (server) => [server],
      () => [],
    )),
  ]
  subscribe('net.client.socket', watch)
})

afterAll(async () => {
  unsubscribe('net.client.socket', watch)
  network.close()
  for (const socket of open) socket.destroy()
  await Promise.all(traps.map((trap) => new Promise((resolve) => trap.close(resolve))))
})

const resolve = (host: string): Promise<readonly LookupAddress[]> => {
  const answer = names[host] ?? (/(^|\.)localhost$/.test(host) ? ['127.0.0.1', '::1'] : undefined)
  if (answer === undefined) return Promise.reject(Object.assign(new Error(`no ${host}`), { code: 'ENOTFOUND' }))
  return Promise.resolve(answer.map((address) => ({ address, family: isIP(address.replace(/%.*/, '')) })))
}

/** What leads to a public host after all, or to none: the resolver is asked, and says no. */
const unresolved = ['empty.attacker.test', 'http://:@example.com/x', 'http://example.com\\@127.0.0.1']

const network = openNetwork({ resolve })

async function call(url: string, rules: NetworkRules = {}): Promise<number | ConvokeError> {
  try {
    const response = await network.request({
      url,
      method: 'GET',
      headers: new Headers(),
      body: undefined,
      rules,
      maxBytes: 1_000,
      signal: AbortSignal.timeout(20_000),
    })
    for await (const _ of response.body);
    return response.status
  } catch (error) {
    return error as ConvokeError
  }
}

describe('hostile addresses', () => {
  test('there are at least 200 of them', () => {
    expect(hostileAddresses(port).length).toBeGreaterThanOrEqual(200)
  })

  test('none leads to a connection: each is NETWORK_DENIED, and nothing was sent', async () => {
    caught = 0
    attempts.length = 0
    const through: unknown[] = []
    for (const url of hostileAddresses(port)) {
      const answer = await call(url)
      const code = typeof answer === 'number' ? answer : answer.code
      // Names that nobody knows are no danger, and no rule's business.
      const unknown = code === 'TOOL_UNREACHABLE' && unresolved.some((name) => url.includes(name))
      if (code !== 'NETWORK_DENIED' && !unknown) through.push([url, code, String(answer)])
      else if (typeof answer !== 'number' && answer.details?.['sent'] !== false) through.push([url, 'sent'])
    }
    expect(through).toEqual([])
    expect(attempts).toEqual([])
    expect(caught).toBe(0)
  })

  test('the trap works: where rules allow it, the same addresses are reached', async () => {
    caught = 0
    attempts.length = 0
    const rules = { inside: ['loopback'] }
    for (const host of [
      '127.0.0.1',
      '0x7f.1',
      '2130706433',
      '127.0.0.1.',
      'loopback.attacker.test',
      '[::ffff:127.0.0.1]',
    ])
      expect([host, await call(`http://${host}:${port}/`, rules)]).toEqual([host, 200])
    expect(caught).toBe(6)
    expect(attempts).toHaveLength(6)
  })

  test('no rule reaches a metadata service', async () => {
    attempts.length = 0
    const rules = { inside: ['loopback', 'private', '0.0.0.0/0', '::/0'] }
    for (const host of [
      '169.254.169.254',
      '100.100.100.200',
      '168.63.129.16',
      '[fd00:ec2::254]',
      '[::ffff:a9fe:a9fe]',
      '0xa9fea9fe',
      'metadata.google.internal',
    ])
      expect([host, await call(`http://${host}/`, rules)]).toEqual([
        host,
        expect.objectContaining({ code: 'NETWORK_DENIED' }),
      ])
    expect(attempts).toEqual([])
  })

  test('a list of hosts admits those hosts and nothing that looks like them', async () => {
    attempts.length = 0
    caught = 0
    const rules = { hosts: ['localtest.me', '*.attacker.test'], inside: ['loopback'] }
    for (const url of [
      'http://evil.test/',
      'http://localtest.me.evil.test/',
      'http://xlocaltest.me/',
      'http://localtest.me@evil.test/',
      'http://evil.test/localtest.me',
      'http://evil.test#localtest.me',
      'http://evil.test?localtest.me',
      'http://evil.test\\localtest.me/',
      'http://localtest.me%2eevil.test/',
      'http://localtest。me.evil.test/',
      'http://attacker.test/',
      'http://xattacker.test/',
      'http://attacker.test.evil.test/',
      'http://127.0.0.1/',
      'http://[::1]/',
      'http://localhost/',
    ])
      expect([url, await call(url, rules)]).toEqual([url, expect.objectContaining({ code: 'NETWORK_DENIED' })])
    expect(attempts).toEqual([])
    for (const host of ['localtest.me', 'LOCALTEST.ME', 'localtest.me.', 'loopback.attacker.test'])
      expect([host, await call(`http://${host}:${port}/`, rules)]).toEqual([host, 200])
    const pinnedPort = { hosts: [`127.0.0.1:${port + 1}`], inside: ['loopback'] }
    expect(await call(`http://127.0.0.1:${port}/`, pinnedPort)).toMatchObject({ code: 'NETWORK_DENIED' })
  })
})

describe('kinds of addresses', () => {
  test('public addresses at the edges of what is not', () => {
    for (const address of [
      '1.1.1.1',
      '8.8.8.8',
      '9.255.255.255',
      '11.0.0.0',
      '100.63.255.255',
      '100.128.0.0',
      '126.255.255.255',
      '128.0.0.0',
      '168.63.129.15',
      '169.253.255.255',
      '169.255.0.0',
      '172.15.255.255',
      '172.32.0.0',
      '191.255.255.255',
      '192.0.1.0',
      '192.0.3.0',
      '192.167.255.255',
      '192.169.0.0',
      '198.17.255.255',
      '198.20.0.0',
      '223.255.255.255',
      '2606:4700:4700::1111',
      '2001:4860:4860::8888',
      '2a00:1450:4001:82f::200e',
      '2003::1',
      '3ffe::1',
      '::ffff:8.8.8.8',
      '64:ff9b::8.8.8.8',
    ])
      expect([address, kindOf(address)]).toEqual([address, 'public'])
  })

  test('what is no address is invalid', () => {
    for (const text of ['', 'x', '1.2.3', '1.2.3.4.5', '256.1.1.1', '01.2.3.4', '::g', '1::2::3'])
      expect([text, kindOf(text)]).toEqual([text, 'invalid'])
  })
})
