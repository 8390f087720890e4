import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startProxy, type Proxy } from './proxy.ts'

let echo: Server
let proxy: Proxy
const ends: Socket[] = []
beforeEach(async () => {
  echo = createServer((socket) => void socket.on('error', () => undefined).pipe(socket)).listen(0, '127.0.0.1')
  await once(echo, 'listening')
  proxy = await startProxy((echo.address() as AddressInfo).port)
})
afterEach(async () => {
  for (const socket of ends.splice(0)) socket.destroy()
  await proxy.close()
  await new Promise((resolve) => echo.close(resolve))
})

function dial(): { readonly socket: Socket; ask(text: string): Promise<string>; readonly closed: Promise<unknown> } {
  const socket = connect({ port: proxy.port, host: '127.0.0.1' })
  ends.push(socket)
  const closed = new Promise((resolve) => socket.on('error', () => undefined).on('close', resolve))
  const ask = async (text: string): Promise<string> => {
    socket.write(text)
    return String((await once(socket, 'data'))[0])
  }
  return { socket, ask, closed }
}

test('forwards, and counts bytes and round trips', async () => {
  const one = dial()
  for (const text of ['a', 'bc', 'd']) expect(await one.ask(text)).toBe(text)
  expect(proxy.counts()).toEqual({ connections: 1, sent: 4, received: 4, roundTrips: 3 })
})

test('a reset ends what is open and refuses what is new, until it heals', async () => {
  const one = dial()
  await one.ask('a')
  proxy.cut('reset')
  await one.closed
  await dial().closed
  proxy.heal()
  expect(await dial().ask('b')).toBe('b')
})

test('what is swallowed never arrives, though nobody is told; healing ends such connections only', async () => {
  const [one, quiet] = [dial(), dial()]
  await one.ask('a')
  await quiet.ask('a')
  proxy.cut('swallow')
  let heard = false
  one.socket.on('data', () => (heard = true))
  one.socket.write('b')
  await sleep(100)
  expect([heard, one.socket.destroyed]).toEqual([false, false])
  proxy.heal()
  await one.closed
  expect(heard).toBe(false)
  expect(await quiet.ask('c')).toBe('c')
})

test('a delay keeps the order', async () => {
  const one = dial()
  await one.ask('a')
  proxy.delay(20)
  const from = performance.now()
  expect(await one.ask('b')).toBe('b')
  expect(performance.now() - from).toBeGreaterThan(35)
})
