import { connect } from 'node:http2'
import { afterEach, expect, test } from 'vitest'
import { openFront, type Front } from './front.ts'
import type { Handler } from './service.ts'

const open: Front[] = []
afterEach(async () => {
  for (const front of open.splice(0)) await front.close()
})

async function worker(name: string, port: number, services: readonly string[], hold?: Promise<void>): Promise<Front> {
  const handler: Handler = (request, response) => {
    request.resume()
    void Promise.resolve(hold).then(() => response.end(`${name} ${request.url}`))
  }
  const all = new Map(services.map((service) => [service, handler]))
  const front = await openFront({
    host: '127.0.0.1',
    port,
    services: all,
    onTrouble: (error) => expect(error).toBe(undefined),
  })
  open.push(front)
  return front
}

async function ask(address: string, path: string): Promise<{ status: number; text: string }> {
  const session = connect(address)
  session.on('error', () => undefined)
  try {
    return await new Promise((resolve, reject) => {
      const stream = session.request({ ':method': 'POST', ':path': path })
      let status = 0
      let text = ''
      stream.on('response', (headers) => (status = Number(headers[':status'])))
      stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
      stream.on('error', reject)
      stream.on('end', () => resolve({ status, text }))
      stream.end('{}')
      session.once('error', reject)
    })
  } finally {
    session.destroy()
  }
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let tries = 0; tries < 1_000; tries++) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error('it did not happen within ten seconds')
}
const portOf = (front: Front): number => Number(new URL(front.address).port)

test('a stream goes to a worker that serves it, and to the one with the fewest', async () => {
  let release!: () => void
  const held = new Promise<void>((resolve) => (release = resolve))
  const first = await worker('first', 0, ['a', 'slow'], held)
  const second = await worker('second', portOf(first), ['a', 'b'])
  expect([first.leads, second.leads]).toEqual([true, false])
  expect(second.address).toBe(first.address)
  expect(await ask(first.address, '/b/invoke/b/drive')).toEqual({ status: 200, text: 'second /b/invoke/b/drive' })
  const slow = ask(first.address, '/slow/x')
  await until(async () => (await ask(first.address, '/a/x')).text === 'second /a/x')
  release()
  expect((await slow).text).toBe('first /slow/x')
  expect((await ask(first.address, '/nobody/x')).status).toBe(503)
})

test('when the front is gone, another takes its address', async () => {
  const first = await worker('first', 0, ['a'])
  const others = [await worker('second', portOf(first), ['a']), await worker('third', portOf(first), ['a'])]
  await first.close()
  await until(() => others.some(({ leads }) => leads))
  await until(async () => {
    const texts = new Set<string>()
    for (let i = 0; i < 4; i++) texts.add((await ask(first.address, '/a/x').catch(() => ({ text: '' }))).text)
    return !texts.has('')
  })
  expect(others.filter(({ leads }) => leads).length).toBe(1)
})

test('a worker that has left gets no streams', async () => {
  const first = await worker('first', 0, ['a'])
  const second = await worker('second', portOf(first), ['b'])
  expect((await ask(first.address, '/b/x')).status).toBe(200)
  await second.close()
  await until(async () => (await ask(first.address, '/b/x')).status === 503)
})

test('ENGINE_UNREACHABLE: something else has the address', async () => {
  const { createServer } = await import('node:net')
  const other = createServer((socket) => socket.end('no'))
  const port = await new Promise<number>((resolve) => {
    other.listen(0, '127.0.0.1', () => resolve((other.address() as { port: number }).port))
  })
  try {
    await expect(worker('late', port, ['a'])).rejects.toMatchObject({ code: 'ENGINE_UNREACHABLE' })
  } finally {
    other.close()
  }
})
