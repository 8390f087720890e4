import { rm, writeFile } from 'node:fs/promises'
import { connect as dial, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createChain } from 'convoke/testing'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../embedded.ts'
import { checkVersion } from './check.ts'
import { migrate } from './migrate.ts'
import { migrations, type Migration } from './migrations.ts'
import { openPostgresLedger, targetOf } from './open.ts'

let server: EmbeddedPostgres
let url: string

beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false })
}, 60_000)
afterAll(() => server.close())
beforeEach(async () => {
  url = await server.newDatabase()
})

async function codeOf(act: Promise<unknown>): Promise<unknown> {
  return await act.then(
    async (ledger) => {
      await (ledger as { close?: () => Promise<void> }).close?.()
      return 'none'
    },
    (error: { code: unknown; next?: unknown; message: string; details?: unknown }) => {
      expect(typeof error.next).toBe('string')
      // Whoever sees an error sees no password.
      const { password } = new URL(url)
      expect(`${error.message} ${JSON.stringify(error.details ?? '')}`.includes(password)).toBe(false)
      return error.code
    },
  )
}

async function sql(text: string, on = url): Promise<void> {
  const client = new pg.Client({ connectionString: on })
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}

function changed(change: (url: URL) => void): string {
  const other = new URL(url)
  change(other)
  return other.href
}

test('STORE_UNUSABLE: what is no URL, no name of a schema, no database of that server', async () => {
  expect(await codeOf(openPostgresLedger('nowhere'))).toBe('STORE_UNUSABLE')
  expect(await codeOf(openPostgresLedger('mysql://localhost/x'))).toBe('STORE_UNUSABLE')
  for (const schema of ['x"; DROP SCHEMA public; --', 'pg_x', 'Upper', '', 'ä'])
    expect(await codeOf(openPostgresLedger({ url, schema }))).toBe('STORE_UNUSABLE')
  expect(await codeOf(openPostgresLedger(changed((u) => (u.pathname = '/absent'))))).toBe('STORE_UNUSABLE')
})

test('STORE_UNREACHABLE: nobody listens there, or nobody has that name', async () => {
  expect(await codeOf(openPostgresLedger(changed((u) => (u.port = '1'))))).toBe('STORE_UNREACHABLE')
  expect(await codeOf(openPostgresLedger(changed((u) => (u.hostname = 'no-such-host.invalid'))))).toBe(
    'STORE_UNREACHABLE',
  )
})

test('STORE_DENIED: a wrong password, and a role that may not make the schema', async () => {
  expect(await codeOf(openPostgresLedger(changed((u) => (u.password = 'wrong'))))).toBe('STORE_DENIED')
  await sql(`CREATE ROLE guest_${new URL(url).pathname.slice(1)} LOGIN PASSWORD 'guest'`)
  const guest = changed((u) => {
    u.username = `guest_${new URL(url).pathname.slice(1)}`
    u.password = 'guest'
  })
  expect(await codeOf(openPostgresLedger(guest))).toBe('STORE_DENIED')
})

test('STORE_UNUSABLE: a schema of something else, and a database that is not in UTF-8, are left alone', async () => {
  await sql('CREATE SCHEMA convoke; CREATE TABLE convoke.theirs(x int)')
  expect(await codeOf(openPostgresLedger(url))).toBe('STORE_UNUSABLE')
  await sql('CREATE TABLE convoke.store(x int)')
  expect(await codeOf(openPostgresLedger(url))).toBe('STORE_UNUSABLE')
  expect(await codeOf(openPostgresLedger({ url, schema: 'ours' }))).toBe('none')
  await sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
  expect(await codeOf(openPostgresLedger(changed((u) => (u.pathname = '/latin'))))).toBe('STORE_UNUSABLE')
})

test('STORE_NEWER and STORE_OUTDATED: a store of another format', async () => {
  expect(await codeOf(openPostgresLedger({ url, migrate: false }))).toBe('STORE_OUTDATED')
  expect(await codeOf(openPostgresLedger(url))).toBe('none')
  expect(await codeOf(openPostgresLedger({ url, migrate: false }))).toBe('none')
  await sql("UPDATE convoke.store SET value = '999' WHERE key = 'format'")
  // A newer build made steps that this one can live with.
  expect(await codeOf(openPostgresLedger(url))).toBe('none')
  await sql("UPDATE convoke.store SET value = '999' WHERE key = 'oldest'")
  expect(await codeOf(openPostgresLedger(url))).toBe('STORE_NEWER')
})

