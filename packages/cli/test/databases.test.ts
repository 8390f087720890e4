/** A store and an engine that are elsewhere, on the command line: what works, and what people get wrong. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import pg from 'pg'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@convoke/postgres/embedded'
import { json, place, type Done, type Place } from './support/cli.ts'

vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 })

let at: Place
let postgres: EmbeddedPostgres
beforeAll(async () => {
  at = place()
  postgres = await startEmbeddedPostgres({ fsync: false })
})
afterAll(async () => {
  await postgres?.close()
  at.remove()
})

function expectRefused(done: Done, exit: number, code: string): void {
  expect([done.code, done.out]).toEqual([exit, ''])
  expect(done.err).toContain(code)
  expect(done.err).toMatch(/next {5}\S/)
  expect(done.err).not.toContain('    at ')
  expect(done.err).not.toContain(new URL(postgres.url).password)
}

async function sql(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}

describe('a store on Postgres', () => {
  test('STORE_OUTDATED: what only looks makes no store; migrate does, once', async () => {
    const url = await postgres.newDatabase()
    expectRefused(await at.cli(['runs', '--store', url]), 2, 'STORE_OUTDATED')
    const dry = json((await at.cli(['migrate', '--store', url, '--dry-run', '-o', 'json'])).out) as unknown as {
      applied: string[]
    }
    expect(dry.applied.length).toBeGreaterThan(0)
    expect(json((await at.cli(['migrate', '--store', url, '-o', 'json'])).out)).toMatchObject({
      from: 0,
      applied: dry.applied,
    })
    expect(json((await at.cli(['migrate', '--store', url, '-o', 'json'])).out)).toMatchObject({ applied: [] })
    expect(await at.cli(['runs', '--store', url])).toMatchObject({ code: 0 })
  })

  test.each(['local', 'postgres'])('the same app, without changing a line of it, handed out by %s', async (engine) => {
    const url = await postgres.newDatabase()
    const ran = await at.cli(['run', 'counting', '--input', '3', '--id', 'r_db', '--store', url, '--engine', engine])
    expect([ran.code, ran.err]).toEqual([0, expect.not.stringContaining(new URL(url).password)])
    expect(await at.cli(['show', 'r_db', '--store', url])).toMatchObject({ code: 0 })
    expect(await at.cli(['why', 'r_db', '--store', url])).toMatchObject({ code: 0 })
    expect(await at.cli(['audit', 'verify', '--store', url])).toMatchObject({ code: 0 })
  })

  test('store copy: a run that waits in a folder goes on in the database, and back again in a folder', async () => {
    const url = await postgres.newDatabase()
    const invoice = '{"number":"MOVED","amount":"5.00"}'
    expect(await at.cli(['run', 'payment', '--input', invoice, '--id', 'r_move', '--store', 'here'])).toMatchObject({
      code: 3,
    })
    expect(await at.cli(['audit', 'export', '--store', 'here', '--out', 'signed.json'])).toMatchObject({ code: 0 })
    const copied = await at.cli(['store', 'copy', 'here', url, '-o', 'json'])
    expect([copied.code, copied.err]).toEqual([0, ''])
    expect(copied.out).not.toContain(new URL(url).password)
    expect(json(copied.out)).toMatchObject({
      to: expect.stringContaining('postgres://'),
      tenants: 1,
      found: 0,
      held: 0,
    })
    expectRefused(await at.cli(['store', 'copy', 'here', url]), 2, 'STORE_UNUSABLE')
    expectRefused(await at.cli(['store', 'copy', 'nothing', url]), 2, 'STORE_UNUSABLE')
    expect(await at.cli(['audit', 'verify', '--store', url, '--against', 'signed.json'])).toMatchObject({ code: 0 })
    expect(await at.cli(['store', 'copy', url, 'there'])).toMatchObject({ code: 0 })
    const [approval] = json((await at.cli(['approvals', 'ls', '--store', 'there', '-o', 'json'])).out) as {
      id: string
    }[]
    expect(await at.cli(['approvals', 'approve', approval?.id ?? '', '--store', 'there'])).toMatchObject({ code: 0 })
    expect(await at.cli(['resume', 'r_move', '--store', 'there'])).toMatchObject({ code: 0 })
    expect(at.counted().filter((line) => line.startsWith('pay MOVED'))).toEqual(['pay MOVED 5.00'])
  })

  test('doctor looks at server, clock, schema, settings and queue, and changes nothing', async () => {
    const url = await postgres.newDatabase()
    const looked = json(
      (await at.cli(['doctor', '--store', url, '--engine', 'postgres', '-o', 'json'])).out,
    ) as unknown as {
      checks: { name: string; state: string; says: string }[]
    }
    const names = looked.checks.map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['store', 'clock', 'schema', 'sync', 'connections', 'queue']))
    expect(looked.checks.find(({ name }) => name === 'sync')).toMatchObject({ state: 'warn' })
    expectRefused(await at.cli(['runs', '--store', url]), 2, 'STORE_OUTDATED')
  })
})

describe('what people get wrong', () => {
  test('STORE_UNREACHABLE: nobody listens there', async () => {
    expectRefused(await at.cli(['runs', '--store', 'postgres://me:x@127.0.0.1:9/none']), 5, 'STORE_UNREACHABLE')
  })

  test('STORE_DENIED: a wrong password', async () => {
    const url = new URL(postgres.url)
    url.password = 'wrong'
    expectRefused(await at.cli(['runs', '--store', url.href]), 2, 'STORE_DENIED')
  })

  test('STORE_UNUSABLE: a schema that holds something else', async () => {
    const url = await postgres.newDatabase()
    await sql(url, 'CREATE SCHEMA convoke; CREATE TABLE convoke.recipes(id int)')
    expectRefused(await at.cli(['run', 'hello', '--store', url]), 2, 'STORE_UNUSABLE')
  })

  test('STORE_NEWER: a schema of a later version', async () => {
    const url = await postgres.newDatabase()
    expect(await at.cli(['migrate', '--store', url])).toMatchObject({ code: 0 })
    await sql(url, "UPDATE convoke.store SET value = '99' WHERE key IN ('format', 'oldest')")
    expectRefused(await at.cli(['run', 'hello', '--store', url]), 2, 'STORE_NEWER')
    expectRefused(await at.cli(['runs', '--store', url]), 2, 'STORE_NEWER')
  })

  test('ENGINE_UNKNOWN, with the names that there are', async () => {
    const done = await at.cli(['run', 'hello', '--engine', 'kafka'])
    expectRefused(done, 2, 'ENGINE_UNKNOWN')
    expect(done.err).toContain('restate://')
  })

  test('ENGINE_UNREACHABLE: an engine that does not answer; the run is there, and another engine drives it', async () => {
    const url = await postgres.newDatabase()
    const store = ['--store', url]
    expectRefused(
      await at.cli(['run', 'hello', '--id', 'r_kept', ...store, '--engine', 'restate://127.0.0.1:9']),
      5,
      'ENGINE_UNREACHABLE',
    )
    expect(await at.cli(['run', 'hello', '--id', 'r_kept', ...store, '--engine', 'local'])).toMatchObject({ code: 0 })
  })

  test('STORE_READ_ONLY: a replica', async () => {
    const url = await postgres.newDatabase()
    expect(await at.cli(['migrate', '--store', url])).toMatchObject({ code: 0 })
    await postgres.stop('fast')
    writeFileSync(join(postgres.data, 'standby.signal'), '')
    await postgres.restart()
    expectRefused(await at.cli(['run', 'hello', '--store', url]), 2, 'STORE_READ_ONLY')
  })
})
