import { createServer, connect, type AddressInfo, type Socket } from 'node:net'

// A network that can be cut, for tests: bytes on 127.0.0.1 go through here. Owns its listening socket and every
// connection through it until `close`. Bytes keep their order whatever the delay; what was swallowed never arrives.

export interface ProxyCounts {
  readonly connections: number
  /** Bytes from clients, and to them. */
  readonly sent: number
  readonly received: number
  /** Times that a client spoke after it had been answered: its round trips. */
  readonly roundTrips: number
}

export interface Proxy {
  readonly port: number
  /**
   * `swallow`: connections stay open and nothing arrives any more, either way, as with a pulled cable. `reset`: every
   * connection is torn down and new ones are refused at once.
   */
  cut(how: 'swallow' | 'reset'): void
  /** New connections work again; those that bytes were swallowed of are torn down, as a real network would in the end. */
  heal(): void
  /** Each chunk arrives this many milliseconds later, either way. */
  delay(ms: number): void
  /** Since the start or `resetCounts`. */
  counts(): ProxyCounts
  resetCounts(): void
  close(): Promise<void>
}

/** Forwards a free port of 127.0.0.1 to `target` there. */
export async function startProxy(target: number): Promise<Proxy> {
  const pairs = new Set<{ readonly client: Socket; readonly server: Socket; torn: boolean }>()
  const zero = { connections: 0, sent: 0, received: 0, roundTrips: 0 }
  let counts = { ...zero }
  let state: 'pass' | 'swallow' | 'reset' = 'pass'
  let lag = 0

  const listener = createServer({ noDelay: true }, (client) => {
    if (state === 'reset') {
      client.resetAndDestroy()
      return
    }
    counts.connections += 1
    const server = connect({ port: target, host: '127.0.0.1', noDelay: true })
    const pair = { client, server, torn: state === 'swallow' }
    pairs.add(pair)
    let answered = true
    const forward = (from: Socket, to: Socket, count: (bytes: number) => void): void => {
      from.on('data', (chunk) => {
        count(chunk.length)
        if (state === 'swallow') pair.torn = true
        if (pair.torn) return
        if (lag === 0) to.write(chunk)
        else setTimeout(() => pair.torn || to.write(chunk), lag)
      })
      // A closed end is news as well, and a cut network does not carry it.
      from.on('close', () => {
        if (state === 'swallow') pair.torn = true
        if (!pair.torn) setTimeout(() => to.destroy(), lag)
        if (client.destroyed && server.destroyed) pairs.delete(pair)
      })
      from.on('error', () => undefined)
    }
    forward(client, server, (bytes) => {
      counts.sent += bytes
      if (answered) counts.roundTrips += 1
      answered = false
    })
    forward(server, client, (bytes) => {
      counts.received += bytes
      answered = true
    })
  })
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(0, '127.0.0.1', resolve)
  })

  const tearDown = (which: (pair: { torn: boolean }) => boolean): void => {
    for (const pair of [...pairs].filter(which)) {
      pairs.delete(pair)
      pair.client.resetAndDestroy()
      pair.server.destroy()
    }
  }
  return {
    port: (listener.address() as AddressInfo).port,
    cut(how) {
      state = how
      if (how === 'reset') tearDown(() => true)
    },
    heal() {
      state = 'pass'
      tearDown(({ torn }) => torn)
    },
    delay(ms) {
      lag = ms
    },
    counts: () => ({ ...counts }),
    resetCounts() {
      counts = { ...zero }
    },
    async close() {
      tearDown(() => true)
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}
