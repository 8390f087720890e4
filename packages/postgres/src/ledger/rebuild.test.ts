import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Ledger } from 'convoke'
import { openSqliteLedger } from 'convoke/sqlite'
import { createChain, differ } from 'convoke/testing'
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../embedded.ts'
import { migrateStore } from '../store.ts'
import { openPostgresLedger } from './open.ts'

// The lists are folds over the records: thrown away, damaged or old, they are written anew and are what they were.

let server: EmbeddedPostgres
let dir: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'convoke-rebuild-'))
  server = await startEmbeddedPostgres({ fsync: false, settings: { synchronous_commit: 'off' } })
}, 60_000)
afterAll(async () => {
  await server.close()
  rmSync(dir, { recursive: true, force: true })
})

const leaseMs = 600_000
const lite = { leaseMs, durability: 'process-crash-only' } as const

/** Seeded operations of every kind, archives among them. */
async function fill(ledgers: readonly [Ledger, Ledger]): Promise<void> {
  const { differences } = await differ({
    stores: [{ name: 'it', ledgers }],
    operations: 2_000,
    // Without script 112, in which two runs ask under one name and the first is archived, its row with it: no two real
    // requests share a name.
    seed: 200,
    concurrency: 8,
  })
  expect(differences).toEqual([])
}

const tables = {
  runs: 'SELECT * FROM convoke.runs ORDER BY tenant, run',
  approvals: 'SELECT * FROM convoke.approvals ORDER BY tenant, id',
  run_tags: 'SELECT * FROM convoke.run_tags ORDER BY tenant, tag, run',
  folds: 'SELECT * FROM convoke.folds ORDER BY stream, path',
  dependents: 'SELECT * FROM convoke.dependents ORDER BY tenant, ref, stream, seq',
  streams: 'SELECT * FROM convoke.streams ORDER BY id',
}

async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}

const everything = (url: string): Promise<Record<string, unknown[]>> =>
  withClient(url, async (client) => {
    const found: Record<string, unknown[]> = {}
    for (const [name, text] of Object.entries(tables)) found[name] = (await client.query(text)).rows
    return found
  })

test('on Postgres, lists that were lost, damaged or written by an older build are what they were', async () => {
  const url = await server.newDatabase()
  const ledgers = [await openPostgresLedger({ url, leaseMs }), await openPostgresLedger({ url, leaseMs })] as const
  await fill(ledgers)
  const before = await everything(url)
  expect(before['runs']?.length).toBeGreaterThan(50)
  expect(before['approvals']?.length).toBeGreaterThan(10)
  expect(await migrateStore(url, { dryRun: true })).toMatchObject({ applied: [] })
  const damage = [
    `UPDATE convoke.runs SET status = 'queued', due = 1, doc = doc || '{"status": "queued", "due": 1}' WHERE NOT doc ? 'archived'`,
    `DELETE FROM convoke.approvals; DELETE FROM convoke.runs WHERE NOT doc ? 'archived'; DELETE FROM convoke.run_tags t
       USING convoke.runs r WHERE r.tenant = t.tenant AND r.run = t.run AND NOT r.doc ? 'archived'`,
  ]
  for (const text of damage) {
    await withClient(url, (client) => client.query(text))
    expect(await everything(url)).not.toEqual(before)
    expect((await migrateStore(url, { rebuild: true })).rebuilt).toBeGreaterThan(50)
    expect(await everything(url)).toEqual(before)
  }
  // What a build of an older version wrote is found by itself, and only that.
  await withClient(url, (client) =>
    client.query(
      `UPDATE convoke.runs SET v = 0, doc = doc || '{"status": "queued"}' WHERE run = 'r1' AND NOT doc ? 'archived'`,
    ),
  )
  const { rebuilt = 0 } = await migrateStore(url, { dryRun: true })
  expect(rebuilt).toBeGreaterThan(5)
  expect(await migrateStore(url, {})).toMatchObject({ rebuilt })
  expect(await everything(url)).toEqual(before)
  expect((await migrateStore(url, {})).rebuilt).toBe(undefined)
  for (const ledger of ledgers) await ledger.close()
}, 120_000)

test('workers go on while it happens', async () => {
  const url = await server.newDatabase()
  const ledger = await openPostgresLedger({ url, leaseMs })
  await ledger.register('w')
  let stop = false
  let turns = 0
  async function drive(id: number): Promise<void> {
    const chain = createChain({ tenant: 't', stream: `run/r${id}` })
    const inbox = { tenant: 't', stream: `inbox/r${id}` }
    const started = { type: 'run.started', payload: { workflow: 'w', version: '1', tags: ['t'] } }
    await ledger.append([{ ref: chain.ref, epoch: 0, records: [chain.next(started)] }])
    const { epoch, ...head } = await ledger.claim(chain.ref, 'w')
    chain.follow({ epoch, ...head })
    const kinds = [
      { type: 'run.parked', payload: { kind: 'timer', next: 5 } },
      { type: 'run.resumed', payload: {} },
      { type: 'step.completed', path: 's', payload: {} },
    ]
    for (let n = 0; !stop; n++) {
      await ledger.append([{ ref: chain.ref, epoch, records: [chain.next(kinds[n % 3] as (typeof kinds)[0])] }])
      if (n % 5 === 0)
        await ledger.post(inbox, { id: `m${n}`, type: 'signal', at: 9, actor: { kind: 'person', id: 'a' }, payload: n })
      turns += 1
    }
    await ledger.append([{ ref: chain.ref, epoch, records: [chain.next({ type: 'run.completed', payload: {} })] }])
  }
  const driving = Promise.all(Array.from({ length: 20 }, (_, id) => drive(id)))
  for (let pass = 0; pass < 5; pass++) {
    const before = turns
    await migrateStore(url, { rebuild: true })
    while (turns < before + 20) await Promise.race([driving, new Promise((resolve) => setTimeout(resolve, 5))])
  }
  stop = true
  await driving
  const after = await everything(url)
  expect((await ledger.runs({ tenant: 't', tag: 't', status: ['done'] })).length).toBe(20)
  await migrateStore(url, { rebuild: true })
  expect(await everything(url)).toEqual(after)
  await ledger.close()
}, 120_000)

test('on SQLite as well', async () => {
  const ledgers = [await openSqliteLedger({ dir, ...lite }), await openSqliteLedger({ dir, ...lite })] as const
  await fill(ledgers)
  for (const ledger of ledgers) await ledger.close()
  const file = join(dir, 'ledger.db')
  const read = (): Record<string, unknown> => {
    const db = new DatabaseSync(file, { readOnly: true })
    const found = Object.fromEntries(
      Object.entries(tables).map(([name, text]) => [name, db.prepare(text.replaceAll('convoke.', '')).all()]),
    )
    db.close()
    return found
  }
  const before = read()
  for (const damage of [
    `UPDATE runs SET status = 'queued' WHERE json_extract(row, '$.archived') IS NULL`,
    `DELETE FROM approvals; DELETE FROM runs WHERE json_extract(row, '$.archived') IS NULL`,
    `UPDATE meta SET value = 0 WHERE key = 'projections'; DELETE FROM approvals`,
  ]) {
    const db = new DatabaseSync(file)
    db.exec(damage)
    db.close()
    expect(read()).not.toEqual(before)
    const ledger = await openSqliteLedger({ dir, ...lite, rebuild: !damage.includes('meta') })
    await ledger.close()
    expect(read()).toEqual(before)
  }
}, 120_000)