test('STORE_READ_ONLY: a replica takes no writes', async () => {
  await (await openPostgresLedger(url)).close()
  await server.stop()
  await writeFile(join(server.data, 'standby.signal'), '', { mode: 0o644 })
  try {
    await server.restart()
    expect(await codeOf(openPostgresLedger(url))).toBe('STORE_READ_ONLY')
  } finally {
    await server.stop()
    await rm(join(server.data, 'standby.signal'))
    await server.restart()
  }
  expect(await codeOf(openPostgresLedger(url))).toBe('none')
}, 60_000)

test('POSTGRES_TOO_OLD: a server older than 15', () => {
  const { where } = targetOf(url)
  expect(() => checkVersion(140_010, '14.10', where)).toThrow(expect.objectContaining({ code: 'POSTGRES_TOO_OLD' }))
  expect(() => checkVersion(150_000, '15.0', where)).not.toThrow()
})

/** As a pooler does, it tells clients of a process id that is its own. */
async function startPooler(target: number): Promise<{ readonly port: number; readonly server: Server }> {
  const rewrite = (chunk: Buffer): Buffer => {
    for (let at = 0; at + 13 <= chunk.length;) {
      const length = chunk.readInt32BE(at + 1)
      // BackendKeyData: 'K', its length, process id, secret key.
      if (chunk[at] === 0x4b && length >= 12) chunk.writeInt32BE(1, at + 5)
      if (chunk[at] === 0x5a || length < 4) break
      at += 1 + length
    }
    return chunk
  }
  const pooler = createServer((client: Socket) => {
    const backend = dial(target, '127.0.0.1')
    client.pipe(backend)
    let ready = false
    backend.on('data', (chunk: Buffer) => {
      client.write(ready ? chunk : rewrite(chunk))
      ready ||= chunk.at(-6) === 0x5a
    })
    for (const socket of [client, backend]) socket.on('error', () => socket.destroy())
    client.on('close', () => backend.destroy())
    backend.on('close', () => client.destroy())
  })
  await new Promise<void>((resolve) => pooler.listen(0, '127.0.0.1', resolve))
  return { port: (pooler.address() as AddressInfo).port, server: pooler }
}

test('STORE_POOLED: a pooler is refused, unless one connection goes past it', async () => {
  const pooler = await startPooler(server.port)
  try {
    const through = changed((u) => (u.port = String(pooler.port)))
    expect(await codeOf(openPostgresLedger(through))).toBe('STORE_POOLED')
    const ledger = await openPostgresLedger({ url: through, sessionUrl: url })
    const chain = createChain({ tenant: 't', stream: 'run/r1' })
    const started = chain.next({ type: 'run.started', payload: { workflow: 'w', version: '1' } })
    await ledger.append([{ ref: chain.ref, epoch: 0, records: [started] }])
    const lease = await ledger.register('w1')
    expect(lease.remaining()).toBeGreaterThan(0)
    expect((await ledger.claim(chain.ref, 'w1')).epoch).toBe(1)
    await ledger.close()
  } finally {
    pooler.server.close()
  }
})

test('many that open at once migrate once, and a build of the version before goes on beside the next', async () => {
  const opened = await Promise.all(Array.from({ length: 5 }, () => openPostgresLedger(url)))
  const [old] = opened
  const next: Migration[] = [
    ...migrations,
    { number: migrations.length + 1, what: 'a column', sql: 'ALTER TABLE $S.runs ADD COLUMN later text' },
  ]
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { where } = targetOf(url)
  const query = async (text: string, values: readonly unknown[] = []): Promise<(string | null)[][]> => {
    const { rows } = await client.query<(string | null)[]>({ text, values: values as unknown[], rowMode: 'array' })
    return rows.map((row) =>
      row.map((value) => (value === null ? null : value === (true as unknown) ? 't' : String(value))),
    )
  }
  const chain = createChain({ tenant: 't', stream: 'run/r1' })
  const append = async (type: string, payload: object): Promise<void> => {
    const record = chain.next({ type, payload: { ...payload } })
    await old!.append([{ ref: chain.ref, epoch: 0, records: [record] }])
  }
  await append('run.started', { workflow: 'w', version: '1' })
  expect((await migrate(query, '"convoke"', where, next)).map(({ what }) => what)).toEqual(['a column'])
  expect(await migrate(query, '"convoke"', where, next)).toEqual([])
  await client.end()
  const another = createChain({ tenant: 't', stream: 'run/r2' })
  const record = another.next({ type: 'run.started', payload: { workflow: 'w', version: '1' } })
  await old!.append([{ ref: another.ref, epoch: 0, records: [record] }])
  expect((await old!.runs({ tenant: 't' })).map(({ run }) => run)).toEqual(['r2', 'r1'])
  await Promise.all(opened.map((ledger) => ledger.close()))
  expect(await codeOf(openPostgresLedger(url))).toBe('none')
})
