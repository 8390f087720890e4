import { execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startEmbeddedPostgres, type EmbeddedPostgres } from './server.ts'

let server: EmbeddedPostgres
beforeAll(async () => {
  server = await startEmbeddedPostgres({ fsync: false, settings: { work_mem: '5MB' } })
})
afterAll(() => server.close())

async function query(sql: string, url: string = server.url): Promise<unknown[]> {
  const client = new pg.Client(url)
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows.map((row) => Object.values(row)[0])
  } finally {
    await client.end()
  }
}

describe('an embedded Postgres', () => {
  test('keeps port, password and committed rows through a stop, a crash and a kill', async () => {
    const { url } = server
    await query('CREATE TABLE kept (n int)')
    const ways = [() => server.stop('fast'), () => server.stop('immediate'), () => server.kill(), async () => undefined]
    for (const [n, way] of ways.entries()) {
      await query(`INSERT INTO kept VALUES (${n})`)
      await way()
      if (n < 3) await expect(query('SELECT 1')).rejects.toThrow(/ECONNREFUSED/)
      await server.restart()
      expect(server.url).toBe(url)
      expect(await query('SELECT n FROM kept ORDER BY n')).toEqual([0, 1, 2, 3].slice(0, n + 1))
    }
    expect(await query('SHOW work_mem')).toEqual(['5MB'])
  })

  test('gives databases of their own, and refuses another password', async () => {
    const [one, other] = [await server.newDatabase(), await server.newDatabase()]
    await query('CREATE TABLE mine (n int)', one)
    expect(await query("SELECT to_regclass('mine')::text", other)).toEqual([null])
    await expect(query('SELECT 1', one.replace(/postgres:\w+@/, 'postgres:wrong@'))).rejects.toThrow(/password/)
  })

  test('orders text by language unless told otherwise', async () => {
    const order = "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['a','B','c']) x"
    expect(await query(order)).toEqual(['aBc'])
    const bytes = await startEmbeddedPostgres({ fsync: false, collation: 'C' })
    try {
      expect(await query(order, bytes.url)).toEqual(['Bac'])
    } finally {
      await bytes.close()
    }
    expect(existsSync(bytes.data)).toBe(false)
  })

  test('says what its log says when it does not start', async () => {
    await expect(startEmbeddedPostgres({ settings: { shared_buffers: 'plenty' } })).rejects.toMatchObject({
      code: 'STORE_UNUSABLE',
      details: { log: expect.stringContaining('shared_buffers') as unknown },
    })
  })

  test('ends with the process that started it, even a killed one', async () => {
    const program = `
      import { startEmbeddedPostgres } from '${new URL('./server.ts', import.meta.url).href}'
      const server = await startEmbeddedPostgres({ fsync: false })
      console.log(server.data)
      await new Promise((resolve) => setTimeout(resolve, 60_000))`
    const child = spawn(
      process.execPath,
      ['--conditions=convoke-source', '--input-type=module-typescript', '-e', program],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    const data = await new Promise<string>((resolve) =>
      child.stdout.once('data', (text) => resolve(String(text).trim())),
    )
    const running = (): string => execFileSync('ps', ['-axo', 'args='], { encoding: 'utf8' })
    expect(running()).toContain(`-D ${data}`)
    child.kill('SIGKILL')
    for (let i = 0; i < 500 && existsSync(dirname(data)); i++) await sleep(20)
    expect(existsSync(dirname(data))).toBe(false)
    expect(running()).not.toContain(data)
  })
})
